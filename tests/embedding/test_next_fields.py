"""What is rare, doubtful and of a new well comes first; what is like it does not come again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.embedding.next_fields import rank_next


def cloud(seed, count, at=0.0, features=6):
    return np.random.default_rng(seed).normal(at, 1, (count, features))


def test_the_rare_kind_comes_first_and_only_once():
    known, usual = cloud(0, 8), cloud(1, 20)
    rare = 8 + 0.05 * cloud(2, 3)  # three fields that are nearly the same
    found = rank_next(np.concatenate([usual, rare]), np.ones(23), known=known, count=6)
    of_rare = [one.index >= 20 for one in found]
    assert of_rare == [True, False, False, False, False, False]
    assert "unlike those that are known" in found[0].why
    assert found[0].novelty > 2


def test_of_fields_alike_the_doubtful_one_comes_first():
    doubt = np.ones(12)
    doubt[7] = 3.0
    found = rank_next(np.zeros((12, 3)) + np.arange(12)[:, None] % 2, doubt, known=np.zeros((1, 3)))
    assert found[0].index == 7
    assert "the model contradicts itself (3.0 times as much as usual)" in found[0].why


def test_an_empty_field_is_unlike_all_others_and_does_not_come_first():
    features = np.concatenate([cloud(1, 20), [[5.0] * 6]])
    content = np.ones(21)
    assert rank_next(features, np.ones(21), content=content)[0].index == 20
    content[20] = 0.02
    found = rank_next(features, np.ones(21), content=content, count=21)
    assert found[-1].index == 20
    assert "little to be seen" in found[-1].why


def test_wells_take_turns():
    wells = ["A1"] * 6 + ["A2"] * 6 + ["A3"] * 6
    found = rank_next(
        cloud(3, 18), np.ones(18), known=cloud(4, 3), wells=wells, known_wells=["A1", "A1", "A1"],
        count=4,
    )  # fmt: skip
    assert Counter(wells[one.index] for one in found) == {"A2": 2, "A3": 2}
    assert "the first of well" in found[0].why


def test_every_choice_is_the_best_by_the_rule_written_out():
    """A stupid twin: all distances anew at every step."""
    points, known, doubt = cloud(5, 15), cloud(6, 4), np.abs(cloud(7, 15)[:, 0]) + 0.5
    wells = [f"W{n % 4}" for n in range(15)]
    found = rank_next(points, doubt, known=known, wells=wells, count=15)
    everything = np.concatenate([points, known])
    middle = np.median(everything, axis=0)
    spread = 1.4826 * np.median(np.abs(everything - middle), axis=0)
    points, known = (np.clip((p - middle) / spread, -10, 10) for p in (points, known))

    def away(n, others):
        return min(np.sqrt(np.mean((points[n] - other) ** 2)) for other in others)

    usual = np.median([away(n, known) for n in range(15)])
    others, wells_there, left = list(known), [], set(range(15))
    for one in found:
        scores = {
            n: away(n, others) / usual * np.clip(doubt[n] / np.median(doubt), 0.25, 4)
            * 0.5 ** wells_there.count(wells[n])
            for n in left
        }  # fmt: skip
        best = max(scores, key=scores.get)
        assert one.index == best
        assert one.score == pytest.approx(scores[best])
        left.remove(best)
        others.append(points[best])
        wells_there.append(wells[best])


def test_equal_fields_come_in_an_order_that_the_seed_decides():
    def order(seed):
        found = rank_next(np.zeros((9, 2)), np.ones(9), count=9, seed=seed)
        return [one.index for one in found]

    assert order(0) == order(0) != order(1)


@given(
    count=st.integers(1, 12), known=st.integers(0, 4), wanted=st.integers(1, 15),
    wild=st.sampled_from([0.0, 1.0, np.nan, 1e30]), seed=st.integers(0, 9),
)  # fmt: skip
def test_whatever_is_offered_each_field_comes_once_with_a_reason(count, known, wanted, wild, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 5))
    features[:, 1] = wild
    features[0, 2] = wild
    found = rank_next(
        features, rng.random(count) * (seed > 3), content=rng.random(count), count=wanted,
        known=rng.normal(size=(known, 5)) if known else None, seed=seed,
    )  # fmt: skip
    assert len({one.index for one in found}) == len(found) == min(count, wanted)
    assert all(one.why and np.isfinite(one.score) for one in found)
