"""Replicates find each other among controls if they are alike, and by chance if they are not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.replicates import (
    average_precision,
    chance_precision,
    find_replicates,
)

NAMES = ["DMSO"] * 12 + [f"t{n // 3}" for n in range(12)]
CONTROLS = [name == "DMSO" for name in NAMES]


def wells(effect, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.concatenate([np.zeros((12, 20)), np.repeat(rng.normal(size=(4, 20)), 3, axis=0)])
    return effect * centres + rng.normal(size=(24, 20))


def test_strong_treatments_are_found_again_and_absent_ones_by_chance():
    assert find_replicates(wells(5), NAMES, CONTROLS).mean.low > 0.95
    absent = [find_replicates(wells(0, seed), NAMES, CONTROLS, draws=2) for seed in range(30)]
    assert np.mean([a.mean.value for a in absent]) == pytest.approx(absent[0].chance[0], abs=0.03)


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_precision_is_the_sum_over_recall_steps(right):
    total, found, area = sum(right), 0, 0.0
    for place, one in enumerate(right, 1):
        found += one
        area += one / total * found / place
    assert average_precision(np.array(right)) == pytest.approx(area)


@pytest.mark.parametrize(("right", "total"), [(1, 5), (2, 5), (4, 6), (1, 1)])
def test_chance_is_the_mean_over_all_orders(right, total):
    orders = set(permutations([True] * right + [False] * (total - right)))
    twin = np.mean([average_precision(np.array(one)) for one in orders])
    assert chance_precision(right, total) == pytest.approx(twin)


def test_a_well_is_ranked_as_by_hand():
    values = wells(1)
    found = find_replicates(values, NAMES, CONTROLS)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    others = [n for n in range(24) if n != 12 and (CONTROLS[n] or NAMES[n] == "t0")]
    order = sorted(others, key=lambda n: -float(unit[12] @ unit[n]))
    twin = average_precision(np.array([NAMES[n] == "t0" for n in order]))
    assert found.wells[0] == 12
    assert found.precision[0] == pytest.approx(twin)


def test_the_same_profile_everywhere_earns_nothing():
    found = find_replicates(np.ones((24, 3)), NAMES, CONTROLS)
    assert found.mean.value < found.chance.mean()


def test_without_replicates_one_sentence_says_so():
    with pytest.raises(PixelDataError, match="Fewer than two treatments have two wells"):
        find_replicates(wells(1), ["DMSO"] * 12 + [str(n) for n in range(12)], CONTROLS)
