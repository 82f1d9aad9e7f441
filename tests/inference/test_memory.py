"""Memory is kept for the next layer, and given back at the end."""

from __future__ import annotations

import platform

import pytest
import torch

from napari_virtualstain.inference.memory import free_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is tuned")
def test_a_large_block_that_was_freed_is_kept_and_then_given_back(subprocess_python):
    subprocess_python(
        """
import numpy as np, psutil
from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory
held = lambda: psutil.Process().memory_info().rss
assert keep_freed_memory()
before = held()
block = np.ones(60_000_000)
assert held() > before + 400e6
del block
assert held() > before + 400e6
release_freed_memory()
assert held() < before + 100e6
"""
    )


def test_on_a_card_free_is_what_the_system_or_torch_could_give(monkeypatch):
    facts = {"mem_get_info": (7_000, 9_000), "memory_reserved": 600, "memory_allocated": 100}
    for name, value in facts.items():
        monkeypatch.setattr(torch.cuda, name, lambda card, value=value: value)
    assert free_memory("cuda:0") == 7_500
    assert free_memory("cpu") > 10**8
