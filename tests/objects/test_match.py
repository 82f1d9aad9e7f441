"""What becomes of objects, on fields small enough to be drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.objects.match import KINDS, ObjectMatch, match_objects, paint_kinds

LETTERS = {" ": 0, **{letter: n for n, letter in enumerate("abcdefg", 1)}}


def drawn(*rows):
    return np.array([[LETTERS[letter] for letter in row] for row in rows])


TRUTH = drawn(
    "aaa  bbb ",
    "aaa  bbb ",
    "         ",
    "ccccccc  ",
    "ccccccc  ",
)
CASES = {
    "the same": (TRUTH, {"matched": 3}),
    "the same under other numbers": (np.where(TRUTH, 9 - TRUTH, 0), {"matched": 3}),
    "shifted by a pixel": (np.roll(TRUTH, 1, axis=1), {"matched": 3}),
    "nothing": (np.zeros_like(TRUTH), {"missed": 3}),
    "one left out": (np.where(TRUTH == 2, 0, TRUTH), {"matched": 2, "missed": 1}),
    "one invented": (
        TRUTH + drawn("         ", "         ", "         ", "        d", "        d"),
        {"matched": 3, "invented": 1},
    ),
    "one in two parts": (
        drawn("aaa  bbb ", "aaa  bbb ", "         ", "cccdddd  ", "cccdddd  "),
        {"matched": 2, "split": 1},
    ),
    "two as one": (
        drawn("aaaaaaaa ", "aaaaaaaa ", "         ", "ccccccc  ", "ccccccc  "),
        {"matched": 1, "merged": 1},
    ),
    "one hit badly": (
        drawn("  aa bbb ", "  aa bbb ", "         ", "ccccccc  ", "ccccccc  "),
        {"matched": 2, "missed": 1, "invented": 1},
    ),
    "one that covers everything": (np.ones_like(TRUTH), {"merged": 1}),
}  # fmt: skip


def counts(match):
    return {kind: len(getattr(match, kind)) for kind in KINDS if getattr(match, kind)}


@pytest.mark.parametrize("case", CASES)
def test_each_object_is_counted_for_what_became_of_it(case):
    predicted, wanted = CASES[case]
    match = match_objects(predicted, TRUTH)
    assert counts(match) == wanted
    assert match.n_true == 3
    assert match.n_predicted == len(set(predicted.ravel()) - {0})


def test_merging_and_splitting_are_each_other_seen_from_the_other_side():
    predicted, _ = CASES["two as one"]
    there, back = match_objects(predicted, TRUTH), match_objects(TRUTH, predicted)
    assert there.merged == ((1, (1, 2)),)
    assert back.split == ((1, (1, 2)),)


def test_the_numbers_are_those_of_the_counts():
    predicted, _ = CASES["one left out"]
    match = match_objects(predicted, TRUTH)
    assert (match.precision, match.recall) == (1, pytest.approx(2 / 3))
    assert match.average_precision == pytest.approx(2 / 3)
    assert match.iou == (1, 1)
    assert match.dice == pytest.approx(2 * 20 / (20 + 26))
    assert match.to_json() == {
        "true": 3, "predicted": 2, "matched": 2, "invented": 0, "missed": 1, "merged": 0, "split": 0,
        "precision": 1.0, "recall": match.recall, "average_precision": match.average_precision,
        "iou": 1.0, "dice": match.dice,
    }  # fmt: skip


def test_where_there_is_nothing_no_share_is_said():
    empty = np.zeros((4, 4), int)
    match = match_objects(empty, empty)
    assert match == ObjectMatch() or np.isnan(match.dice)
    assert match.to_json()["precision"] is None
    assert match.to_json()["dice"] is None


def test_centres_pair_what_no_longer_overlaps_the_nearest_first():
    truth = drawn("a  b  ")
    predicted = drawn(" a  b ")
    assert counts(match_objects(predicted, truth)) == {"missed": 2, "invented": 2}
    match = match_objects(predicted, truth, distance_px=2)
    assert match.matched == ((1, 1), (2, 2))
    assert match.iou == (0, 0)
    assert counts(match_objects(predicted, truth, distance_px=0.5)) == {"missed": 2, "invented": 2}


def test_fields_of_two_sizes_are_refused():
    with pytest.raises(PixelDataError, match="Compare objects of the same field"):
        match_objects(TRUTH[1:], TRUTH)


def test_the_picture_of_kinds_shows_each_object_once():
    predicted, _ = CASES["one hit badly"]
    painted = paint_kinds(match_objects(predicted, TRUTH), predicted, TRUTH)
    row = [KINDS[n - 1][:2] if n else "" for n in painted[0]]
    assert row == ["mi", "mi", "in", "in", "", "ma", "ma", "ma", ""]


LABELS = arrays(np.int64, (6, 7), elements=st.integers(0, 4))


@settings(max_examples=150, deadline=None)
@given(predicted=LABELS, truth=LABELS, distance=st.none() | st.floats(0.1, 5))
def test_every_object_becomes_one_thing_whatever_the_pictures(predicted, truth, distance):
    match = match_objects(predicted, truth, distance_px=distance)
    guesses = [a for a, _ in match.matched] + list(match.invented) + [a for a, _ in match.merged]
    guesses += [a for _, parts in match.split for a in parts]
    trues = [b for _, b in match.matched] + list(match.missed) + [b for b, _ in match.split]
    trues += [b for _, parts in match.merged for b in parts]
    assert sorted(guesses) == sorted(set(predicted.ravel()) - {0})
    assert sorted(trues) == sorted(set(truth.ravel()) - {0})
    painted = paint_kinds(match, predicted, truth)
    assert ((painted > 0) == ((predicted > 0) | (truth > 0))).all()


@settings(max_examples=100, deadline=None)
@given(labels=LABELS)
def test_a_picture_matches_itself(labels):
    match = match_objects(labels, labels)
    assert counts(match).keys() <= {"matched"}
    assert all(iou == 1 for iou in match.iou)
