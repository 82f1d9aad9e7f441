"""The published network, parameter by parameter."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

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


def plain(state, x, depth, norm):
    """The same in functions."""

    def convolve(name, x):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def normalise(name, x):
        if norm == "instance":
            return functional.instance_norm(
                x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"]
            )
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{name}.{part}"] for part in parts))

    def twice(name, x):
        length = {"none": 2, "batch": 3, "batch-after": 3, "instance": 3}[norm]
        for at in (0, length):
            x = convolve(f"{name}.block.{at}", x)
            if norm in ("batch", "instance"):
                x = normalise(f"{name}.block.{at + 1}", x)
            x = functional.relu(x)
            if norm == "batch-after":
                x = normalise(f"{name}.block.{at + 2}", x)
        return x

    skips = []
    for level in range(depth):
        x = twice(f"down_path.{level}", functional.max_pool2d(x, 2) if level else x)
        skips.append(x)
    skips.pop()
    for level in range(depth - 1):
        weight, bias = (state[f"up_path.{level}.up.{part}"] for part in ("weight", "bias"))
        x = functional.conv_transpose2d(x, weight, bias, stride=2)
        x = twice(f"up_path.{level}.conv_block", torch.cat([x, skips.pop()], dim=1))
    return convolve("last", x)


@pytest.mark.parametrize("norm", ["none", "batch", "batch-after", "instance"])
def test_it_equals_the_same_functions(norm, shaken):
    net = shaken(UNet(2, 3, depth=3, width=4, norm=norm))
    x = torch.randn(2, 2, 12, 16)
    expected = plain(net.state_dict(), x, 3, norm)
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-5)
