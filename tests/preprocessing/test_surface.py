"""Wide filters at nodes: against filters of every pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import rank
from skimage.morphology import disk

from napari_virtualstain.preprocessing.surface import (
    interpolated,
    node_positions,
    smoothed_at_nodes,
)


def uneven(shape, *, noise=0.05, seed=0):
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])
    light = 1 + 0.1 * y - 0.15 * (y**2 + (x - 0.2) ** 2)
    rng = np.random.default_rng(seed)
    return 1000 * light * rng.lognormal(0, noise, shape)


def whole(nodes, shape):
    return interpolated(nodes, shape, tuple(slice(0, n) for n in shape))


def median_twin(plane, radius, at):
    rows, columns = np.indices(plane.shape)
    near = (rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2
    inside = plane[near]
    inside = inside[np.isfinite(inside)]
    return np.median(inside) if inside.size else np.nan


def test_nodes_reach_from_the_first_pixel_to_the_last():
    np.testing.assert_allclose(node_positions(11, 3.0), [0, 2.5, 5, 7.5, 10])
    np.testing.assert_allclose(node_positions(1, 3.0), [0])


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "with a hole"])
def test_the_median_at_every_node_is_that_of_the_disc(masked):
    plane = uneven((61, 83), noise=0.4)
    if masked:
        plane[:30, :30] = np.nan
    nodes = smoothed_at_nodes(plane, sigma=12)
    ys, xs = node_positions(61, 3), node_positions(83, 3)
    twin = [[median_twin(plane, 12, (y, x)) for x in xs] for y in ys]
    np.testing.assert_allclose(nodes, twin)
    assert np.isnan(nodes).any() == masked


def test_between_the_nodes_the_median_filter_of_every_pixel_is_met_within_a_percent():
    plane = np.rint(0.75 * uneven((160, 200))).astype(np.uint16)
    # skimage's median over a disc that is cut off at the border, as CellProfiler calls it
    twin = rank.median(plane, disk(17))
    found = whole(smoothed_at_nodes(plane, sigma=17), plane.shape)
    assert np.abs(found / twin - 1).max() < 0.01


def test_blocks_of_a_large_plane_change_the_median_by_less_than_half_a_percent():
    plane = uneven((640, 640), noise=0.2)
    nodes = smoothed_at_nodes(plane, sigma=160)  # above the radius up to which pixels are taken
    ys = node_positions(640, 40)
    picks = [(0, 0), (3, 9), (8, 8), (16, 16), (16, 1)]
    ratio = [nodes[i, j] / median_twin(plane, 160, (ys[i], ys[j])) for i, j in picks]
    # The level (median to mean of the noise) is divided out by who uses it.
    assert np.ptp(ratio) < 0.005


def test_the_gaussian_is_the_masked_one_of_cellprofiler():
    plane = uneven((90, 120), noise=0.3)
    plane[20:50, 70:] = np.nan
    known = np.isfinite(plane)

    def blur(a):
        return ndimage.gaussian_filter(a, 9, mode="constant")

    twin = blur(np.where(known, plane, 0.0)) / blur(known.astype(float))
    found = whole(smoothed_at_nodes(plane, sigma=9, smoothing="gaussian"), plane.shape)
    assert np.abs(found / twin - 1).max() < 0.003


@given(st.integers(0, 59), st.integers(0, 89), st.integers(1, 60), st.integers(1, 90))
def test_a_region_has_the_bits_of_the_whole(top, left, height, width):
    nodes = np.random.default_rng(1).normal(size=(7, 10))
    region = (slice(top, min(60, top + height)), slice(left, min(90, left + width)))
    part = interpolated(nodes, (60, 90), region)
    np.testing.assert_array_equal(part, whole(nodes, (60, 90))[region])


def test_a_plane_of_one_row_has_a_surface():
    plane = np.linspace(1, 2, 40)[None]
    assert whole(smoothed_at_nodes(plane, sigma=8), (1, 40)).shape == (1, 40)
