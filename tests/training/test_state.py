"""What a training averages, and what it does not."""

from __future__ import annotations

import torch
from torch import nn

from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.state import State


def test_what_no_longer_learns_has_no_average():
    """Others rely on it as it is: a code means something to the very decoder that it was made for."""
    module = nn.ModuleDict({"learns": nn.Linear(1, 1), "norm": nn.BatchNorm1d(1)})
    module["settled"] = nn.Linear(1, 1)
    state, settings = State.fresh(module), LoopSettings(steps=2, ema=0.9)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.add_(1)
    module["settled"].requires_grad_(requires_grad=False)
    state.take({}, module, settings)
    same = {name: torch.equal(state.average[name], v) for name, v in module.state_dict().items()}
    assert {name for name, equal in same.items() if equal} == {
        "settled.weight", "settled.bias", "norm.num_batches_tracked"
    }  # fmt: skip
