"""The value between the pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.preprocessing.cubic import between, taps


def keys(distance):
    """Keys' kernel, written as in the paper."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


@given(st.floats(-3, 12))
def test_weights_are_those_of_the_paper_and_sum_to_one(position):
    first, weights = taps(np.array([position]))
    expected = [keys(position - (first[0] + k)) for k in range(4)]
    np.testing.assert_allclose(weights[:, 0], expected, atol=1e-9)
    assert weights.sum() == pytest.approx(1)


def test_a_parabola_is_reproduced():
    x = np.arange(12.0)
    at = np.linspace(1, 10, 37)
    np.testing.assert_allclose(between(x**2 - 3 * x, at, axis=0), at**2 - 3 * at)


def test_whole_positions_copy_even_beside_missing_samples():
    line = np.array([1.0, np.nan, 3.0, 4.0, np.nan])
    np.testing.assert_array_equal(between(line, np.arange(5.0), axis=0), line)


def test_a_missing_sample_reaches_two_positions_and_outside_is_missing():
    line = np.arange(10.0)
    line[4] = np.nan
    got = between(line, np.arange(10) + 0.5, axis=0)
    assert list(np.flatnonzero(np.isnan(got))) == [0, 2, 3, 4, 5, 8, 9]


@given(st.integers(0, 20), st.integers(1, 20))
def test_a_part_has_the_bits_of_the_whole(start, length):
    values = np.random.default_rng(0).normal(size=(7, 30)).astype(np.float32)
    at = np.linspace(1, 27, 45)
    whole = between(values, at, axis=1)
    part = between(values, at[start : start + length], axis=1)
    np.testing.assert_array_equal(part, whole[:, start : start + length])
