"""The critic over volumes is the one of the thesis, and takes volumes of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.nets.critic3d import Critic3d


def test_it_has_the_parameters_that_the_thesis_states():
    with torch.device("meta"):
        net = Critic3d()
        scores = net(torch.empty(1, 6, 32, 64, 48), torch.empty(1, 1, 32, 64, 48))
    assert sum(p.numel() for p in net.parameters()) == 6_203_841
    assert scores.shape == (1, 1, 4, 8, 6)


def test_only_the_middle_convolutions_are_normalised():
    with torch.device("meta"):
        kinds = [type(part).__name__ for part in Critic3d().model]
    middle = ["Conv3d", "InstanceNorm3d", "LeakyReLU"] * 3
    assert kinds == ["Conv3d", "LeakyReLU", *middle, "Conv3d"]


def plain(state, joined):
    """The same in functions, written out."""
    x = joined
    for number, stride in ((0, 2), (2, 2), (5, 2), (8, 1), (11, 1)):
        x = functional.conv3d(
            x, state[f"model.{number}.weight"], state[f"model.{number}.bias"], stride, 1
        )
        if number in (2, 5, 8):
            x = functional.instance_norm(x)
        if number != 11:
            x = functional.leaky_relu(x, 0.05)
    return x


def test_it_equals_the_same_functions_with_planes_before_stains(shaken):
    net = shaken(Critic3d(4, width=2))
    stains, planes = torch.randn(2, 3, 16, 24, 19), torch.randn(2, 1, 16, 24, 19)
    expected = plain(net.state_dict(), torch.cat([planes, stains], dim=1))
    torch.testing.assert_close(net(stains, planes), expected, rtol=1e-5, atol=1e-5)


def test_a_score_sees_54_pixels_along_each_axis():
    torch.manual_seed(0)
    net = Critic3d(2, width=1, slope=0.5)
    for number, part in enumerate(net.model):
        if isinstance(part, nn.InstanceNorm3d):
            net.model[number] = nn.Identity()  # whose statistics see everything
    stains = torch.randn(1, 1, 64, 64, 64, requires_grad=True)
    net(stains, torch.randn(1, 1, 64, 64, 64))[0, 0, 4, 4, 4].backward()
    seen = torch.nonzero(stains.grad[0, 0])
    assert (seen.amax(dim=0) - seen.amin(dim=0) + 1).tolist() == [54, 54, 54]


SIZES = {
    "smallest": (8, 8, 8),
    "flat": (8, 32, 40),
    "odd": (9, 17, 33),
    "whole": (16, 16, 16),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_volumes_from_8_px_are_scored_and_every_voxel_matters(size):
    torch.manual_seed(0)
    net = Critic3d(2, width=2)  # in training, where InstanceNorm refuses a single position
    stains = torch.randn(1, 1, *size, requires_grad=True)
    net(stains, torch.randn(1, 1, *size)).square().mean().backward()
    assert torch.isfinite(stains.grad).all()
    assert (stains.grad != 0).all()


def test_padding_is_by_zeros_around_the_volume():
    torch.manual_seed(0)
    net = Critic3d(2, width=2)
    stains, planes = torch.randn(1, 1, 8, 16, 11), torch.randn(1, 1, 8, 16, 11)
    sides = (2, 3, 0, 0, 4, 4)
    wider = net(functional.pad(stains, sides), functional.pad(planes, sides))
    torch.testing.assert_close(net(stains, planes), wider)
