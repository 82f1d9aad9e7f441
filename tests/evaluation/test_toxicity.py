"""Neighbours call toxic what looks like what is toxic."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.toxicity import compare_toxicity, toxic_votes

KINDS = np.array(["control"] * 10 + ["toxic"] * 6 + ["dies"] * 8 + ["lives"] * 12)
DIES, LIVES = KINDS == "dies", KINDS == "lives"


def wells(seed, shift=8.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(KINDS), 6))
    values[np.isin(KINDS, ("toxic", "dies")), :3] += shift
    return values


def votes(values, seed=0):
    return toxic_votes(values, KINDS == "toxic", KINDS == "control", seed=seed)


def test_what_dies_is_called_and_what_teaches_is_not_asked():
    found = votes(wells(0))
    assert (found[DIES] == 1).all()
    assert (found[LIVES] == 0).all()
    assert np.isnan(found[:16]).all()


def test_a_perfect_prediction_agrees_and_a_shuffled_one_by_chance():
    truth, again = votes(wells(0)), votes(wells(1))
    ids = range(len(KINDS))
    same = compare_toxicity(again, truth, ids, draws=100)
    assert (same.sensitivity.value, same.specificity.value) == (1, 1)
    assert (same.truth, same.prediction, same.both, same.asked) == (8, 8, 8, 20)
    shares = []
    for seed in range(40):
        mixed = again.copy()
        mixed[16:] = np.random.default_rng(seed).permutation(again[16:])
        found = compare_toxicity(mixed, truth, ids, draws=2)
        shares.append(found.sensitivity.value)
    assert np.mean(shares) == pytest.approx(found.chance, abs=0.07)


def test_a_prediction_that_sees_no_death_loses_all():
    found = compare_toxicity(votes(wells(1, shift=0.0)), votes(wells(0)), range(len(KINDS)))
    assert found.sensitivity.value < 0.7


def test_votes_are_those_of_neighbours_counted_one_by_one():
    values = wells(3, shift=1.0)
    found = toxic_votes(values, KINDS == "toxic", KINDS == "control", seed=5)
    rng = np.random.default_rng(5)
    calls = np.zeros(20)
    for _ in range(100):
        drawn = [10 + n for n in rng.integers(6, size=6)] + list(rng.integers(10, size=6))
        for row in range(20):
            apart = [(float(np.linalg.norm(values[16 + row] - values[d])), d) for d in drawn]
            calls[row] += sum(d >= 10 for _, d in sorted(apart)[:5]) >= 3
    assert found[16:] == pytest.approx(calls / 100)


@pytest.mark.parametrize(
    ("toxic", "controls", "sentence"),
    [
        (KINDS == "nothing", KINDS == "control", "There are 0 toxic wells, and 3 are needed"),
        (KINDS == "toxic", np.arange(36) < 2, "There are 2 control wells, and 3 are needed"),
    ],
    ids=["no toxic well", "two controls"],
)
def test_too_few_teachers_are_refused(toxic, controls, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        toxic_votes(wells(0), toxic, controls)


def test_where_all_teach_nobody_is_asked():
    with pytest.raises(PixelDataError, match="none is left to be asked"):
        compare_toxicity(np.full(4, np.nan), np.full(4, np.nan), range(4))
