"""What follows from fields follows whatever their order, and where much is missing too."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.jobs.verdict_answers import answer
from napari_virtualstain.jobs.verdict_fields import SCORES, ComparedField
from napari_virtualstain.jobs.verdict_labels import labels_of_wells
from napari_virtualstain.objects.match import KINDS

NAMES = ("DMSO",) * 8 + ("one",) * 2 + ("two",) * 2 + ("three",) * 2
LABELS = {("p", f"A{n:02d}"): name for n, name in enumerate(NAMES)}
FEATURES = ("median_nucleus_area", "median_nucleus_solidity", "median_nucleus_excess_DNA")


def features(treatment, rng):
    count = rng.integers(18, 23)
    values = rng.normal((50, 0.9, 1000), (2, 0.01, 50))
    values *= {"one": (1.5, 1, 1), "two": (1, 0.8, 1), "three": (1, 1, 1.6)}.get(
        treatment, (1, 1, 1)
    )
    return {"count": float(count), "covered": count / 100, "missing": 0.0,
            **dict(zip(FEATURES, values, strict=True))}  # fmt: skip


def fields(predict=lambda truth, _rng: dict(truth), sites=2):
    rng = np.random.default_rng(0)
    found = []
    for (plate, well), treatment in LABELS.items():
        for site in range(sites):
            truth = features(treatment, rng)
            prediction = predict(truth, rng)
            true, predicted = int(truth["count"]), int(prediction["count"])
            nuclei = dict.fromkeys(KINDS, 0) | {
                "true": true, "predicted": predicted, "matched": min(true, predicted),
                "missed": max(true - predicted, 0), "invented": max(predicted - true, 0),
            }  # fmt: skip
            found.append(
                ComparedField(
                    key=(plate, well, str(site), "0"), pair=None, nuclei=nuclei,
                    scores={f"{score}_DNA": 0.9 + 0.001 * site for score in SCORES},
                    truth=truth, prediction=prediction,
                )
            )  # fmt: skip
    return found


def ask(these, **settings):
    return answer(
        these, ("DNA",),
        **{"cells": False, "labels": LABELS, "targets": {}, "controls": ("DMSO",), "relative": (),
           "level": 0.95, "draws": 100, "seed": 0, **settings},
    )  # fmt: skip


def states(found):
    return {one.question: one.state for one in found.findings}


def test_the_truth_as_prediction_changes_nothing():
    found = ask(fields())
    assert set(states(found).values()) == {"kept"}
    assert found.correlation == pytest.approx(1)
    assert all(row["call"] == "hit" for row in found.treatments)


def test_the_order_of_fields_changes_no_number():
    def noisy(truth, rng):
        return {name: value * rng.uniform(0.98, 1.02) for name, value in truth.items()}

    one = fields(noisy)
    order = np.random.default_rng(1).permutation(len(one))
    first, second = ask(one), ask([one[n] for n in order])
    assert [f.value for f in first.findings] == pytest.approx([f.value for f in second.findings])
    effects = [
        {row["treatment"]: row["effect_predicted"] for row in a.treatments} for a in (first, second)
    ]
    assert effects[0] == pytest.approx(effects[1])


def test_a_prediction_without_a_nucleus_has_lost_every_hit():
    def blank(truth, _rng):
        return {name: 0.0 if name in ("count", "covered", "missing") else np.nan for name in truth}

    found = ask(fields(blank))
    assert states(found) == {
        "counts": "changed", "amounts of DNA": "unsure", "hits": "changed", "treatments": "changed",
    }  # fmt: skip
    assert found.hits.lost == ("one", "three", "two")
    assert all(row["call"] == "lost" for row in found.treatments)
    assert not any("nan" in one.sentence for one in found.findings)


def test_wells_without_a_label_are_left_out_of_hits_and_not_of_counts():
    labels = {well: name for well, name in LABELS.items() if name != "three"}
    found = ask(fields(), labels=labels)
    assert {row["treatment"] for row in found.treatments} == {"one", "two"}
    assert len(found.wells) == len(LABELS)


def test_without_controls_hits_are_not_asked_and_that_is_said():
    found = ask(fields(), controls=())
    assert set(states(found)) == {"counts", "amounts of DNA"}
    assert found.hits is None
    assert "--controls" in found.notes[0]


def test_the_worst_wells_stand_first():
    def worse(truth, _rng):
        return truth | {
            "count": truth["count"] - (5 if truth["median_nucleus_solidity"] < 0.8 else 0)
        }

    found = ask(fields(worse))
    assert {row["treatment"] for row in found.wells[:2]} == {"two"}


def test_relative_intensity_is_said_beside_the_amounts():
    found = ask(fields(), relative=("DNA",))
    assert any("relative intensity" in one.sentence for one in found.findings)


def test_one_well_is_none_to_conclude_from():
    with pytest.raises(PixelDataError, match="All fields lie in one well, 'p/A00'"):
        ask(fields()[:2])


def test_fields_of_one_well_with_two_labels_are_refused():
    these = fields()[:2]
    with pytest.raises(SettingsError, match="'p/A00' have different treatments, 'a' and 'b'"):
        labels_of_wells(these, ["a", "b"], "treatment")
    assert labels_of_wells(these, ["a", None], "treatment") == {("p", "A00"): "a"}
