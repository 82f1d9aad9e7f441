"""Sides are dealt evenly, and answers scored with what chance would do."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.blind import deal_sides, score_answers


@given(st.integers(2, 60), st.integers(0, 5))
def test_half_of_the_pairs_have_the_real_one_left(pairs, seed):
    left = int(deal_sides(pairs, seed=seed).sum())
    assert left in (pairs // 2, pairs - pairs // 2)


def test_sides_are_in_no_order_and_those_of_the_seed():
    one, again, other = (deal_sides(40, seed=seed).tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert len({tuple(one[:20]), tuple(one[20:]), tuple(sorted(one)[:20])}) == 3
    assert len({bool(deal_sides(3, seed=seed).sum() == 1) for seed in range(20)}) == 2


def sides(pairs=40):
    return deal_sides(pairs, seed=0).tolist()


def wells(pairs=40):
    return [n // 2 for n in range(pairs)]


def test_who_sees_it_is_told_from_who_guesses():
    real = sides()
    all_right = score_answers(real, real, wells())
    assert (all_right.right, all_right.share.value) == (40, 1)
    assert 0.85 < all_right.share.low < 1  # not sure, however often it is drawn
    assert "were told from real ones" in all_right.sentence()
    guesses = np.random.default_rng(1).permutation(real).tolist()
    guessed = score_answers(guesses, real, wells())
    assert guessed.share.low < 0.5 < guessed.share.high
    assert "do not show" in guessed.sentence()
    wrong = score_answers([not one for one in real], real, wells())
    assert "taken for the real ones" in wrong.sentence()


def test_who_always_says_left_is_right_in_half_and_that_is_seen():
    found = score_answers([True] * 40, sides(), wells())
    assert (found.share.value, found.left) == (0.5, 1)


@pytest.mark.parametrize("right", [3, 10, 14, 20])
def test_the_probability_is_that_of_coins(right):
    real = sides(20)
    said = [one if n < right else not one for n, one in enumerate(real)]
    away = abs(right - 10)
    tail = sum(comb(20, k) for k in range(21) if abs(k - 10) >= away) / 2**20
    assert score_answers(said, real, ["w"] * 20).p_value == pytest.approx(tail)


def test_a_few_wells_make_it_less_sure():
    real = sides()
    said = [one if n % 20 < 14 else not one for n, one in enumerate(real)]
    many, few = (
        score_answers(said, real, w).share for w in (range(40), [n // 7 for n in range(40)])
    )
    assert few.high - few.low > many.high - many.low


def test_no_answer_is_refused():
    with pytest.raises(PixelDataError, match="No pair was answered"):
        score_answers([], [], [])
