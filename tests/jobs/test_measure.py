"""Nuclei and cells are counted and measured, field by field and well by well, whole or not at all."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from napari_virtualstain import simulate
from napari_virtualstain.api import measure as measure_here
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    PixelSizeError,
    RunCancelled,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import measure
from napari_virtualstain.jobs.measure import TABLES, MeasureSettings
from napari_virtualstain.jobs.simulate import write_field

UM = 0.5
PLACES = [(20, 20), (20, 70), (70, 20)]


def picture(places, bright, radius, shape=(100, 100)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    found = np.random.default_rng(0).normal(100, 2, shape)
    for cy, cx in places:
        found[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] += bright
    return found.astype(np.float32)


def store(path, frames, channels, *, pixel_um=UM, interval=None):
    """Write (T, C, Y, X)."""
    pixels = np.asarray(frames, np.float32)[:, :, None]
    size = PixelSize(y=pixel_um, x=pixel_um) if pixel_um else PixelSize()
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=channels, n_tiles=1, pixel_size_um=size,
        time_interval_s=interval,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish({})
    return path


CHANNELS = [Channel("Hoechst"), Channel("AGP"), Channel("BF", "transmitted")]
FRAME = [picture(PLACES, 500, 10), picture(PLACES, 200, 20), picture(PLACES, 0, 1)]


@pytest.fixture
def field(tmp_path):
    return store(tmp_path / "field.ome.zarr", [FRAME], CHANNELS)


def run(source, out, **settings):
    notes = []
    chosen = MeasureSettings(input=str(source), out=str(out), **settings)
    result = measure.run(chosen, on_note=notes.append)
    return result, notes


def rows(out, name):
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_nucleus_and_its_cell_is_a_row(field, tmp_path):
    result, notes = run(field, tmp_path / "o", cells="AGP")
    found = rows(tmp_path / "o", "objects.csv")
    assert (result.fields, result.objects, len(found)) == (1, 3, 3)
    assert any("DNA is taken to be the channel 'Hoechst'" in note for note in notes)
    for row, (y, x) in zip(found, PLACES, strict=True):
        assert (float(row["y"]), float(row["x"])) == pytest.approx((y * UM, x * UM), abs=0.3)
        assert float(row["nucleus_area"]) == pytest.approx(np.pi * 5**2, rel=0.2)
        assert float(row["cell_area"]) == pytest.approx(np.pi * 10**2, rel=0.15)
        assert float(row["nucleus_mean_Hoechst"]) == pytest.approx(600, rel=0.15)
        assert float(row["cell_mean_AGP"]) == pytest.approx(300, rel=0.1)
    assert "cell_mean_BF" not in found[0]
    (whole,) = rows(tmp_path / "o", "fields.csv")
    assert float(whole["count"]) == 3
    assert float(whole["covered"]) == pytest.approx(3 * np.pi * 20**2 / 1e4, rel=0.15)
    areas = sorted(float(row["nucleus_area"]) for row in found)
    assert float(whole["median_nucleus_area"]) == pytest.approx(areas[1])
    assert not (tmp_path / "o" / "wells.csv").exists()
    assert "(objects.csv, fields.csv;" in result.text()
    record = json.loads((tmp_path / "o" / "record.json").read_text(encoding="utf-8"))
    assert (record["nuclei"], record["cells"]) == ("Hoechst", "AGP")


def test_time_points_are_rows_with_their_time(tmp_path):
    frames = [[picture(PLACES[:n], 500, 10), *FRAME[1:]] for n in (1, 3)]
    source = store(tmp_path / "t.ome.zarr", frames, CHANNELS, interval=300.0)
    run(source, tmp_path / "o")
    found = rows(tmp_path / "o", "fields.csv")
    assert [(row["Metadata_Time"], float(row["count"])) for row in found] == [("0", 1), ("300", 3)]


def test_a_plate_has_a_row_a_well(tmp_path):
    from labelled_plates import write_plates

    plates = write_plates(tmp_path / "p")
    result, _ = run(plates / "in", tmp_path / "o", nuclei="DNA", pixel_size=0.6, nucleus=(3, 40))
    fields, wells = (rows(tmp_path / "o", name) for name in TABLES[1:])
    assert result.fields == len(fields)
    by_well = {}
    for row in fields:
        key = (row["Metadata_Plate"], row["Metadata_Well"], row["Metadata_Time"])
        by_well.setdefault(key, []).append(float(row["count"]))
    found = {
        (row["Metadata_Plate"], row["Metadata_Well"], row["Metadata_Time"]): float(row["count"])
        for row in wells
    }
    assert found == {key: pytest.approx(np.mean(counts)) for key, counts in by_well.items()}
    assert len(result.wells) == len(wells) > 1


def test_a_simulated_field_has_the_cells_that_it_was_given(tmp_path):
    settings, seed = simulate.held_out_settings(1)
    made = simulate.simulate_field(settings, seed=seed)
    write_field(made, tmp_path)
    result, _ = run(tmp_path / "stains.ome.zarr", tmp_path / "o", cells="RNA")
    assert result.objects == pytest.approx(len(np.unique(made.nuclei)) - 1, rel=0.12)


def test_what_the_edge_cuts_is_marked_or_left_out(tmp_path):
    frame = [picture([(0, 50), (50, 50)], 500, 12)]
    source = store(tmp_path / "e.ome.zarr", [frame], CHANNELS[:1])
    run(source, tmp_path / "a")
    assert [row["touches_border"] for row in rows(tmp_path / "a", "objects.csv")] == ["1", "0"]
    run(source, tmp_path / "b", whole_only=True)
    assert [row["touches_border"] for row in rows(tmp_path / "b", "objects.csv")] == ["0"]


def test_a_field_without_cells_is_a_row_with_none(tmp_path):
    source = store(tmp_path / "n.ome.zarr", [[picture([], 0, 1)] * 2], CHANNELS[:2])
    result, _ = run(source, tmp_path / "o", cells="AGP")
    (row,) = rows(tmp_path / "o", "fields.csv")
    assert (result.objects, float(row["count"]), float(row["covered"])) == (0, 0, 0)
    assert row["median_nucleus_area"] == ""
    assert rows(tmp_path / "o", "objects.csv") == []


def test_missing_pixels_are_said_and_hold_no_nuclei(tmp_path):
    gone = FRAME[0].copy()
    gone[:50] = np.nan
    source = store(tmp_path / "m.ome.zarr", [[gone]], CHANNELS[:1])
    result, _ = run(source, tmp_path / "o")
    (row,) = rows(tmp_path / "o", "fields.csv")
    assert result.objects == 1
    assert float(row["missing"]) == pytest.approx(0.5)


def test_cells_are_found_where_the_bright_field_varies(tmp_path):
    rng = np.random.default_rng(2)
    light = rng.normal(1000, 1, (100, 100)).astype(np.float32)
    y, x = np.mgrid[:100, :100]
    body = (y - 50) ** 2 + (x - 50) ** 2 <= 25**2
    light[body] += rng.normal(0, 60, body.sum()).astype(np.float32)
    frame = [picture([(50, 50)], 500, 10), FRAME[1], light]
    source = store(tmp_path / "l.ome.zarr", [frame], CHANNELS)
    run(source, tmp_path / "o", cells="BF", reach=30)
    (row,) = rows(tmp_path / "o", "objects.csv")
    assert float(row["cell_area"]) == pytest.approx(np.pi * 12.5**2, rel=0.35)


def test_a_field_that_cannot_be_read_is_left_out_and_said(tmp_path):
    folder = tmp_path / "in"
    store(folder / "a.ome.zarr", [FRAME], CHANNELS)
    store(folder / "b.ome.zarr", [FRAME[1:2]], CHANNELS[1:2])
    result, notes = run(folder, tmp_path / "o")
    assert result.fields == 1
    assert any("1 image left out; the first, b.ome.zarr" in note for note in notes)


def test_a_run_that_ends_early_leaves_no_table(field, tmp_path):
    def stop(done, total, what):
        raise RunCancelled("stop")

    settings = MeasureSettings(input=str(field), out=str(tmp_path / "o"))
    with pytest.raises(RunCancelled):
        measure.run(settings, on_progress=stop)
    assert list((tmp_path / "o").iterdir()) == []


def test_tables_are_replaced_only_when_told(field, tmp_path):
    run(field, tmp_path / "o")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(field, tmp_path / "o")
    run(field, tmp_path / "o", overwrite=True)


def test_it_is_a_function_too(field, tmp_path):
    assert measure_here(field, out=tmp_path / "o", cells="AGP").objects == 3


REFUSED = {
    "an unknown channel": ({"nuclei": "GFP"}, ChannelError, "Choose one of them with --nuclei"),
    "a plane that is not there": ({"z": 3}, VirtualStainError, "Choose another with --z"),
    "another name": ({"scene": "B99"}, SettingsError, "choose others with --scene"),
    "sizes turned round": ({"nucleus": (30, 8)}, SettingsError, "smaller one first"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_one_sentence(field, tmp_path, case):
    settings, error, sentence = REFUSED[case]
    with pytest.raises(error, match=sentence):
        run(field, tmp_path / "o", **settings)
    assert not any((tmp_path / "o").glob("*"))


def test_where_nothing_of_that_size_is_found_the_size_is_said(tmp_path):
    source = store(tmp_path / "n.ome.zarr", [FRAME], CHANNELS)
    result, _ = run(source, tmp_path / "o", nucleus=(60, 90))
    assert result.objects == 0
    (said,) = [note for note in result.notes if "--nucleus" in note]
    assert "no nucleus of 60 to 90 µm was found in 'Hoechst'" in said


def test_without_a_pixel_size_it_is_asked_for(tmp_path):
    source = store(tmp_path / "u.ome.zarr", [FRAME], CHANNELS, pixel_um=None)
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        run(source, tmp_path / "o")
    assert run(source, tmp_path / "o", pixel_size=UM)[0].objects == 3


def test_a_model_of_relative_intensity_gives_no_amounts(tmp_path, field, monkeypatch):
    record = {"record": {"normalisation": {"units": {"DNA": "SD of its field", "ER": "counts"}}}}
    monkeypatch.setattr(measure, "read_record", lambda path: record)
    _, notes = run(field, tmp_path / "o")
    assert any(note.startswith("relative intensity only (DNA)") for note in notes)


# --- what is known of trust ------------------------------------------------------------------------


def report(folder, rows, amounts):
    folder.mkdir()
    fields = [
        {"path": path, "scene": "", "time": t, "state": state, "reason": reason, "verdict": verdict}
        for path, t, state, reason, verdict in rows
    ]  # fmt: skip
    result = {"fields": fields, "amounts": amounts}
    (folder / "qc.json").write_text(json.dumps({"result": result}))
    return folder


def test_every_row_carries_what_qc_and_a_person_said(tmp_path):
    store(tmp_path / "field.ome.zarr", [FRAME, FRAME], CHANNELS, interval=60.0)
    trusted = report(
        tmp_path / "report", [("field.ome.zarr", 1, "red", "Blur: all of it", "rejected")],
        {"Hoechst": {"amount": "amount"}, "AGP": {"amount": "rank"}},
    )  # fmt: skip
    found = measure_here(
        tmp_path / "field.ome.zarr", out=tmp_path / "out", stains=("AGP",), qc=str(trusted)
    )
    objects = rows(tmp_path / "out", "objects.csv")
    amounts = {(row["Metadata_Time"], row["Metadata_Amounts"]) for row in objects}
    assert amounts == {("0", "Hoechst"), ("60", "none")}  # of a red field nothing is an amount
    by_time = {row["Metadata_Time"]: row for row in objects}
    assert [by_time["60"][f"Metadata_QC{n}"] for n in ("", "_Reason", "_Verdict")] == [
        "red", "Blur: all of it", "rejected",
    ]  # fmt: skip
    assert by_time["0"]["Metadata_QC"] == ""
    assert rows(tmp_path / "out", "fields.csv")[1]["Metadata_QC"] == "red"
    assert any("1 field without a verdict" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "There is no report"), ("{}", "is no report"), ("[", "is no report"), ("[1]", "is no")],
)
def test_what_is_no_report_is_said_and_no_table_is_left(tmp_path, field, text, says):
    (tmp_path / "report").mkdir()
    if text is not None:
        (tmp_path / "report" / "qc.json").write_text(text)
    with pytest.raises(VirtualStainError, match=says):
        measure_here(field, out=tmp_path / "out", qc=str(tmp_path / "report"))
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_outlines_have_the_numbers_of_the_table(tmp_path):
    store(tmp_path / "field.ome.zarr", [FRAME, FRAME], CHANNELS)
    found = measure_here(
        tmp_path / "field.ome.zarr", out=tmp_path / "out", cells="AGP", outlines=True
    )
    (image,) = found.images
    assert image["path"] == str(tmp_path / "field.ome.zarr")
    labels = open_image(tmp_path / "out" / image["outlines"])
    assert labels.channel_names == ("nuclei", "cells")
    assert labels.pixel_size_um.yx == UM
    pixels = labels.data.compute()
    objects = rows(tmp_path / "out", "objects.csv")
    for row in objects:
        y, x = (round(float(row[axis]) / UM) for axis in "yx")
        t = int(row["Metadata_Time"])
        assert pixels[t, 0, 0, y, x] == pixels[t, 1, 0, y, x] == int(row["object"])
    areas = [(pixels[0, 1] == n).sum() * UM**2 for n in range(1, 4)]
    assert areas == [float(row["cell_area"]) for row in objects[:3]]


def test_outlines_are_written_only_if_asked_for(field, tmp_path):
    found = measure_here(field, out=tmp_path / "out")
    assert [image["outlines"] for image in found.images] == [""]
    assert not (tmp_path / "out" / "outlines").exists()
