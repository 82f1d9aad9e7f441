"""A network's graph is read without disturbing what other threads compute meanwhile."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from napari_virtualstain.inference.operations import trace
from napari_virtualstain.nets.unet import UNet


class Interrupted(nn.Module):
    """While it is read, another thread computes something else."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.other = [other]  # in a list, so that it is no part of this network
        self.beside: torch.Tensor | None = None

    def forward(self, x):
        with ThreadPoolExecutor(1) as pool:
            self.beside = pool.submit(self.other[0], torch.ones(1, 1, 8, 8)).result()
        return self.conv(x)


def test_a_network_computes_in_another_thread_while_a_graph_is_read():
    other = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    expected = other(torch.ones(1, 1, 8, 8))
    network = Interrupted(other)
    traced = trace(network)
    assert [operation.node.target for operation in traced.operations] == ["conv"]
    assert torch.equal(network.beside, expected)


def test_graphs_are_read_in_several_threads_and_torch_is_left_as_it_was():
    before = nn.Module.__call__, nn.Module.__getattr__
    networks = [UNet(1, 1, width=2, depth=2).eval() for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        sizes = {len(traced.operations) for traced in pool.map(trace, networks)}
    assert len(sizes) == 1
    assert (nn.Module.__call__, nn.Module.__getattr__) == before


BESIDE = """
import threading, torch
from napari_virtualstain.inference.device import wake_meta
from napari_virtualstain.inference.network import prepare_network

threading.Thread(target=wake_meta).start()
prepared = [threading.Thread(target=prepare_network, args=(torch.nn.Conv2d(1, 1, 3),))
            for _ in range(2)]
for thread in prepared:
    thread.start()
for thread in prepared:
    thread.join()
"""


def test_a_network_is_prepared_while_the_meta_device_is_woken():
    done = subprocess.run(
        [sys.executable, "-c", BESIDE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
