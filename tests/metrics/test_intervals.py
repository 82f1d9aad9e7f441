"""An interval holds the share of the truth that it says, for every spread; errors are found or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_virtualstain.metrics.intervals import (
    SpreadInterval,
    coverage,
    coverage_by_spread,
    ends,
    fit_interval,
    retention,
)


def drawn(seed, n=20_000, honest=True):
    """Errors whose size is that of the spread, or has nothing to do with it."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.5, 3, n)
    return spread, rng.normal(size=n) * (spread if honest else 1.0)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_other_pixels_lie_within_as_often_as_it_says_in_every_tenth_of_the_spread(level):
    interval = fit_interval(*drawn(0), level=level)
    assert coverage(interval, *drawn(1)) == pytest.approx(level, abs=0.02)
    assert coverage_by_spread(interval, *drawn(1)) == pytest.approx([level] * 10, abs=0.06)


def test_a_spread_that_is_ten_times_too_small_is_widened():
    spread, error = drawn(0)
    interval = fit_interval(spread / 10, error)
    assert interval.half_width(spread[:5] / 10) == pytest.approx(1.645 * spread[:5], rel=0.15)


def test_a_spread_that_says_nothing_gets_one_width():
    interval = fit_interval(*drawn(0, honest=False))
    assert interval.widths[-1] / interval.widths[0] < 1.2
    assert coverage(interval, *drawn(1, honest=False)) == pytest.approx(0.9, abs=0.02)


def test_beyond_the_largest_spread_the_width_grows_with_it_and_below_the_least_it_stays():
    interval = SpreadInterval(level=0.9, spreads=(1.0, 2.0), widths=(3.0, 5.0))
    assert interval.half_width([0.0, 1.0, 1.5, 2.0, 4.0]).tolist() == [3, 3, 4, 5, 10]
    assert np.isnan(interval.half_width(np.nan))


def test_one_spread_for_all_pixels_is_one_knot():
    error = np.random.default_rng(0).normal(size=1000)
    interval = fit_interval(np.zeros(1000), error)
    assert interval.spreads == (0.0,)
    assert interval.half_width([0.0, 7.0]).tolist() == pytest.approx([interval.widths[0]] * 2)


def test_missing_pixels_count_nowhere():
    spread, error = drawn(0, 2000)
    with_gaps = np.concatenate([spread, [np.nan, 1.0]]), np.concatenate([error, [1.0, np.nan]])
    assert fit_interval(*with_gaps) == fit_interval(spread, error)
    assert retention(*with_gaps) == retention(spread, error)


def test_too_few_pixels_are_refused():
    with pytest.raises(ValueError, match="50 pixels"):
        fit_interval(np.ones(49), np.ones(49))


@pytest.mark.parametrize(
    ("spreads", "widths"), [((1, 1), (1, 2)), ((1, 2), (2, 1)), ((1, 2), (1,)), ((1,), (-1,))]
)
def test_what_is_no_interval_is_refused(spreads, widths):
    with pytest.raises(ValidationError):
        SpreadInterval(level=0.9, spreads=spreads, widths=widths)


@given(st.integers(0, 2**32 - 1), st.integers(50, 400), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_pixels_it_was_fitted_on_lie_within_and_a_larger_spread_is_never_narrower(
    seed, n, level
):
    rng = np.random.default_rng(seed)
    spread = np.round(rng.gamma(2, size=n), int(rng.integers(0, 4)))
    error = rng.normal(size=n) * rng.gamma(1, size=n)
    interval = fit_interval(spread, error, level)
    assert (np.diff(interval.half_width(np.sort(spread))) >= 0).all()
    # Between two knots the width is that of neither, so that single pixels may fall out.
    assert coverage(interval, spread, error) >= level - 0.15


def test_the_curve_of_a_perfect_doubt_falls_and_that_of_none_is_flat():
    _, error = drawn(0)
    perfect, none = retention(np.abs(error), error), retention(np.zeros_like(error), error)
    assert perfect.area < 0.5
    assert perfect.error[0] == pytest.approx(np.abs(error).mean())
    assert list(perfect.error) == sorted(perfect.error, reverse=True)
    assert none.area == pytest.approx(1)
    assert retention(-np.abs(error), error).area > 1.3


def test_the_curve_is_that_of_sorting_by_hand():
    spread, error = drawn(2, 1000)
    order = np.argsort(spread)
    wanted = [
        np.abs(error)[order[: round(share * 1000)]].mean()
        for share in retention(spread, error).kept
    ]
    assert list(retention(spread, error).error) == pytest.approx(wanted)


def test_pixels_of_one_doubt_have_no_order():
    error = np.array([0.0, 0.0, 2.0, 2.0] * 50)
    doubt = np.array([1.0, 1.0, 1.0, 1.0] * 50)
    assert retention(doubt, error) == retention(doubt, error[::-1])
    assert retention(doubt, error).error[-1] == pytest.approx(1)


def test_no_pixels_have_no_curve():
    with pytest.raises(ValueError, match="no pixels"):
        retention([np.nan], [1.0])
    assert np.isnan(coverage(SpreadInterval(level=0.9, spreads=(1,), widths=(1,)), [], []))


def test_ends_lie_below_and_above_each_mean_and_planes_of_one_stain_share_an_interval():
    one = SpreadInterval(level=0.9, spreads=(1.0,), widths=(2.0,))
    two = SpreadInterval(level=0.9, spreads=(1.0,), widths=(5.0,))
    grey = np.array([10, 11, 20, 21, 1, 1, 1, 2], np.float32)[:, None]  # two stains, two planes
    assert ends(grey, [one, two])[:, 0].tolist() == [10, 11, 20, 21, 8, 9, 15, 11, 12, 13, 25, 31]
    assert ends(grey, [one, two]).dtype == np.float32
