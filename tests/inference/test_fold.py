"""A folded network predicts what it predicted, with fewer operations."""

from __future__ import annotations

import pytest
import torch
from small_nets import NETS, trained
from torch import nn

from napari_virtualstain.inference.fold import fold_norms
from napari_virtualstain.inference.operations import trace


def norms(module):
    return [
        m
        for m in module.modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    ]


@pytest.mark.parametrize("name", NETS)
def test_folding_changes_nothing_but_rounding(name):
    net = trained(NETS[name])
    image = torch.randn(1, 2, 32, 32)
    with torch.inference_mode():
        expected, got = net(image), fold_norms(trace(net).graph)(image)
    torch.testing.assert_close(got, expected, atol=1e-5 * float(expected.std()) + 1e-6, rtol=1e-4)


FOLDED = {
    "unet": 0,
    "overlapping": 0,
    "unet with norms behind": 6,  # behind a ReLU there is no convolution to fold into
    "dropped and grouped": 1,
}


@pytest.mark.parametrize(("name", "left"), FOLDED.items())
def test_every_norm_behind_a_convolution_is_folded(name, left):
    assert len(norms(fold_norms(trace(trained(NETS[name])).graph))) == left


def test_the_network_that_was_given_stays_as_it_is():
    net = trained(NETS["unet"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fold_norms(trace(net).graph)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Shared(nn.Module):
    """One convolution used twice, and a result that is used before its norm as well."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.one, self.two = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.other, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        a = self.two(self.conv(self.one(self.conv(x))))
        b = self.other(a)
        return b + self.norm(b)


def test_what_is_used_twice_is_not_folded():
    net = trained(Shared)
    folded = fold_norms(trace(net).graph)
    assert len(norms(folded)) == 3
    image = torch.randn(1, 2, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), net(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_transposed_convolutions_fold_group_by_group(groups, affine):
    net = trained(
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 6, 4, 2, 1, groups=groups, bias=affine),
            nn.BatchNorm2d(6, affine=affine),
        )
    )
    image = torch.randn(1, 2, 8, 8)
    folded = fold_norms(trace(net).graph)
    assert not norms(folded)
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), net(image), atol=1e-5, rtol=1e-4)
