"""Treatments with one target are matched in truth and prediction, beside chance."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from napari_virtualstain.embedding.retrieval import cosine, retrieve
from napari_virtualstain.evaluation.targets import match_targets, target_distance

PAIRS = [f"target{i // 2}" for i in range(20)]


def profiles(noise, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=(10, 30)), 2, axis=0) + noise * rng.normal(size=(20, 30))


def test_what_works_alike_is_found_in_truth_and_lost_in_noise():
    one, five = match_targets(profiles(1e6), profiles(0.1), PAIRS, draws=200)
    assert (one.within, five.within, one.treatments) == (1, 5, 20)
    assert (one.truth, five.truth) == (20, 20)
    assert one.prediction < 10
    assert one.difference.high < -0.3
    assert one.chance == pytest.approx(1 / 19)
    assert five.chance == pytest.approx(5 / 19)
    assert one.distance[0] < 0.1 < 0.6 < one.distance[1]


def test_a_perfect_prediction_loses_nothing():
    one, _ = match_targets(profiles(0.1), profiles(0.1), PAIRS, draws=200)
    assert (one.difference.low, one.difference.high) == (0, 0)


def test_where_no_two_share_a_target_nothing_is_asked():
    assert match_targets(profiles(1), profiles(1), [str(i) for i in range(20)]) == []


def test_chance_is_that_of_drawing_without_replacement():
    classes = ["a"] * 4 + ["b"] * 8
    found = retrieve(np.random.default_rng(0).normal(size=(12, 3)), classes, within=3)
    expected = [1 - comb(11 - same, 3) / comb(11, 3) for same in [3] * 4 + [7] * 8]
    assert found.chance == pytest.approx(np.mean(expected))


def test_one_of_the_nearest_is_enough():
    rng = np.random.default_rng(1)
    values, classes = rng.normal(size=(15, 4)), list("abc" * 5)
    found = retrieve(values, classes, within=2)
    similar = cosine(values) - 9 * np.identity(15)
    for row in range(15):
        near = np.argsort(-similar[row])[:2]
        assert found.hits[row] == any(classes[n] == classes[row] for n in near)


def test_the_cosine_with_others_is_a_part_of_that_among_all():
    values = np.random.default_rng(2).normal(size=(9, 5))
    values[0, 1] = np.nan
    assert cosine(values[:4], values[4:]) == pytest.approx(cosine(values)[:4, 4:])


def test_the_distance_is_that_of_all_pairs_mean_by_target():
    values, targets = np.random.default_rng(3).normal(size=(9, 4)), list("aaaabbbcd")
    apart = 1 - cosine(values)
    by_target = [
        np.mean(
            [apart[i, j] for i in range(9) for j in range(i) if targets[i] == targets[j] == one]
        )
        for one in "ab"
    ]
    found = target_distance(values, targets, draws=50)
    assert found.mean == pytest.approx(np.mean(by_target))
    assert found.targets == 2
    assert found.within.low <= found.mean <= found.within.high
    others = [apart[i, j] for i in range(9) for j in range(i) if targets[i] != targets[j]]
    assert found.chance == pytest.approx(np.mean(others))


def test_what_nobody_could_miss_is_not_asked():
    found = match_targets(profiles(1)[:6], profiles(1)[:6], PAIRS[:6], draws=50)
    assert [one.within for one in found] == [1]
