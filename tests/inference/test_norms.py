"""One set of statistics for the whole image, whatever the tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import trained
from torch import nn

from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.norms import (
    exact_statistics,
    joint_statistics,
    unit_statistics,
    with_statistics,
)
from napari_virtualstain.inference.operations import norm_names
from napari_virtualstain.tiling.plan import plan_tiles

KINDS = {
    "instance": nn.InstanceNorm2d,
    "instance with weights": lambda c: nn.InstanceNorm2d(c, affine=True),
    "group": lambda c: nn.GroupNorm(4, c),
    "layer as one group": lambda c: nn.GroupNorm(1, c),
}
SHAPE = (64, 80)


class Net(nn.Module):
    """Three norms at two resolutions, and one in front of everything."""

    def __init__(self, norm):
        super().__init__()
        self.a, self.n1 = nn.Conv2d(2, 8, 3, padding=1), norm(8)
        self.d, self.n2 = nn.Conv2d(8, 16, 4, 2, 1), norm(16)
        self.u, self.n3 = nn.ConvTranspose2d(16, 8, 4, 2, 1), norm(8)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        a = torch.relu(self.n1(self.a(x)))
        b = nn.functional.leaky_relu(self.n2(self.d(a)), 0.2)
        return self.last(torch.cat([a, torch.relu(self.n3(self.u(b)))], dim=1))


def image():
    """A picture that is brighter and busier at one end."""
    noise = np.random.default_rng(0).normal(size=(1, 2, *SHAPE))
    return (noise * np.linspace(0.2, 3, SHAPE[0])[:, None] + 1).astype(np.float32)


def tiles_of(pixels, reach, core=32):
    plan = plan_tiles(SHAPE, core=core, halo=reach.halo, multiple_of=reach.multiple_of)
    return lambda: ((pixels[(slice(None), slice(None), *tile.read)], tile.keep) for tile in plan)


@pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)
def test_exact_statistics_give_the_forward_pass_of_the_whole_image(norm):
    net, pixels = trained(lambda: Net(norm)), image()
    reach = prepare_network(net).reach
    statistics = exact_statistics(net, tiles_of(pixels, reach))
    fixed = prepare_network(with_statistics(net, statistics, 2))
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
    assert fixed.reach.kind == "exact"
    np.testing.assert_allclose(fixed.forward(pixels), expected, atol=1e-5 * float(np.ptp(expected)))


def test_exact_statistics_do_not_depend_on_the_tiles():
    net, pixels = trained(lambda: Net(nn.InstanceNorm2d)), image()
    reach = prepare_network(net).reach
    small, large = (exact_statistics(net, tiles_of(pixels, reach, core)) for core in (16, 64))
    for name in small:
        np.testing.assert_allclose(small[name].mean, large[name].mean, atol=1e-5)
        np.testing.assert_allclose(small[name].variance, large[name].variance, rtol=1e-4)


@pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)
def test_statistics_of_one_patch_are_those_of_a_forward_pass_of_it(norm):
    net, pixels = trained(lambda: Net(norm)), image()
    fixed = prepare_network(with_statistics(net, joint_statistics(net, pixels), 2))
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(fixed.forward(pixels), expected, atol=1e-4 * float(np.ptp(expected)))


def test_frozen_statistics_are_nearer_to_the_whole_than_those_of_each_tile():
    net, pixels = trained(lambda: Net(nn.InstanceNorm2d)), image()
    patches = np.concatenate(
        [pixels[:, :, y : y + 16, x : x + 16] for y in (0, 16, 32, 48) for x in (0, 32, 64)]
    )
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
        apart = np.concatenate(
            [net(torch.from_numpy(pixels[:, :, y : y + 16])).numpy() for y in (0, 16, 32, 48)], 2
        )
    fixed = prepare_network(with_statistics(net, joint_statistics(net, patches), 2))
    frozen = np.abs(fixed.forward(pixels) - expected).mean()
    assert frozen < 0.5 * np.abs(apart - expected).mean()


def test_a_network_to_plan_with_has_the_same_shape_and_no_statistics_of_its_own():
    net = trained(lambda: Net(lambda c: nn.GroupNorm(4, c)))
    planned = with_statistics(net, unit_statistics(net), 2)
    assert norm_names(net)
    assert not norm_names(planned)
    assert prepare_network(planned).streams


def test_a_norm_that_remembers_is_left_alone():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True))
    assert norm_names(net) == []


def test_volumes_have_statistics_over_all_three_axes():
    net = trained(
        lambda: nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4)), (1, 1, 8, 8, 8)
    )
    pixels = np.random.default_rng(0).normal(size=(1, 1, 12, 16, 20)).astype(np.float32)
    plan = plan_tiles((12, 16, 20), core=8, halo=1, multiple_of=1)
    statistics = exact_statistics(
        net, lambda: ((pixels[(slice(None), slice(None), *t.read)], t.keep) for t in plan)
    )
    fixed = prepare_network(with_statistics(net, statistics, 3))
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(fixed.forward(pixels), expected, atol=1e-5)
