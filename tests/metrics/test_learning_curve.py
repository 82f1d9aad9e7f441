"""What more fields would bring: the law is found, noise is said to be noise, and little to be little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.metrics.learning_curve import outlook


def blocks(pcc, count=60, noise=0.0, seed=0):
    return np.clip(pcc + np.random.default_rng(seed).normal(0, noise, count), -1, 1)


def law(n, b=0.4, c=0.5):
    return 1 - b * n**-c


def test_a_power_law_is_gone_on_with():
    found = outlook([1, 2, 4, 8], [blocks(law(n)) for n in (1, 2, 4, 8)], more=8)
    assert found.gain == pytest.approx(law(16) - law(8), abs=1e-9)
    assert found.low == pytest.approx(found.high)
    assert "would bring the stain +0.041 PCC" in found.words
    assert "if it goes on as it has" in found.words


def test_what_hangs_on_which_field_is_taken_is_in_the_interval():
    sizes = [1, 1, 2, 2, 5]
    sure = outlook(sizes, [blocks(law(n), noise=0.02, seed=3) for n in sizes])
    moved = [law(n) + by for n, by in zip(sizes, (0.1, -0.1, 0.05, -0.05, 0), strict=True)]
    unsure = outlook(sizes, [blocks(pcc, noise=0.02, seed=3) for pcc in moved])
    assert unsure.high - unsure.low > 3 * (sure.high - sure.low)
    assert sure.low <= sure.gain <= sure.high


def test_a_flat_curve_promises_nothing():
    found = outlook([1, 2, 5], [blocks(0.8, noise=0.001, seed=n) for n in (1, 2, 5)])
    assert found.high < 0.005
    assert "which is little" in found.words


CANNOT = {
    "two sizes": ([1, 4], 10, "3 different numbers of fields"),
    "far ahead": ([1, 2, 3], 10, "3 fields say something of 9 more at most"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_told_is_not(case):
    sizes, more, why = CANNOT[case]
    found = outlook(sizes, [blocks(law(n)) for n in sizes], more=more, what="DNA")
    assert found.gain is found.low is found.high is None
    assert found.words.startswith("what 10 more fields would bring to DNA cannot be told")
    assert why in found.words


def test_blocks_without_truth_are_left_out():
    with_gap = [np.append(blocks(law(n)), np.nan) for n in (1, 2, 5)]
    plain = [blocks(law(n)) for n in (1, 2, 5)]
    assert outlook([1, 2, 5], with_gap) == outlook([1, 2, 5], plain)
    nothing = outlook([1, 2, 5], [np.full(4, np.nan)] * 3)
    assert "too little was held back" in nothing.words


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6), count=st.integers(0, 6),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_whatever_was_scored_there_is_a_sentence(sizes, count, seed):
    rng = np.random.default_rng(seed)
    found = outlook(sizes, [rng.uniform(-1, 1, count) for _ in sizes])
    assert "10 more fields would bring" in found.words
    assert found.gain is None or 0 <= found.gain <= 2
