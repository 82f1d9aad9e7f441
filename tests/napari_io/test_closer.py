"""Numbers, profiles and histograms of the pixels in view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.metrics.pixel import mae, pearson
from napari_virtualstain.metrics.structure import ssim
from napari_virtualstain.napari_io.closer import (
    joint_histogram,
    numbers_in_view,
    profile_along,
    values_at,
)
from napari_virtualstain.napari_io.mixed import Pair


def pair(predicted, true, *, first=(0.0, 0.0), step=(1.0, 1.0)):
    height, width = true.shape
    region = (
        int(first[0]), int(first[1]),
        int(first[0] + height * step[0]), int(first[1] + width * step[1]),
    )  # fmt: skip
    return Pair(
        predicted=predicted.astype(np.float32), true=true.astype(np.float32), region=region,
        first=first, step=step,
    )  # fmt: skip


@pytest.fixture
def two():
    true = np.random.default_rng(0).normal(100, 20, (40, 50))
    return 0.5 * true + np.random.default_rng(1).normal(0, 5, true.shape), true


def test_numbers_in_view_are_those_of_the_metrics(two):
    predicted, true = (p.astype(np.float32) for p in two)
    found = numbers_in_view(pair(predicted, true), 300.0)
    assert found.pcc == pytest.approx(pearson(predicted, true))
    assert found.ssim == pytest.approx(ssim(predicted, true, range_=300.0))
    assert found.mae == pytest.approx(mae(predicted, true))
    assert found.gain == pytest.approx(0.5, abs=0.05)
    assert (found.pixels, found.every) == (2000, 1.0)


def test_missing_pixels_are_left_out_of_the_numbers(two):
    predicted, true = two
    true[:10] = np.nan
    found = numbers_in_view(pair(predicted, true))
    assert found.pixels == 1500
    assert found.pcc == pytest.approx(pearson(predicted[10:], true[10:]), abs=1e-6)


NOTHING = {
    "constant": (np.ones((20, 20)), np.ones((20, 20)), 400),
    "smaller than a window": (np.eye(4), np.eye(4), 16),
    "all missing": (np.ones((20, 20)), np.full((20, 20), np.nan), 0),
}


@pytest.mark.parametrize(("predicted", "true", "pixels"), NOTHING.values(), ids=NOTHING)
def test_what_has_no_score_has_none(predicted, true, pixels):
    found = numbers_in_view(pair(predicted, true))
    assert np.isnan(found.ssim)
    assert found.pixels == pixels


def test_a_coarse_reading_says_what_one_pixel_stands_for(two):
    assert numbers_in_view(pair(*two, step=(4.0, 4.0))).every == 4.0


def test_a_perfect_prediction_lies_on_the_diagonal_and_a_bright_one_above_it(two):
    _, true = two
    counts = joint_histogram(pair(true, true)).counts
    assert counts.sum() == true.size
    assert counts.trace() == true.size
    bright = joint_histogram(pair(2 * true, true)).counts
    assert np.tril(bright).sum() == true.size, "rows are predicted"


def test_a_joint_histogram_counts_as_numpy_does(two):
    found = joint_histogram(pair(*two), bins=16)
    both = [np.asarray(p, np.float32).ravel() for p in two]
    inside = [np.clip(p, found.low, np.nextafter(found.high, 0)) for p in both]
    edges = np.linspace(found.low, found.high, 17)
    wanted, _, _ = np.histogram2d(*inside, bins=[edges, edges])
    assert np.abs(found.counts - wanted).sum() <= 4  # on the edge between two bins
    assert joint_histogram(pair(np.ones((3, 3)), np.full((3, 3), np.nan))) is None
    assert joint_histogram(pair(np.ones((3, 3)), np.ones((3, 3)))).counts.sum() == 9


ENDS = st.tuples(st.floats(0, 39), st.floats(0, 49))


@given(start=ENDS, end=ENDS, step=st.sampled_from([1.0, 2.0]), top=st.integers(0, 30))
def test_a_profile_of_a_slope_is_the_slope(start, end, step, top):
    rows, columns = np.mgrid[:40, :50].astype(float)
    slope = pair(rows + 2 * columns, 3 * rows, first=(top, 7.0), step=(step, step))
    begin, stop = ((top + step * p[0], 7 + step * p[1]) for p in (start, end))
    found = profile_along(slope, begin, stop)
    share = np.linspace(0, 1, len(found.distance))
    row, column = (a + (b - a) * share for a, b in zip(start, end, strict=True))
    np.testing.assert_allclose(found.predicted, row + 2 * column, atol=1e-3)
    np.testing.assert_allclose(found.true, 3 * row, atol=1e-3)
    far = np.hypot(*np.subtract(stop, begin))
    assert found.distance[-1] == pytest.approx(far)


def test_beyond_what_was_read_a_profile_has_gaps(two):
    found = profile_along(pair(*two), (5, -10), (5, 60))
    assert np.isnan(found.true[0])
    assert np.isnan(found.true[-1])
    assert np.isfinite(found.true).sum() == 50


@pytest.mark.parametrize(
    ("point", "at"),
    [((0, 0), (0, 0)), ((3.4, 7.6), (3, 8)), ((39.4, 49.4), (39, 49)), ((-0.6, 0), None),
     ((0, 49.6), None)],
    ids=str,
)  # fmt: skip
def test_a_value_is_that_of_the_pixel_under_the_point(two, point, at):
    found = values_at(pair(*two), point)
    wanted = None if at is None else tuple(float(np.float32(p[at])) for p in two)
    assert found == wanted
