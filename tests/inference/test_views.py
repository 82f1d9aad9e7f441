"""Views: the mean over turned pictures, without seams, and a spread that is 0 where all agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.views import Views, seen_from_all_sides

TURNS = [
    lambda x: x,
    lambda x: x[..., ::-1],
    lambda x: x[..., ::-1, :],
    lambda x: x[..., ::-1, ::-1],
]


def by_hand(predict, planes, number):
    """The stupid twin: turn, predict, turn back, and take mean and standard deviation."""
    found = []
    for turned in (False, True)[: 1 + (number == 8)]:
        for turn in TURNS[: min(number, 4)]:
            seen = turn(planes)
            seen = seen.swapaxes(-1, -2) if turned else seen
            said = predict(np.ascontiguousarray(seen))
            found.append(turn(said.swapaxes(-1, -2) if turned else said))
    stack = np.stack(found).astype(np.float64)
    return np.concatenate([stack.mean(0), stack.std(0, ddof=1)], axis=1)


@pytest.fixture(scope="module")
def network():
    generator = build_generator("unet", in_channels=2, out_channels=3, preset="tiny", seed=1)
    return prepare_network(generator.module())


def planes(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, 2, *shape)).astype(np.float32)


@pytest.mark.parametrize("number", [2, 4, 8])
def test_mean_and_spread_are_those_of_turning_by_hand(network, number):
    given = planes(32, 48)
    got = seen_from_all_sides(network, number).forward(given)
    assert got.shape == (1, 6, 32, 48)
    assert got == pytest.approx(by_hand(network.forward, given, number), abs=1e-5)
    assert got[:, 3:].max() > 1e-3


def test_one_view_is_the_network_itself(network):
    assert seen_from_all_sides(network, 1) is network


def test_a_network_that_does_not_care_which_way_is_up_has_no_spread():
    even = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(even.weight, 1 / 9)
    given = torch.from_numpy(planes(16, 16)[:, :1])
    got = Views(even, 8)(given)
    assert got[:, :1].detach() == pytest.approx(even(given).detach(), abs=1e-6)
    assert got[:, 1:].detach().abs().max() < 1e-6


def test_a_tile_with_its_halo_is_cut_from_the_whole(network):
    """What lies beyond the halo changes nothing, turned or not."""
    viewed = seen_from_all_sides(network, 8)
    halo, step = viewed.reach.halo[0], viewed.reach.multiple_of[0]
    far = -(-halo // step) * step
    edge = 2 * far + 4 * step
    given = planes(edge, edge)
    whole = viewed.forward(given)
    other = given.copy()
    other[..., :step, :] += 3  # far above the tile
    core = slice(far + step, far + 3 * step)
    changed = viewed.forward(other)
    assert np.abs(changed - whole).max() > 1e-3
    assert changed[..., core, core] == pytest.approx(whole[..., core, core], abs=1e-5)
    tile = slice(step, far + 3 * step + far)
    cut = viewed.forward(given[..., tile, tile])[..., far : far + 2 * step, far : far + 2 * step]
    assert cut == pytest.approx(whole[..., core, core], abs=1e-5)


def test_it_looks_as_far_in_both_directions_and_is_not_streamed():
    wide = prepare_network(nn.Conv2d(1, 1, (1, 9), padding=(0, 4)))
    assert wide.reach.halo == (0, 4)
    viewed = seen_from_all_sides(wide, 8)
    assert viewed.reach.halo == (4, 4)
    assert not viewed.streams


def test_memory_is_foreseen_for_both_what_is_predicted_and_its_spread(network):
    viewed = seen_from_all_sides(network, 8)
    assert viewed.forward_bytes((64, 64)) > network.forward_bytes((64, 64))


def test_volumes_are_turned_in_their_planes_alone():
    volume = prepare_network(nn.Conv3d(1, 1, 3, padding=1))
    given = np.random.default_rng(0).normal(size=(1, 1, 4, 16, 24)).astype(np.float32)
    got = seen_from_all_sides(volume, 4).forward(given)
    assert got == pytest.approx(by_hand(volume.forward, given, 4), abs=1e-5)
