"""Guesses are counted against chance, and groups are dealt out whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.recognition import (
    compare_recognition,
    deal_folds,
    recognition,
)

TRUE = ["DMSO"] * 12 + ["a"] * 4 + ["b"] * 4
WELLS = [f"w{n // 2}" for n in range(20)]


def test_calling_everything_a_control_is_accurate_and_not_balanced():
    found = recognition(TRUE, ["DMSO"] * 20, WELLS, draws=50)
    assert found.accuracy.value == 0.6
    assert found.balanced.value == pytest.approx(1 / 3)
    assert found.chance_accuracy == pytest.approx(0.6)
    assert found.chance_balanced == pytest.approx(1 / 3)


def test_all_known_is_one_and_far_from_chance():
    found = recognition(TRUE, TRUE, WELLS, draws=50)
    assert (found.accuracy.value, found.balanced.low) == (1, 1)
    assert found.chance_balanced == pytest.approx(1 / 3, abs=0.05)
    assert found.table.counts.tolist() == [[12, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert found.items == 20
    assert found.accuracy.groups == 10


def test_what_is_lost_is_drawn_with_what_it_is_lost_from():
    lost = ["DMSO"] * 12 + ["a"] * 4 + ["DMSO"] * 4
    found = compare_recognition(TRUE, lost, TRUE, WELLS, draws=100)
    assert found.value == pytest.approx(-1 / 3)
    assert found.high <= 0
    same = compare_recognition(TRUE, lost, lost, WELLS, draws=100)
    assert (same.low, same.high) == (0, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 4), st.integers(0, 5), st.integers(0, 3))
def test_a_group_lies_in_one_fold_and_each_class_in_all(folds, seed, more):
    classes = [name for name in "abc" for _ in range(2 * (folds + more))]
    groups = [f"{name}{n // 2}" for n, name in enumerate(classes)]
    found = deal_folds(classes, groups, folds, seed=seed)
    for group in set(groups):
        assert len({f for f, g in zip(found, groups, strict=True) if g == group}) == 1
    for name in "abc":
        own = [f for f, c in zip(found, classes, strict=True) if c == name]
        counts = np.bincount(own, minlength=folds)
        assert counts.min() > 0
        assert counts.max() - counts.min() <= 2


def test_plates_that_hold_all_classes_are_dealt_out_whole():
    classes, plates = ["a", "b"] * 6, [n // 4 for n in range(12)]
    found = deal_folds(classes, plates, 3)
    assert sorted({(p, f) for p, f in zip(plates, found.tolist(), strict=True)}) == sorted(
        dict(zip(plates, found.tolist(), strict=True)).items()
    )
    assert set(found) == {0, 1, 2}


def test_a_class_of_one_group_is_never_taught_while_it_is_asked_and_is_refused():
    with pytest.raises(PixelDataError, match="'b' is never taught.*fewer --folds"):
        deal_folds(["a", "a", "b", "b"], [1, 2, 3, 3], 2)
