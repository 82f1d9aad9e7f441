"""A map that the weights do not change is said to be one, and a map of a trained network is not."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, sobel

from napari_virtualstain.explain.gradients import input_gradient, radius_of
from napari_virtualstain.explain.probe import network_probe
from napari_virtualstain.explain.sanity import (
    Sanity,
    beyond_distance,
    compared,
    randomise_weights,
    shuffled,
)
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.zoo import load_generator

AT = (44, 44)


@pytest.fixture(scope="module")
def demo():
    return load_generator("demo").generator


def crop(planes, edge=96):
    random = np.random.default_rng(0)
    return gaussian_filter(random.normal(size=(planes, edge, edge)), (0, 2, 2)).astype(np.float32)


def test_random_weights_are_the_same_numbers_elsewhere():
    module = build_generator("unet", in_channels=2, out_channels=2, preset="tiny").module()
    other = copy.deepcopy(module)
    randomise_weights(other, 1)
    moved = []
    for before, after in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        moved.append(not torch.equal(before, after))
    assert sum(moved) > len(moved) / 3
    again = copy.deepcopy(module)
    randomise_weights(again, 1)
    pairs = zip(again.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_a_shuffled_picture_has_the_same_pixels(edge, height, width):
    planes = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    found = shuffled(planes, edge, 0)
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(planes, axis=None))
    np.testing.assert_array_equal(found[1] - found[0], np.full((height, width), height * width))


def test_a_shuffled_picture_keeps_its_blocks():
    planes = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    found = shuffled(planes, 4, 3)
    before = {planes[0, y : y + 4, x : x + 4].tobytes() for y in (0, 4) for x in (0, 4)}
    after = {found[0, y : y + 4, x : x + 4].tobytes() for y in (0, 4) for x in (0, 4)}
    assert before == after
    assert not np.array_equal(planes, found)


def test_how_a_map_falls_off_counts_for_nothing():
    y, x = np.indices((41, 41))
    cone = np.exp(-np.hypot(y - 20, x - 20) / 5)
    one, other = np.random.default_rng(0).random((2, 41, 41))
    one, other = (cone * one).astype(np.float32), (cone * other).astype(np.float32)
    assert compared(one, other) > 0.6
    assert abs(compared(one, other, (20, 20))) < 0.1
    assert compared(one, one, (20, 20)) == 1


def test_every_ring_has_the_same_mean():
    values = np.random.default_rng(0).random((21, 21)).astype(np.float32)
    found = beyond_distance(values, (10, 10))
    y, x = np.indices(values.shape)
    ring = np.rint(np.hypot(y - 10, x - 10))
    for far in np.unique(ring):
        assert found[ring == far].mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("weights", "picture", "verdict", "words"),
    [
        (0.1, 0.2, "depends", "depends on what the network learnt and on the picture"),
        (0.6, 0.2, "partly", "in a map that says nothing: read it with care"),
        (0.9, 0.2, "same", "not depend on what the network learnt: do not read it"),
        (0.1, 0.9, "same", "not depend on what the picture shows: do not read it"),
        (float("nan"), 0.1, "unknown", "cannot be told"),
        (None, None, "unknown", "cannot be told"),
        (None, 0.1, "depends", "a shuffled picture"),
    ],
)  # fmt: skip
def test_the_verdict_says_how_to_read(weights, picture, verdict, words):
    found = Sanity(weights=weights, picture=picture)
    assert found.verdict == verdict
    assert words in found.words()


def edges(planes):
    """A map that knows nothing of any network: where the picture has edges."""
    return np.hypot(sobel(planes[0], axis=0), sobel(planes[0], axis=1))


def test_a_map_of_edges_does_not_depend_on_the_network():
    planes = crop(1)
    same = compared(edges(planes), edges(planes))
    moved = compared(edges(planes), edges(shuffled(planes, 8, 0)))
    found = Sanity(weights=same, picture=moved)
    assert found.verdict == "same"
    assert "what the network learnt: do not read it" in found.words()


def test_the_gradient_of_the_demo_model_depends_on_its_weights(demo):
    planes = crop(demo.in_channels)
    probe = network_probe(demo.module().eval(), stain=0, example=planes)
    maps = [np.abs(input_gradient(one, planes, AT)).sum(axis=0) for one in (probe, probe.blind(0))]
    assert compared(*maps, AT) < 0.5
    # Both are those of one network: they fall off over the same halo.
    assert radius_of(maps[1], AT, 1.0) <= 2**0.5 * max(scan_reach(demo.module()).halo)


def test_a_map_of_which_nothing_is_left_has_changed():
    values, gone = np.random.default_rng(0).random((8, 8)).astype(np.float32), np.zeros((8, 8))
    assert compared(values, gone.astype(np.float32)) == 0
    assert np.isnan(compared(gone.astype(np.float32), values))
