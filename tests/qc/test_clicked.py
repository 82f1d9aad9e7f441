"""Some clicks on good and bad places find the same failure in another field, and say how surely."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_cells import drawn_cells
from scipy import ndimage

from napari_virtualstain.errors import ImageFileError, MissingInputError, PixelDataError
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.qc.clicked import (
    Artifacts,
    Click,
    Tried,
    artifact_finding,
    probability,
    read_artifacts,
)
from napari_virtualstain.qc.clicked_fit import fit_artifacts
from napari_virtualstain.qc.zoo import ZOO, changed
from napari_virtualstain.qc.zoo_twins import TWINS

CLICKS = 10
STRONG = {"phantom": 0.7, "lost nuclei": 0.4}
"""Shares of the nuclei: one phantom or two would be too few to click on."""
LEAST_AUROC = {
    "checkerboard": 0.95, "blur": 0.95, "phantom": 0.9, "collapsed structure": 0.9,
    "lost nuclei": 0.9,
}  # fmt: skip


def failing(seed, name, zoo, *, right):
    """Return a field with a failure in one half, or at its own places, and where that is."""
    field = drawn_cells(seed, cells=8, time=False)
    damaged = zoo[name].damage(field, STRONG.get(name, "moderate"), seed=seed)
    if damaged.mask is not None:
        return damaged.field, damaged.mask
    half = np.zeros(field.shape, bool)
    half[:, field.shape[1] // 2 :] = True
    half = half if right else ~half
    stains = {n: np.where(half, damaged.field.stains[n], p) for n, p in field.stains.items()}
    return changed(field, stains), half


def clicks_on(field, bad, seed, count=CLICKS, **about):
    """Return so many clicks of either kind on cells, drawn at random."""
    rng = np.random.default_rng(seed)
    cells = field.on_pixels(field.cells)
    found = []
    for label, where in (("bad", bad & cells), ("good", ~bad & cells)):
        at = rng.permutation(np.argwhere(where))[:count]
        found += [Click(y=float(y), x=float(x), label=label, **about) for y, x in at]
    return found


def auroc(values, bad):
    """Return how often a bad pixel has a larger value than a good one."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    n = bad.sum()
    return (ranks[bad].sum() - n * (n - 1) / 2) / (n * (len(values) - n))


@pytest.fixture(scope="module")
def learnt():
    field, bad = failing(1, "checkerboard", ZOO, right=True)
    return fit_artifacts([(field, clicks_on(field, bad, 1))], model="tiny", versions={"a": "1"})


@pytest.mark.parametrize(("name", "least"), LEAST_AUROC.items(), ids=LEAST_AUROC)
def test_twenty_clicks_find_the_failure_in_another_field_written_another_way(name, least):
    found = []
    for seed in (1, 2, 3):
        field, bad = failing(seed, name, ZOO, right=True)
        artifacts = fit_artifacts([(field, clicks_on(field, bad, seed))])
        assert artifacts.tried.learnt
        assert artifacts.tried.accuracy >= 0.75
        other, there = failing(seed + 50, name, TWINS, right=False)
        map_ = probability(other, artifacts)
        inside = other.on_pixels(other.cells) & np.isfinite(map_)
        found.append(auroc(map_[inside], there[inside]))
    assert np.median(found) >= least


def test_clicks_without_a_difference_teach_nothing_and_it_is_said():
    field = drawn_cells(1, cells=8, time=False)
    nothing = np.zeros(field.shape, bool)
    nothing[::2] = True  # every second line, of which no place is any other
    taught = [fit_artifacts([(field, clicks_on(field, nothing, seed))]) for seed in range(4)]
    assert np.mean([one.tried.accuracy for one in taught]) < 0.7
    worst = min(taught, key=lambda one: one.tried.accuracy)
    assert not worst.tried.learnt
    finding = artifact_finding(field, worst)
    assert finding.state == "not assessable"
    assert "nothing was learnt from the clicks" in finding.reason
    assert "a coin does as well" in finding.reason


def test_a_bad_field_is_flagged_with_reason_place_and_advice_and_a_good_one_is_not(learnt):
    other, there = failing(60, "checkerboard", TWINS, right=False)
    finding = artifact_finding(other, learnt)
    assert finding.state in ("amber", "red")
    assert "looks like the 10 places that were clicked as bad" in finding.reason
    assert "by chance 50 %" in finding.reason
    assert finding.advice.startswith("Look at the marked places")
    marked = finding.where
    assert marked.shape == other.shape
    assert there[marked].mean() > 0.9
    good = [artifact_finding(drawn_cells(s, cells=8, time=False), learnt) for s in range(70, 75)]
    assert [one.state for one in good].count("green") >= 4


def test_only_cells_are_looked_at_if_only_cells_were_clicked(learnt):
    assert learnt.on_cells
    other, _ = failing(60, "checkerboard", TWINS, right=False)
    finding = artifact_finding(other, learnt)
    away = ~ndimage.binary_dilation(other.on_pixels(other.cells), iterations=16)
    assert not finding.where[away].any()
    assert np.isnan(probability(other, learnt)[away]).all()
    field, bad = failing(1, "checkerboard", ZOO, right=True)
    beside = np.argwhere(~field.on_pixels(field.cells))[0]
    more = [Click(y=float(beside[0]), x=float(beside[1]), label="good")] * 5
    assert not fit_artifacts([(field, [*clicks_on(field, bad, 1), *more])]).on_cells


def test_a_click_beside_another_does_not_vouch_for_it():
    field = drawn_cells(1, cells=8, time=False)
    rng = np.random.default_rng(0)
    at = rng.uniform(60, 200, (2, 2))
    # All clicks of a kind on one spot: whoever leaves out one click alone is always right.
    clicks = [
        Click(y=float(y + n % 3), x=float(x + n // 3), label=label)
        for (y, x), label in zip(at, ("good", "bad"), strict=True) for n in range(6)
    ]  # fmt: skip
    tried = fit_artifacts([(field, clicks)]).tried
    assert (tried.good_right, tried.bad_right) == (0, 0)


def test_what_was_learnt_is_plain_numbers_that_give_the_same_map(learnt, tmp_path):
    write_kept(tmp_path / "a" / "qc_artifacts.json", learnt)
    plain = json.loads((tmp_path / "a" / "qc_artifacts.json").read_text(encoding="utf-8"))
    assert plain["versions"] == {"a": "1"}
    assert len(plain["clicks"]) == 2 * CLICKS
    assert len(plain["names"]) == len(plain["weights"]) == len(plain["mean"])
    read = read_artifacts(tmp_path / "a" / "qc_artifacts.json")
    assert read == learnt
    field, _ = failing(61, "checkerboard", ZOO, right=True)
    np.testing.assert_array_equal(probability(field, read), probability(field, learnt))


def test_the_map_is_that_of_the_classifier_itself(learnt):
    field, _ = failing(61, "checkerboard", ZOO, right=True)
    from napari_virtualstain.qc.places import place_features, step_of

    step = step_of(field.pixel_um)
    at = np.argwhere(np.isfinite(probability(field, learnt))[::step, ::step])[40]
    features = place_features(field)[:, at[0], at[1]].astype(np.float64)
    logit = learnt.intercept + sum(
        w * (f - m) / s
        for w, f, m, s in zip(learnt.weights, features, learnt.mean, learnt.scale, strict=True)
    )
    found = probability(field, learnt)
    assert found.shape == field.shape
    assert found[tuple(step * at)] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)


@pytest.mark.parametrize(
    ("good", "bad", "missing"),
    [(3, 0, "2 good and 5 bad"), (9, 4, "1 bad"), (0, 12, "5 good")],
    ids=["few of both", "few bad", "one kind"],
)
def test_too_few_clicks_are_counted(good, bad, missing):
    field = drawn_cells(1, cells=8, time=False)
    clicks = [Click(y=9, x=9, label="good")] * good + [Click(y=9, x=9, label="bad")] * bad
    with pytest.raises(
        PixelDataError,
        match=rf"and there are {good} and {bad}: {missing} more are missing\. Click on more",
    ):
        fit_artifacts([(field, clicks)])


def test_other_fields_are_not_judged_by_these_clicks(learnt):
    field = drawn_cells(1, cells=8, time=False)
    fewer = changed(field)
    object.__setattr__(fewer, "stains", {n: field.stains[n] for n in ("DNA", "ER")})
    finding = artifact_finding(fewer, learnt)
    assert finding.state == "not assessable"
    assert "they show DNA, ER, RNA, AGP, Mito, bright field, and this one DNA, ER" in finding.reason
    coarse = changed(field)
    object.__setattr__(coarse, "pixel_um", 1.2)
    assert "pixels are of 0.6 µm and of 1.2 µm" in artifact_finding(coarse, learnt).reason
    with pytest.raises(PixelDataError, match="other fields: pixels are of.*Click on fields like"):
        probability(coarse, learnt)


def test_a_click_outside_is_refused():
    field, bad = failing(1, "checkerboard", ZOO, right=True)
    outside = Click(y=3, x=400, label="good")
    with pytest.raises(PixelDataError, match=r"click at 3,400 lies outside.*Leave it out"):
        fit_artifacts([(field, [*clicks_on(field, bad, 1), outside])])


def test_files_that_hold_something_else_are_refused(tmp_path):
    with pytest.raises(MissingInputError, match="nothing learnt from clicks.*--clicks"):
        read_artifacts(tmp_path / "none.json")
    (tmp_path / "x.json").write_text('{"schema_version": 1}', encoding="utf-8")
    with pytest.raises(ImageFileError, match="holds nothing learnt from clicks, at.*Learn again"):
        read_artifacts(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"schema_version": 9}', encoding="utf-8")
    with pytest.raises(ImageFileError, match="[Uu]pdate"):
        read_artifacts(tmp_path / "x.json")


def test_a_majority_is_not_called_learnt():
    assert Artifacts.model_fields["tried"].annotation is Tried
    field, bad = failing(2, "checkerboard", ZOO, right=True)
    many = clicks_on(field, bad, 2, count=30)
    clicks = [c for c in many if c.label == "good"] + [c for c in many if c.label == "bad"][:5]
    tried = fit_artifacts([(field, clicks)]).tried
    assert (tried.good, tried.bad) == (30, 5)
    assert tried.learnt
