"""Answers are kept, changed or not known, and say so in words."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.evaluation.agreement import HitAgreement
from napari_virtualstain.evaluation.findings import (
    about_amounts,
    about_counts,
    about_hits,
    about_targets,
    conclusion,
)
from napari_virtualstain.evaluation.hits import Effects
from napari_virtualstain.evaluation.targets import TargetMatch


def interval(value, away=0.01):
    return Interval(value=value, low=value - away, high=value + away, level=0.95, groups=9)


@pytest.mark.parametrize(
    ("value", "away", "state"),
    [
        (1.0, 0.02, "kept"),
        (0.9, 0.02, "changed"),
        (1.1, 0.02, "changed"),
        (1.0, 0.2, "unsure"),
        (0.94, 0.02, "unsure"),
        (float("nan"), 0.0, "unsure"),
    ],
)
def test_counts_are_kept_only_where_the_whole_interval_is_allowed(value, away, state):
    found = about_counts(interval(value, away), 0.9, matched=8, true=10, predicted=9)
    assert found.state == state
    assert "9 nuclei were predicted and 10 are true" in found.sentence
    assert "20 % of the true ones have no match" in found.sentence


def test_brightness_twice_the_true_one_is_named_with_its_channel():
    found = about_amounts("ER", interval(2.0))
    assert (found.question, found.state) == ("amounts of ER", "changed")
    assert "2.00 (1.99 to 2.01) times as much ER" in found.sentence
    assert "calibration" in found.sentence
    assert "calibration" not in about_amounts("ER", interval(1.0)).sentence
    assert "relative" in about_amounts("ER", interval(1.0), relative=True).sentence


NAMES = ("a", "b", "c")


def agreement(*, true=(1, 1, 0), predicted=(1, 0, 1), nearest=(0, 1, 2), swapped=()):
    def effects(hits):
        return Effects(
            treatments=NAMES, profiles=np.zeros((3, 2)), sizes=np.array(hits, float),
            thresholds=np.full(3, 0.5),
        )  # fmt: skip

    return HitAgreement(
        truth=effects(true), prediction=effects(predicted), overlap=interval(1 / 3),
        ranking=interval(0.95), recognised=interval(0.9), cosine=np.ones(3),
        nearest=np.array(nearest), swapped=swapped,
    )  # fmt: skip


def test_lost_and_invented_hits_are_named():
    hits, ranking, treatments = about_hits(agreement())
    assert (hits.state, ranking.state, treatments.state) == ("changed", "kept", "kept")
    assert "Lost: b." in hits.sentence
    assert "Invented: c." in hits.sentence


def test_swapped_treatments_are_named_and_change_the_conclusion():
    *_, treatments = about_hits(agreement(nearest=(1, 0, 2), swapped=(("a", "b"),)))
    assert treatments.state == "changed"
    assert treatments.sentence.startswith("Swapped: a and b.")
    assert "a looks like b" in treatments.sentence


def test_a_plate_without_a_hit_tells_nothing_of_hits():
    (found,) = about_hits(agreement(true=(0, 0, 0), predicted=(0, 0, 0)))
    assert found.state == "unsure"


def test_targets_that_are_lost_are_counted_beside_chance():
    one = TargetMatch(
        within=1, treatments=20, truth=18, prediction=3, chance=0.05, difference=interval(-0.75),
        distance=(0.1, 0.9),
    )  # fmt: skip
    (found,) = about_targets([one])
    assert found.state == "changed"
    assert "18 in truth and 3 in prediction (1.0 by chance)" in found.sentence


def test_one_change_is_enough_and_doubt_is_said():
    kept, changed, unsure = (about_amounts(n, interval(v, a)) for n, v, a in
                             (("A", 1, 0.01), ("B", 2, 0.01), ("C", 1, 0.9)))  # fmt: skip
    assert conclusion([kept])[0] == "kept"
    assert conclusion([kept, unsure]) == ("unsure", conclusion([unsure])[1])
    state, said = conclusion([kept, changed, unsure])
    assert state == "changed"
    assert "amounts of B" in said
    assert "amounts of C" not in said
