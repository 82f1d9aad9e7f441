"""A network knows what it can know: treatments in true stains, and in predictions that have them."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
from drawn_plates import EDGE, camera, drawn_plate, write_labels, write_plate

from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.jobs import recognise, recognise_network
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.recognise import RecogniseSettings
from napari_virtualstain.jobs.recognise_page import FILES

QUICK = {
    "preset": "tiny", "steps": 30, "batch": 8, "patch": 64, "folds": 2, "device": "cpu",
    "draws": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """Eight wells, half of them with four times as much ER; truth, layout and predictions."""
    root = tmp_path_factory.mktemp("plate")
    fields = drawn_plate(controls=4, replicates=4, doing={"DMSO": {}, "bright": {"er": 4.0}})
    made = {
        "truth": lambda f: f.light(),
        "perfect": lambda f: f.light(),
        # Of every treatment the same: what a model draws that has not seen it.
        "blind": lambda f: replace(
            f, bright=np.broadcast_to([600.0, 300.0], f.bright.shape)
        ).light(),
    }
    for seed, (name, light) in enumerate(made.items(), 1):
        shot = camera(seed)
        write_plate(root / f"{name}.ome.zarr", fields, lambda f, light=light, s=shot: s(light(f)))
    shot = camera(9)
    write_plate(
        root / "brightfield.ome.zarr", fields, lambda f: shot(np.full((1, EDGE, EDGE), 500.0)),
        names=("brightfield",),
    )  # fmt: skip
    return root, fields, write_labels(root / "labels.csv", fields)


def settings(plate, name, out, **more):
    root, _, labels = plate
    return make_settings(
        RecogniseSettings,
        {
            "prediction": str(root / f"{name}.ome.zarr"), "labels": str(labels),
            "target": str(root / "truth.ome.zarr"), "out": str(out), **QUICK, **more,
        },
    )  # fmt: skip


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def perfect(plate, tmp_path_factory):
    """What the command line says of a prediction that differs by the camera's noise alone."""
    root, _, labels = plate
    out = tmp_path_factory.mktemp("perfect") / "out"
    words = [
        "recognise", root / "perfect.ome.zarr", "--target", root / "truth.ome.zarr", "--labels",
        labels, "--brightfield", root / "brightfield.ome.zarr", "--out", out, "--json", "--quiet",
    ]  # fmt: skip
    words += [w for name, value in QUICK.items() for w in (f"--{name}", value)]
    with redirect_stdout(io.StringIO()) as said:
        assert main([str(word) for word in words]) == 0
    return json.loads(said.getvalue()), out


def value(found, source, question="balanced accuracy"):
    return next(
        row["value"] for row in found["scores"]
        if (row["source"], row["question"]) == (source, question)
    )  # fmt: skip


def test_what_the_truth_shows_is_known_again_in_a_perfect_prediction(perfect):
    found, _ = perfect
    assert value(found, "truth") == 1
    assert value(found, "prediction") == 1
    assert found["state"] == "kept"
    assert found["wells"] == 8


def test_an_empty_bright_field_is_known_no_better_than_by_chance(perfect):
    found, _ = perfect
    assert value(found, "bright field") < 0.8
    assert {row["taught"] for row in found["scores"] if row["source"] == "bright field"} == {
        "bright field"
    }


def test_page_and_tables_say_what_each_field_is_taken_for(plate, perfect):
    found, out = perfect
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    fields = rows(out / "fields.csv")
    assert {row["well"]: row["treatment"] for row in fields} == {
        field.well: field.treatment for field in plate[1]
    }
    assert all(row["truth_taken_for"] == row["treatment"] for row in fields)
    assert all(float(row["prediction_probability"]) > 0.5 for row in fields)
    assert {row["fold"] for row in fields} == {"0", "1"}
    whole = json.loads((out / "recognise.json").read_text(encoding="utf-8"))
    assert whole["settings"]["steps"] == 30
    assert "torch" in whole["versions"]
    assert whole["channels"]["truth"] == ["DNA", "ER"]
    page = (out / "recognise.html").read_text(encoding="utf-8")
    assert found["sentence"] in page
    assert page.count("<svg") == 4


def test_a_treatment_that_the_prediction_does_not_show_is_lost(plate, tmp_path):
    result = recognise.run(settings(plate, "blind", tmp_path / "o"))
    assert result.known["truth"].balanced.value == 1
    assert result.known["prediction"].balanced.value == 0.5
    assert result.finding.state == "changed"
    assert "bright field" not in result.known
    assert result.finding.sentence in result.text()


def test_labels_that_mean_nothing_leave_nothing_that_could_be_lost(plate, tmp_path):
    _, fields, _ = plate
    turns = {"DMSO": 0, "bright": 0}
    lines = ["well,treatment"]
    for field in fields:
        lines.append(f"{field.well},{'xy'[turns[field.treatment] % 2]}")
        turns[field.treatment] += 1
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    asked = settings(plate, "perfect", tmp_path / "o", labels=str(tmp_path / "labels.csv"))
    result = recognise.run(asked)
    assert result.finding.state == "unsure"
    assert "nothing that could be lost" in result.finding.sentence


@pytest.mark.parametrize("group", ["well", "plate"])
def test_no_network_is_asked_of_what_taught_it(tmp_path, monkeypatch, group):
    for plate in "pq":
        fields = drawn_plate(controls=2, replicates=2, doing={"DMSO": {}, "bright": {"er": 4.0}})
        write_plate(tmp_path / "true" / f"{plate}.ome.zarr", fields, lambda f: f.light())
        write_plate(tmp_path / "made" / f"{plate}.ome.zarr", fields, lambda f: f.light())
    labels = write_labels(tmp_path / "labels.csv", fields)
    taught = []
    real = recognise_network.train_on_pictures

    def noted(data, *args, **kwargs):
        taught.append({picture.group for picture in data.pictures})
        return real(data, *args, **kwargs)

    monkeypatch.setattr(recognise_network, "train_on_pictures", noted)
    asked = make_settings(RecogniseSettings, {
        **QUICK, "steps": 1, "group": group, "prediction": str(tmp_path / "made"),
        "target": str(tmp_path / "true"), "labels": str(labels), "out": str(tmp_path / "o"),
    })  # fmt: skip
    result = recognise.run(asked)
    assert len(result.fields) == 8
    assert len(taught) == 2
    for row in result.fields:
        place = f"{row['plate']}/{row['well']}"
        assert place not in taught[row["fold"]]
        if group == "plate":
            assert not any(one.startswith(f"{row['plate']}/") for one in taught[row["fold"]])


def test_a_run_that_is_cancelled_leaves_nothing(plate, tmp_path):
    def stop(done, total, what):
        if done > 3:
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        recognise.run(settings(plate, "perfect", tmp_path / "o"), on_progress=stop)
    assert not (tmp_path / "o").exists()


BAD = {
    "a size that there is not": ({"preset": "resnet18"}, UnknownNameError, "with --preset"),
    "crops larger than fields": ({"patch": 400}, SettingsError, "--patch"),
    "more parts than wells": ({"folds": 5}, PixelDataError, "--folds 4"),
    "a column that there is not": ({"label": "dose"}, UnknownNameError, "treatment"),
    "plates of which there is one": ({"group": "plate"}, PixelDataError, "--group"),
    "no such plate": ({"prediction": "nowhere"}, MissingInputError, "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_learnt_is_one_sentence_and_no_file(plate, tmp_path, case):
    changed, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence):
        recognise.run(settings(plate, "perfect", tmp_path / "o", **changed))
    assert not (tmp_path / "o").exists()


def test_a_page_that_is_there_is_not_replaced_unasked(plate, perfect, tmp_path):
    with pytest.raises(OutputExistsError):
        recognise.run(settings(plate, "perfect", perfect[1]))


def test_fields_with_missing_pixels_are_left_out_and_said(plate, tmp_path):
    _, fields, _ = plate
    path = tmp_path / "gaps.ome.zarr"
    shot, first = camera(4), fields[0].well

    def gappy(field):
        pixels = shot(field.light())
        if field.well == first:
            pixels[0, :4] = np.nan
        return pixels

    write_plate(path, fields, gappy)
    more = {"steps": 2, "folds": 2}
    result = recognise.run(settings(plate, "perfect", tmp_path / "o", prediction=str(path), **more))
    assert len(result.fields) == len(fields) - 1
    assert any("1 field with missing pixels left out" in note for note in result.notes)
