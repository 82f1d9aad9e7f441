"""Another kernel gives the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_virtualstain.inference.kernels import convolve, use_good_kernels

CASES = {
    "a plane": nn.Conv2d(3, 4, 3, padding=1),
    "a volume": nn.Conv3d(3, 4, 3, padding=1),
    "a volume with strides": nn.Conv3d(3, 4, (1, 2, 2), stride=(1, 2, 2), bias=False),
    "a dilated volume in groups": nn.Conv3d(4, 4, 3, padding=2, dilation=2, groups=2),
}


@pytest.mark.parametrize("module", CASES.values(), ids=CASES)
def test_a_convolution_is_the_same_but_for_rounding(module):
    size = (10, 12, 14)[: len(module.kernel_size)]
    image = torch.randn(2, module.in_channels, *size)
    with torch.inference_mode():
        expected = nn.Module.__call__(module, image)
        torch.testing.assert_close(
            convolve(module, image, module.padding), expected, atol=1e-5, rtol=1e-5
        )


def test_a_network_uses_it_and_predicts_the_same():
    net = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 2, 3, padding=1))
    image = torch.randn(1, 1, 8, 9, 10)
    with torch.inference_mode():
        before = net(image)
        use_good_kernels(net)
        torch.testing.assert_close(net(image), before, atol=1e-5, rtol=1e-5)
    assert "forward" in vars(net[0])
