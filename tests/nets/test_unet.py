"""The published network, parameter by parameter."""

from __future__ import annotations

import pytest
import torch

from napari_virtualstain.nets.unet import UNet

PARAMETERS = {
    "published weights, without BatchNorm": ({"depth": 6, "width": 32}, 31_094_629),
    "published text, BatchNorm behind ReLU": (
        {"depth": 6, "width": 32, "norm": "batch-after"},
        31_106_661,
    ),
    "our small preset": ({"depth": 5, "width": 16, "norm": "batch"}, 1_942_645),
}


@pytest.mark.parametrize(("settings", "count"), PARAMETERS.values(), ids=PARAMETERS)
def test_the_number_of_parameters_is_pinned(settings, count):
    with torch.device("meta"):
        net = UNet(3, 5, **settings)
    assert sum(p.numel() for p in net.parameters()) == count


def test_the_names_are_those_of_the_published_weights():
    with torch.device("meta"):
        names = set(UNet(3, 5, depth=6, width=32).state_dict())
    expected = {f"last.{part}" for part in ("weight", "bias")}
    for part in ("weight", "bias"):
        expected |= {f"down_path.{i}.block.{j}.{part}" for i in range(6) for j in (0, 2)}
        expected |= {f"up_path.{i}.up.{part}" for i in range(5)}
        expected |= {f"up_path.{i}.conv_block.block.{j}.{part}" for i in range(5) for j in (0, 2)}
    assert names == expected


def test_the_shapes_are_those_of_the_published_weights():
    with torch.device("meta"):
        state = UNet(3, 5, depth=6, width=32).state_dict()
    assert state["down_path.0.block.0.weight"].shape == (32, 3, 3, 3)
    assert state["up_path.2.conv_block.block.2.weight"].shape == (128, 128, 3, 3)
    assert state["up_path.0.up.weight"].shape == (1024, 512, 2, 2)
    assert state["last.weight"].shape == (5, 32, 1, 1)
