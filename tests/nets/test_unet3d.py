"""The network over volumes is the one that was described, and runs in every way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.inference.norms import unit_statistics, with_statistics
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.nets.unet3d import UNet3d


def test_it_has_the_parameters_that_were_published():
    with torch.device("meta"):
        net = UNet3d(1, 6)
    assert sum(p.numel() for p in net.parameters()) == 23_092_678
    assert net(torch.empty(1, 1, 16, 32, 24, device="meta")).shape == (1, 6, 16, 32, 24)


@pytest.mark.parametrize("depth", [2, 3])
def test_its_stride_is_that_of_its_levels(depth):
    net = UNet3d(1, 2, depth=depth, width=2).eval()
    reach = scan_reach(net)
    assert reach.multiple_of == (2 ** (depth - 1),) * 3
    assert reach.kind == "statistics"
    held = with_statistics(net, unit_statistics(net), 3)
    assert scan_reach(held).kind == "exact"
    edge = 2 ** (depth - 1) * 2
    assert net(torch.randn(2, 1, edge, edge, edge)).shape == (2, 2, edge, edge, edge)


def plain(net, x, depth):
    """The same in functions; the slope is read from the network."""
    state = net.state_dict()
    bend = next(part for part in net.modules() if isinstance(part, nn.ReLU | nn.LeakyReLU))
    slope = getattr(bend, "negative_slope", 0.0)

    def twice(name, x):
        for at in (0, 3):
            weight, bias = (state[f"{name}.{at}.{part}"] for part in ("weight", "bias"))
            x = functional.instance_norm(functional.conv3d(x, weight, bias, padding=1))
            x = functional.leaky_relu(x, slope)
        return x

    skips = []
    for level in range(depth - 1):
        x = twice(f"down_path.{level}", x)
        skips.append(x)
        x = functional.conv3d(x, *(state[f"down.{level}.{p}"] for p in ("weight", "bias")), 2)
    x = twice(f"down_path.{depth - 1}", x)
    for level in range(depth - 1):
        weight, bias = (state[f"up.{level}.{part}"] for part in ("weight", "bias"))
        x = functional.conv_transpose3d(x, weight, bias, stride=2)
        x = twice(f"up_path.{level}", torch.cat([x, skips.pop()], dim=1))
    return functional.conv3d(x, state["last.weight"], state["last.bias"], padding=1)


def test_it_equals_the_same_functions(shaken):
    net = shaken(UNet3d(2, 3, depth=3, width=2))
    x = torch.randn(2, 2, 8, 12, 16)
    torch.testing.assert_close(net(x), plain(net, x, 3), rtol=1e-5, atol=1e-5)
