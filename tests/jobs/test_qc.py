"""A plate, folder or image is judged, worst first; a reference is made; bad input is one sentence."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html import escape

import numpy as np
import pytest
from drawn_cells import STAINS, drawn_cells
from judged_stores import stains_of, write_image, write_plate, write_prediction, write_source

from napari_virtualstain.api import qc as qc_here
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    PixelSizeError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.qc_tables import FILES
from napari_virtualstain.qc.guard import NOT_IF_RED
from napari_virtualstain.qc.reference import read_reference
from napari_virtualstain.qc.zoo import ZOO

GOOD = 6
BAD_WELL = 2
"""Which well has phantoms and a shift, of the plate that is judged."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Good predictions with bright field and truth, and a plate on which one well is bad."""
    root = tmp_path_factory.mktemp("qc")
    for seed in range(GOOD):
        field = drawn_cells(seed, time=False)
        write_prediction(root / "good" / f"f{seed}.ome.zarr", field)
        write_source(root / "bright" / f"f{seed}.ome.zarr", field)
        truth = stains_of([field]) + np.random.default_rng(seed).normal(0, 5, (1, 5, 1, 1, 1))
        write_image(root / "true" / f"f{seed}.ome.zarr", truth, [Channel(n) for n in STAINS])
    fields = [drawn_cells(seed, time=False) for seed in range(20, 24)]
    bad = list(fields)
    bad[BAD_WELL] = ZOO["phantom"].damage(fields[BAD_WELL], 0.4, seed=1).field
    bad[BAD_WELL] = ZOO["intensity shift"].damage(bad[BAD_WELL], 0.5).field
    write_plate(root / "plate.ome.zarr", bad, "stains")
    write_plate(root / "plate_bf.ome.zarr", fields, "planes")
    return root


@pytest.fixture(scope="module")
def reference(stores):
    """Made through the command line."""
    path = stores / "reference.json"
    line = [
        "qc", stores / "good", "--source", stores / "bright", "--target", stores / "true",
        "--calibrate", "--reference", path, "--alarms", "0.1", "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    return path


@pytest.fixture(scope="module")
def judged(stores, reference):
    return qc_here(
        stores / "plate.ome.zarr", source=str(stores / "plate_bf.ome.zarr"), maps=True,
        reference=str(reference), out=stores / "report",
    )  # fmt: skip


def rows(out, name):
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_reference_is_made_of_good_predictions_and_their_truth(reference):
    found = read_reference(reference)
    assert (found.fields, found.planes, found.alarms) == (GOOD, 3, 0.1)
    assert set(found.stains) == set(STAINS)
    assert set(found.guard) == set(STAINS)
    assert found.guard["DNA"].amount == "amount"


def test_the_bad_well_comes_first_with_reasons_and_advice(judged):
    assert judged.state == "red"
    worst = judged.fields[0]
    assert (worst.place.well, worst.state) == (f"A0{BAD_WELL + 1}", "red")
    assert {"background"} <= {one.check for one in worst.flagged}
    assert all(one.reason and one.advice for one in worst.flagged)
    assert worst.badness > max(field.badness for field in judged.fields[1:])
    assert sum(judged.counts.values()) == 4


def test_tables_page_and_json_say_the_same(judged):
    out = judged.out
    assert {p.name for p in out.iterdir()} == {*FILES, "maps"}
    fields = rows(out, "fields.csv")
    assert [row["Metadata_Well"] for row in fields] == [f.place.well for f in judged.fields]
    assert fields[0]["state"] == "red"
    wells = rows(out, "wells.csv")
    assert (wells[0]["well"], wells[0]["red"]) == (f"A0{BAD_WELL + 1}", "1")
    checks = rows(out, "checks.csv")
    assert {row["state"] for row in checks} >= {"green", "red", "not assessable"}
    whole = json.loads((out / "qc.json").read_text(encoding="utf-8"))
    assert whole["result"]["fields"][0]["state"] == "red"
    assert whole["result"]["amounts"]["DNA"]["amount"] == "amount"
    page = (out / "qc.html").read_text(encoding="utf-8")
    assert f"4 fields: {judged.counts['red']} red" in page
    assert judged.fields[0].flagged[0].title in page
    assert "cannot be seen without a true stain" in page
    assert page.count("data:image/png;base64,") >= 3
    assert 'src="http' not in page
    assert NOT_IF_RED in page
    assert NOT_IF_RED in judged.text()


def test_maps_hold_a_channel_a_check(judged):
    stores = sorted((judged.out / "maps").iterdir())
    assert stores
    for store in stores:
        image = open_image(store)
        known = {one.check for field in judged.fields for one in field.flagged}
        assert set(image.channel_names) <= known
        pixels = image.data.compute()
        assert set(np.unique(pixels)) <= {0, 1}
        assert image.pixel_size_um.y == 0.6


def test_the_command_line_prints_the_worst_and_what_cannot_be_seen(
    stores, reference, tmp_path, capsys
):
    line = [
        "qc", stores / "plate.ome.zarr", "--source", stores / "plate_bf.ome.zarr", "--reference",
        reference, "--out", tmp_path / "o", "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    said = capsys.readouterr().out
    assert "[red]" in said
    assert "cannot be seen without a true stain" in said
    assert "intensity may be read as amount" in said


def test_without_a_reference_it_says_how_to_make_one(stores, tmp_path):
    notes = []
    found = qc_here(stores / "good" / "f0.ome.zarr", out=tmp_path / "o", on_note=notes.append)
    assert any("--calibrate" in note for note in notes)
    assert any("--source" in note for note in notes)
    untold = [one for one in found.fields[0].findings if one.state == "not assessable"]
    assert len(untold) > 5


def test_one_time_point_and_one_well_are_said(stores, reference, tmp_path):
    found = qc_here(
        stores / "plate.ome.zarr", scene="A/1/*", reference=str(reference), out=tmp_path / "o"
    )
    said = " ".join(found.notes)
    assert "one time point" in said
    assert "one well" in said


def test_a_time_lapse_has_a_row_a_time_point_and_flickers(tmp_path):
    field = drawn_cells(30)
    dimmer = ZOO["bleaching"].damage(field, 0.4).field
    store = write_prediction(tmp_path / "t.ome.zarr", field, field, dimmer)
    found = qc_here(store, out=tmp_path / "o")
    by_time = {f.t: {one.check: one.state for one in f.findings} for f in found.fields}
    assert [by_time[t]["flicker"] for t in range(3)] == ["not assessable", "green", "red"]


def test_separate_fields_are_not_judged_by_the_one_before(tmp_path):
    field = drawn_cells(30)
    dimmer = ZOO["bleaching"].damage(field, 0.4).field
    store = write_prediction(tmp_path / "t.ome.zarr", field, dimmer)
    found = qc_here(store, axes="fyx", out=tmp_path / "o")
    states = [one.state for f in found.fields for one in f.findings if one.check == "flicker"]
    assert states == ["not assessable"] * 2
    assert any("separate fields" in note for note in found.notes)


def test_a_truth_counts_nuclei_without_a_partner(stores, tmp_path):
    lost = ZOO["lost nuclei"].damage(drawn_cells(0, time=False), 0.5, seed=1).field
    store = write_prediction(tmp_path / "f0.ome.zarr", lost)
    found = qc_here(store, target=str(stores / "true" / "f0.ome.zarr"), out=tmp_path / "o")
    (one,) = [one for one in found.fields[0].findings if one.check == "truth"]
    assert (one.state, one.number) == ("red", "missed")
    assert one.value == pytest.approx(0.5, abs=0.1)
    assert found.guard["ER"].fields == 1


def test_record_source_borders_and_passport_of_a_run_are_found(small_fields, tiny_model, tmp_path):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path / "f")
    below, store = tmp_path / "f" / "brightfield.ome.zarr", tmp_path / "o.ome.zarr"
    assert (
        main(
            [
                "stain",
                str(below),
                "--model",
                str(tiny_model),
                "--out",
                str(store),
                "--tile",
                "32",
                "--quiet",
            ]
        )
        == 0
    )
    found = qc_here(store, out=tmp_path / "report")
    said = {one.check: one for one in found.fields[0].findings}
    assert said["seams"].state == "green"  # of 32 px, with their halo
    assert said["dust"].state != "not assessable"
    assert any(name.startswith("passport ") for name in said)
    assert said["passport pixel size"].state == "green"
    alone = qc_here(store, out=tmp_path / "r2", no_passport=True)
    assert not any(one.check.startswith("passport") for one in alone.fields[0].findings)


def test_nan_and_empty_fields_are_judged_beside_the_others(reference, tmp_path):
    holed = drawn_cells(40, time=False)
    holed.stains["DNA"][:50] = np.nan
    folder = tmp_path / "p"
    write_prediction(folder / "a.ome.zarr", holed)
    write_prediction(folder / "b.ome.zarr", drawn_cells(41, cells=0, time=False))
    found = qc_here(folder, reference=str(reference), out=tmp_path / "o")
    states = {f.key[0]: {one.check: one.state for one in f.findings} for f in found.fields}
    assert states["a.ome.zarr"]["missing"] == "red"
    assert states["b.ome.zarr"]["merged"] == "not assessable"


def test_a_field_that_cannot_be_judged_is_left_out_and_said(stores, reference, tmp_path):
    folder = tmp_path / "p"
    write_prediction(folder / "a.ome.zarr", drawn_cells(40, time=False))
    nothing = drawn_cells(41, time=False)
    for picture in nothing.stains.values():
        picture[:] = np.nan
    write_prediction(folder / "b.ome.zarr", nothing)
    found = qc_here(folder, reference=str(reference), out=tmp_path / "o")
    assert [f.key[0] for f in found.fields] == ["a.ome.zarr"]
    assert any("1 image left out" in note and "b.ome.zarr" in note for note in found.notes)


def test_a_cancelled_run_leaves_no_report(stores, tmp_path):
    def stop(done, total, what):
        if done:
            raise RunCancelled("Stopped.")

    with pytest.raises(RunCancelled):
        qc_here(stores / "good", out=tmp_path / "o", on_progress=stop)
    assert not (tmp_path / "o").exists()


BAD = {
    "nowhere to write": (SettingsError, {}, "--out"),
    "no such reference": (MissingInputError, {"out": "OUT", "reference": "none.json"}, "--calibrate"),
    "a reference that is none": (ImageFileError, {"out": "OUT", "reference": "BAD"}, "no reference"),
    "a reference that is there": (OutputExistsError, {"calibrate": True, "reference": "BAD"}, "--overwrite"),
    "too few good fields": (PixelDataError, {"calibrate": True, "reference": "new.json", "scene": "f1*"}, "at least 4"),
    "nobody says where": (SettingsError, {"calibrate": True}, "--reference"),
    "another bright field": (PixelDataError, {"out": "OUT", "source": "SMALL", "scene": "f1*"}, "--source"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "settings", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(kind, settings, words, stores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    small = write_source(tmp_path / "small.ome.zarr", drawn_cells(1, edge=128, cells=2))
    named = {"OUT": str(tmp_path / "o"), "BAD": str(tmp_path / "bad.json"), "SMALL": str(small)}
    chosen = {k: named.get(v, v) if isinstance(v, str) else v for k, v in settings.items()}
    with pytest.raises(kind, match=words):
        qc_here(stores / "good", **chosen)
    assert not (tmp_path / "o" / "qc.html").exists()


def test_a_prediction_without_a_pixel_size_asks_for_it(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "dna.tif", np.zeros((96, 96), np.float32))
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        qc_here(tmp_path / "dna.tif", out=tmp_path / "o")


def test_a_report_that_is_there_is_kept(judged, stores):
    with pytest.raises(OutputExistsError, match="--overwrite"):
        qc_here(stores / "plate.ome.zarr", out=judged.out)


def test_no_map_is_kept_once_it_was_shown(judged):
    assert all(one.where is None for field in judged.fields for one in field.findings)


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """A row of nine wells whose lamp becomes brighter from well to well, judged."""
    root = tmp_path_factory.mktemp("drift")
    fields = [drawn_cells(seed, edge=128, cells=4, time=False) for seed in range(9)]
    lit = [replace(one, planes=one.planes * (1 + 0.05 * n)) for n, one in enumerate(fields)]
    write_plate(root / "plate.ome.zarr", fields, "stains", columns=12)
    write_plate(root / "plate_bf.ome.zarr", lit, "planes", columns=12)
    return qc_here(
        root / "plate.ome.zarr", source=str(root / "plate_bf.ome.zarr"), out=root / "report"
    )


def test_a_lamp_that_drifts_over_the_plate_is_told_in_words_everywhere(drifting):
    words = [one.words for one in drifting.drift.found]
    assert [one.measure for one in drifting.drift.found] == ["exposure"]
    assert words[0].startswith("Exposure of the bright field rises with the column")
    assert words[0] in drifting.text()
    page = (drifting.out / "qc.html").read_text(encoding="utf-8")
    assert "<h2>Drift</h2>" in page
    assert escape(words[0]) in page
    assert "Drift with the row of plate.ome: not assessable, the wells lie in 1 row." in page
    whole = json.loads((drifting.out / "qc.json").read_text(encoding="utf-8"))["result"]
    assert whole["drift"]["found"][0]["words"] == words[0]
    assert whole["drift"]["tests"] == drifting.drift.tests > 5
    assert whole["fields"][0]["measures"]["exposure"] > 7000


def test_too_few_wells_are_said_and_not_compared(judged):
    assert judged.drift.found == ()
    page = (judged.out / "qc.html").read_text(encoding="utf-8")
    assert "Drift over the plate of " in page
    assert "there are 4 wells, and 8 are needed." in page
