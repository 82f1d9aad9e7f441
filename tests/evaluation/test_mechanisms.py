"""Mechanisms are told apart where they differ, by what they differ in, and else by chance."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_virtualstain.errors import MissingExtraError, PixelDataError
from napari_virtualstain.evaluation.mechanisms import (
    classify_sources,
    teachable,
)
from napari_virtualstain.evaluation.reasons import compare_reasons

CLASSES = np.repeat(["a", "b", "c"], 20).tolist()
WELLS = list(range(60))
FEATURES = [f"f{n}" for n in range(30)]


def wells(seed, effect=5.0, planted=(0, 1, 2)):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, 30))
    for number, column in enumerate(planted):
        values[20 * number : 20 * (number + 1), column] += effect
    return values


@pytest.fixture(scope="module")
def perfect():
    pytest.importorskip("sklearn")
    return classify_sources({"truth": wells(0), "prediction": wells(1)}, CLASSES, WELLS, draws=100)


def test_each_source_tells_the_mechanisms_of_each(perfect):
    assert {(s.taught, s.asked) for s in perfect.scores} == {
        (a, b) for a in ("truth", "prediction") for b in ("truth", "prediction")
    }
    assert all(s.f1.value > 0.9 for s in perfect.scores)
    assert all(s.chance == pytest.approx(1 / 3, abs=0.05) for s in perfect.scores)
    assert perfect.differences["prediction"].low < 0.05


def test_shuffled_classes_are_told_apart_by_chance_alone():
    pytest.importorskip("sklearn")
    scores = []
    for seed in range(5):
        mixed = np.random.default_rng(seed).permutation(CLASSES).tolist()
        found = classify_sources({"truth": wells(0)}, mixed, WELLS, draws=50, seed=seed)
        scores.append(found.score("truth", "truth").f1.value)
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.1)


def test_the_score_is_that_of_the_guesses_by_scikit_learn(perfect):
    metrics = pytest.importorskip("sklearn.metrics")
    one = perfect.score("prediction", "truth")
    assert one.f1.value == pytest.approx(metrics.f1_score(CLASSES, one.guess, average="macro"))
    assert one.table.counts.tolist() == metrics.confusion_matrix(CLASSES, one.guess).tolist()


def test_the_planted_features_decide_on_both_sides(perfect):
    found = compare_reasons(perfect, "truth", "prediction", FEATURES, most=3)
    assert set(found.shared) == {"f0", "f1", "f2"}
    assert (found.overlap, found.chance, found.ceiling) == (1, 0.1, 1)


def test_the_same_answer_for_another_reason_is_seen():
    pytest.importorskip("sklearn")
    found = classify_sources(
        {"truth": wells(0), "prediction": wells(1, planted=(10, 11, 12))}, CLASSES, WELLS, draws=50
    )
    assert found.score("prediction", "prediction").f1.value > 0.9
    assert found.score("truth", "prediction").f1.value < 0.6
    assert compare_reasons(found, "truth", "prediction", FEATURES, most=3).overlap == 0


def test_a_group_is_never_taught_and_asked():
    """Classes that only a group's own offset tells are at chance where groups stay together."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    groups = [n // 4 for n in range(60)]
    offsets = np.repeat(8 * rng.normal(size=(15, 30)), 4, axis=0)
    values = wells(2, effect=0) + offsets
    apart, leaking = (
        classify_sources({"t": values}, CLASSES, g, draws=20).score("t", "t").f1.value
        for g in (groups, WELLS)
    )
    assert leaking > 0.95
    assert apart < 0.6


def test_classes_of_few_groups_are_left_out():
    asked, few = teachable([*CLASSES, "d", "d", ""], [*WELLS, 60, 61, 62], 5)
    assert asked.tolist() == [True] * 60 + [False] * 3
    assert few == {"d": 2}


@pytest.mark.parametrize(
    ("classes", "groups", "sentence"),
    [
        (["a"] * 60, WELLS, "Only 1 of 1 classes have 5 groups .* Name more than one"),
        (CLASSES, [n % 2 for n in WELLS], "Only 0 of 3 classes .* Ask with --folds 2"),
        (CLASSES, [0] * 60, "Only 0 of 3 classes .* Compare more wells"),
    ],
    ids=["one class", "two plates", "one group"],
)
def test_what_cannot_be_taught_is_said(classes, groups, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        teachable(classes, groups, 5)


def test_fewer_groups_than_folds_are_refused():
    pytest.importorskip("sklearn")
    with pytest.raises(PixelDataError, match="3 groups of wells do not fall into 5 folds"):
        classify_sources({"t": wells(0)}, CLASSES, [n % 3 for n in WELLS])


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'napari-virtualstain\[phenotype\]'"):
        classify_sources({"t": wells(0)}, CLASSES, WELLS)
