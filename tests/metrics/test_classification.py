"""Scores of classifiers are those of counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.classification import confusion

# Of 4 G1 cells 3 are found, of 3 S cells 1, of 2 M cells both.
TRUTH = ["G1", "G1", "G1", "G1", "S", "S", "S", "M", "M"]
TAKEN = ["G1", "G1", "G1", "S", "S", "G1", "M", "M", "M"]


def test_a_small_table_is_what_one_counts_by_hand():
    found = confusion(TRUTH, TAKEN, ["G1", "S", "M"])
    assert found.counts.tolist() == [[3, 1, 0], [1, 1, 1], [0, 0, 2]]
    assert found.accuracy == pytest.approx(6 / 9)
    np.testing.assert_allclose(found.precision, [3 / 4, 1 / 2, 2 / 3])
    np.testing.assert_allclose(found.recall, [3 / 4, 1 / 3, 1])
    np.testing.assert_allclose(found.f1, [3 / 4, 2 / 5, 4 / 5])
    assert found.macro_f1 == pytest.approx((0.75 + 0.4 + 0.8) / 3)


def test_the_table_is_read_from_left_to_right():
    assert confusion(TRUTH, TAKEN, ["G1", "S", "M"]).table().splitlines() == [
        "true  G1  S  M     F1",
        "G1     3  1  0  0.750",
        "S      1  1  1  0.400",
        "M      0  0  2  0.800",
    ]


classes = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


@given(classes)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    found = confusion(*zip(*pairs, strict=True), "abc")
    for k, name in enumerate("abc"):
        right = sum(t == p == name for t, p in pairs)
        true, taken = sum(t == name for t, _ in pairs), sum(p == name for _, p in pairs)
        if right:
            precision, recall = right / taken, right / true
            assert found.f1[k] == pytest.approx(2 * precision * recall / (precision + recall))
        elif true or taken:
            assert found.f1[k] == 0
        else:
            assert np.isnan(found.f1[k])
    assert 0 <= found.macro_f1 <= 1
    assert found.counts.sum() == len(pairs)


@given(classes)
def test_what_is_swapped_swaps_precision_and_recall(pairs):
    found = confusion(*zip(*pairs, strict=True), "abc")
    turned = confusion(*zip(*((p, t) for t, p in pairs), strict=True), "abc")
    np.testing.assert_array_equal(found.precision, turned.recall)
    assert found.macro_f1 == turned.macro_f1


def test_always_the_largest_class_is_right_often_and_has_a_poor_f1():
    found = confusion(["a"] * 95 + ["b"] * 5, ["a"] * 100)
    assert found.accuracy == 0.95
    assert found.macro_f1 < 0.5
    assert np.isnan(found.precision[1])


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        pytest.param(("ab", "a"), "2 true and 1 predicted .* every item", id="not as many"),
        pytest.param(("", ""), "0 true and 0 predicted", id="none"),
        pytest.param(("ab", "ac", "ab"), "'c' is none of the classes a, b.", id="unknown"),
    ],
)
def test_what_cannot_be_compared_is_refused(how, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        confusion(*how)
