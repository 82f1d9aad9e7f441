"""What is lost off the diagonal is that of the same model, with an interval over wells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.embedding.intervals import bootstrap
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.generalisation import COUNTS, Cell, fill_matrix


def cell(pcc, mse, wells=12, seed=0, spread=0.01, counted=True):
    rng = np.random.default_rng(seed)
    groups = tuple(f"w{n // 2}" for n in range(2 * wells))
    true = rng.integers(10, 40, 2 * wells)
    return Cell(
        scores={"pcc": pcc + spread * rng.normal(size=2 * wells),
                "mse": mse + spread * rng.normal(size=2 * wells)},
        counts=np.stack([true + rng.normal(size=2 * wells), true], axis=1) if counted else None,
        groups=groups,
    )  # fmt: skip


def matrix(**more):
    return {
        ("a", "a"): cell(0.9, 1.0, seed=1), ("a", "b"): cell(0.6, 1.5, seed=2),
        ("b", "b"): cell(0.8, 2.0, seed=3), ("b", "a"): cell(0.8, 1.0, seed=4), **more,
    }  # fmt: skip


def entry(entries, train, test, score):
    return next(e for e in entries if (e.train, e.test, e.score) == (train, test, score))


def test_planted_losses_are_found_within_their_intervals():
    entries, losses = fill_matrix(matrix(), draws=200)
    one = entry(entries, "a", "b", "pcc").loss
    assert one.low < 100 * 0.3 / 0.9 < one.high
    assert one.high - one.low < 3
    error = entry(entries, "a", "b", "mse").loss
    assert error.value == pytest.approx(50, abs=2)
    assert entry(entries, "b", "a", "mse").loss.value == pytest.approx(-50, abs=2)
    assert entry(entries, "a", "a", "pcc").loss is None
    by_score = {one.score: one for one in losses}
    assert set(by_score) == {"pcc", "mse", COUNTS}
    assert by_score["pcc"].mean.value == pytest.approx(100 / 6, abs=2)
    assert (by_score["pcc"].worst.train, by_score["pcc"].worst.test) == ("a", "b")
    assert by_score["pcc"].cells == 2


def test_a_loss_is_that_of_means_by_hand():
    cells = matrix()
    entries, _ = fill_matrix(cells, draws=50)
    own, other = (cells["a", b].scores["pcc"].mean() for b in "ab")
    assert entry(entries, "a", "b", "pcc").loss.value == pytest.approx(100 * (own - other) / own)
    counts = cells["a", "b"].counts
    assert entry(entries, "a", "b", COUNTS).value.value == pytest.approx(
        np.corrcoef(counts.T)[0, 1]
    )


def test_a_model_that_does_as_well_elsewhere_loses_nothing():
    same = {(a, b): cell(0.9, 1.0, seed=n) for n, (a, b) in enumerate(["aa", "ab", "bb", "ba"])}
    _, losses = fill_matrix(same, draws=200)
    for one in losses:
        assert one.mean.low < 0.5
        assert one.mean.high > -0.5


def test_gaps_single_images_and_models_that_fail_at_home():
    lonely = Cell(
        scores={"pcc": np.array([0.5]), "mse": np.array([1.0])}, counts=None, groups=("w",)
    )
    cells = matrix() | {("c", "a"): lonely}
    entries, losses = fill_matrix(cells, draws=50)
    alone = entry(entries, "c", "a", "pcc")
    assert alone.loss is None
    assert np.isnan(alone.value.low)
    assert COUNTS not in {one.score for one in losses}
    bad = {("a", "a"): cell(-0.1, 1.0, spread=0), ("a", "b"): cell(0.5, 1.0)}
    assert entry(fill_matrix(bad, draws=50)[0], "a", "b", "pcc").loss is None


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({("a", "a"): cell(0.9, 1.0)}, "No result is of a model on another domain"),
        (
            {("a", "a"): cell(0.9, 1.0, counted=False),
             ("a", "b"): Cell(scores={"ssim": np.ones(2)}, counts=None, groups=("w", "v"))},
            "no score in common",
        ),
    ],
    ids=["one domain", "other scores"],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(cells, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        fill_matrix(cells)


def test_each_stratum_keeps_its_number_of_groups():
    seen = []
    strata = ["a"] * 6 + ["b"] * 3

    def score(drawn):
        seen.append(int((drawn < 6).sum()))
        return 0.0

    bootstrap(score, range(9), strata=strata, draws=50)
    assert set(seen) == {6}
    with pytest.raises(PixelDataError, match="two groups or more"):
        bootstrap(score, [0, 1, 2], strata=["a", "a", "b"], draws=5)
