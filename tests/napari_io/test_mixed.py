"""Prediction and truth in one picture."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from napari_virtualstain.napari_io.mixed import in_truth, mixed_keywords, read_pair, tile_edge

RNG = np.random.default_rng(0)
PREDICTED, TRUE = RNG.random((2, 40, 60)).astype(np.float32)


def whole(**changes):
    asked = {"predicted": [PREDICTED], "true": [TRUE], "at": (), "region": (0, 0, 40, 60)}
    return read_pair(**{**asked, **changes})


@given(st.floats(0, 1))
def test_left_of_the_curtain_is_the_prediction_and_right_of_it_the_truth(share):
    wanted = TRUE.copy()
    for column in range(60):  # stupid: a pixel belongs to the side on which its middle lies
        if column + 0.5 < share * 60:
            wanted[:, column] = PREDICTED[:, column]
    np.testing.assert_array_equal(whole().curtain(share), wanted)


ENDS = {"open": (0.0, TRUE), "drawn": (1.0, PREDICTED)}


@pytest.mark.parametrize(("share", "wanted"), ENDS.values(), ids=ENDS)
def test_at_its_ends_the_curtain_shows_one_of_them_alone(share, wanted):
    np.testing.assert_array_equal(whole().curtain(share), wanted)


def test_marks_above_and_below_show_where_the_curtain_hangs():
    changed = np.argwhere(whole().curtain(0.5, 9.0) != whole().curtain(0.5))
    np.testing.assert_array_equal(changed, [[0, 30], [1, 30], [38, 30], [39, 30]])
    for share in (0.0, 1.0):
        assert whole().curtain(share, 9.0).max() < 9


@given(st.floats(0, 1))
def test_a_curtain_is_dragged_to_where_it_hangs(share):
    pair = whole(region=(3, 7, 30, 50))
    assert pair.share(pair.line(share)) == pytest.approx(share, abs=1e-9)


@given(st.integers(1, 64), st.integers(0, 20), st.integers(0, 30))
def test_tiles_take_turns_and_stay_on_the_image_whatever_part_is_in_view(edge, top, left):
    wanted = TRUE.copy()
    for row in range(40):
        for column in range(60):
            if (row // edge + column // edge) % 2 == 0:
                wanted[row, column] = PREDICTED[row, column]
    found = whole(region=(top, left, 40, 60)).checkerboard(edge)
    np.testing.assert_array_equal(found, wanted[top:, left:])


def test_only_what_is_in_view_is_read():
    asked = []

    def block(part):
        asked.append(part.shape)
        return part

    lazy = da.zeros((80, 80), chunks=20).map_blocks(block, meta=np.zeros((0, 0)))
    pair = read_pair([lazy], [np.zeros((80, 80))], (), (25, 45, 35, 55))
    assert asked == [(20, 20)]
    assert pair.predicted.shape == (10, 10)


def pyramid(pixels):
    half = pixels.reshape(20, 2, 30, 2).mean((1, 3))
    return [pixels, half, half.reshape(10, 2, 15, 2).mean((1, 3))]


LEVELS = {
    "a_pixel_of_the_canvas_each": (1.0, 0, 1),
    "the_next_level_is_not_fine_enough": (1.9, 0, 1),
    "two_pixels": (2.0, 1, 1),
    "coarser_than_the_coarsest": (9.0, 2, 2),
}


@pytest.mark.parametrize(("coarsest", "level", "every"), LEVELS.values(), ids=LEVELS)
def test_no_more_pixels_are_read_than_the_canvas_can_tell_apart(coarsest, level, every):
    pair = whole(predicted=pyramid(PREDICTED), true=pyramid(TRUE), coarsest=coarsest)
    np.testing.assert_array_equal(pair.true, pyramid(TRUE)[level][::every, ::every])
    assert pair.step == (2**level * every,) * 2
    # The middle of the first pixel is that of the finest pixels that it stands for.
    assert pair.first == ((2**level - 1) / 2,) * 2


def test_without_a_coarser_copy_every_nth_pixel_does():
    pair = whole(coarsest=3.5)
    np.testing.assert_array_equal(pair.predicted, PREDICTED[::3, ::3])


PLACES = {
    "flat": ((), (4, 4), (4, 4), ()),
    "one_z_in_truth": ((3,), (5, 4, 4), (5, 1, 4, 4), (3, 0)),
    "one_z_in_both": ((3, 0), (5, 1, 4, 4), (5, 4, 4), (3,)),
    "times_and_planes": ((1, 2), (2, 3, 4, 4), (2, 3, 4, 4), (1, 2)),
}


@pytest.mark.parametrize(("at", "predicted", "true", "wanted"), PLACES.values(), ids=PLACES)
def test_the_plane_of_the_truth_is_that_of_the_prediction(at, predicted, true, wanted):
    assert in_truth(at, predicted, true) == wanted


def test_the_plane_that_is_asked_for_is_read():
    stack = RNG.random((5, 40, 60)).astype(np.float32)
    pair = whole(predicted=[stack], true=[stack[:, None] + 1], at=(3,))
    np.testing.assert_array_equal(pair.predicted, stack[3])
    np.testing.assert_array_equal(pair.true, stack[3] + 1)


TURNS = {"straight": {}, "turned": {"rotate": 30}, "sheared_afterwards": {"affine": [[1, 0.2, 5], [0, 1, 3], [0, 0, 1]]}}  # fmt: skip


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_layer_lies_on_the_pixels_of_the_prediction(turn):
    predicted = Image(PREDICTED, scale=(0.5, 0.25), translate=(3, 7), units=("um", "um"), **turn)
    true = Image(TRUE, contrast_limits=(0.25, 0.5), gamma=0.7)
    pair = whole(region=(10, 20, 30, 60), coarsest=2.0)
    mixed = Image(pair.curtain(0.5), **mixed_keywords(predicted, true, pair, name="DNA"))
    for pixel in ((0, 0), (3, 5), (9, 19)):
        there = predicted.data_to_world(np.array([10, 20]) + 2 * np.array(pixel))
        np.testing.assert_allclose(mixed.data_to_world(pixel), there)
    assert [str(unit) for unit in mixed.units] == ["micrometer", "micrometer"]
    assert (mixed.contrast_limits, mixed.gamma) == ([0.25, 0.5], 0.7)


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.sampled_from([4, 8, 16]))
def test_about_as_many_tiles_as_asked_for_lie_along_the_shorter_side(height, width, tiles):
    edge = tile_edge((0, 0, height, width), tiles)
    assert edge & (edge - 1) == 0
    if min(height, width) >= tiles:
        assert tiles / 1.5 <= min(height, width) / edge <= tiles * 1.5
