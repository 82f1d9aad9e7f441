"""Stains are moved lazily to the bits that moving the whole plane gives, and never the bright field."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.alignment import measure_shift, shift_channels
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.preprocessing.registration import apply_shift

RNG = np.random.default_rng(0)


def image(pixels, *, chunks=(1, 1, 1, 16, 24), um=0.5):
    names = tuple(Channel(f"c{n}") for n in range(pixels.shape[1]))
    return LazyImage(
        data=da.from_array(pixels, chunks=chunks), channels=names,
        pixel_size_um=PixelSize(None, um, um),
    )  # fmt: skip


def scene(shape=(128, 144), seed=0):
    rng = np.random.default_rng(seed)
    wide = np.zeros((shape[0] + 40, shape[1] + 40))
    for y, x in rng.integers(0, wide.shape, (80, 2)):
        wide[y, x] += rng.uniform(200, 2000)
    return ndimage.gaussian_filter(wide, 2.0) * 10 + 100


SHIFTS = [(3.0, -2.0), (0.5, 0.25), (-7.4, 11.3), (0.0, 1.7), (40.0, 0.0), (0.0, -99.0)]


@pytest.mark.parametrize("shift", SHIFTS, ids=str)
@pytest.mark.parametrize(
    "chunks", [(1, 1, 1, 37, 53), (1, 1, 1, 16, 24), (1, 1, 1, 1, 53)], ids=str
)
def test_block_by_block_is_the_whole_plane_moved(shift, chunks):
    pixels = RNG.normal(100, 10, (1, 2, 1, 37, 53)).astype(np.float32)
    pixels[0, 0, 0, 4:6, 7] = np.nan
    moved = shift_channels(image(pixels, chunks=chunks), {(0, 0): shift})
    np.testing.assert_allclose(
        moved.data.compute()[0, 0, 0], apply_shift(pixels[0, 0, 0], shift), rtol=1e-5
    )
    np.testing.assert_array_equal(moved.data[0, 1].compute(), pixels[0, 1])


@given(st.tuples(*[st.floats(-12, 12)] * 2), st.integers(0, 20), st.integers(0, 20))
def test_a_region_that_is_read_alone_has_the_pixels_of_the_whole(shift, top, left):
    pixels = np.random.default_rng(1).normal(100, 10, (1, 1, 1, 40, 44)).astype(np.float32)
    moved = shift_channels(image(pixels), {(0, 0): shift})
    part = moved.read((*[slice(0, 1)] * 3, slice(top, top + 15), slice(left, left + 9)))
    whole = apply_shift(pixels[0, 0, 0], shift)
    np.testing.assert_allclose(part[0, 0, 0], whole[top : top + 15, left : left + 9], rtol=1e-4)


def test_time_points_are_moved_each_by_its_own():
    pixels = RNG.normal(100, 10, (3, 1, 1, 20, 20)).astype(np.float32)
    moved = shift_channels(image(pixels), {(0, 0): (2.0, 0.0), (2, 0): (0.0, -3.0)}).data.compute()
    np.testing.assert_array_equal(moved[0, 0, 0, 2:], pixels[0, 0, 0, :-2])
    np.testing.assert_array_equal(moved[1], pixels[1])
    np.testing.assert_array_equal(moved[2, 0, 0, :, :-3], pixels[2, 0, 0, :, 3:])
    assert np.isnan(moved[0, 0, 0, :2]).all()
    assert np.isnan(moved[2, 0, 0, :, -3:]).all()


def test_integers_become_floats_only_where_something_is_moved():
    whole = image(np.ones((1, 1, 1, 16, 16), np.uint16))
    assert shift_channels(whole, {}) is whole
    assert shift_channels(whole, {(0, 0): (0.0, 0.0)}) is whole
    assert shift_channels(whole, {(0, 0): (1.0, 0.0)}).dtype == np.float32


def pair(dy, dx, *, planes=1, where=0):
    """Return a bright field with one plane that shows the scene, and its stain (dy, dx) away."""
    wide = scene()
    stain = ndimage.shift(wide, (-dy, -dx), order=5, mode="reflect")[20:-20, 20:-20]
    rng = np.random.default_rng(5)
    below = rng.normal(500, 20, (1, 1, planes, *stain.shape))
    below[0, 0, where] = wide[20:-20, 20:-20]
    return image(below), image(stain[None, None, None])


def test_a_shift_is_measured_in_pixels_and_micrometres():
    shift = measure_shift(*pair(3.2, -2.5), 0, 0)
    assert (shift.dy, shift.dx) == pytest.approx((3.2, -2.5), abs=0.1)
    assert shift.distance_um == pytest.approx(shift.distance_px * 0.5, abs=1e-3)
    assert shift.verdict == "shifted"
    plain = replace(shift, dy=3.0, dx=-4.0, distance_um=2.5)
    assert plain.words() == "5.0 px (2.5 µm; dy +3.0, dx -4.0)"
    assert replace(plain, distance_um=None).words() == "5.0 px (dy +3.0, dx -4.0)"


def test_the_plane_that_tells_most_counts():
    shift = measure_shift(*pair(3.2, -2.5, planes=3, where=2), 0, 0)
    assert (shift.plane, shift.verdict) == (2, "shifted")


def test_small_or_empty_planes_tell_nothing():
    tiny = image(np.ones((1, 1, 1, 20, 40)))
    assert measure_shift(tiny, tiny, 0, 0).verdict == "ambiguous"
    empty = image(np.full((1, 1, 1, 64, 64), np.nan))
    found = measure_shift(empty, empty, 0, 0)
    assert (found.verdict, found.uncertainty_px) == ("ambiguous", None)
