"""The network over volumes is the one that was described, and runs in every way."""

from __future__ import annotations

import pytest
import torch

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
