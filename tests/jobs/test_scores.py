"""A table of scores: a row a plane, with floors and ceilings, and models ranked."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from drawn_plates import STAINS, camera, drawn_plate, write_labels, write_plate
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.api import evaluate as evaluate_here
from napari_virtualstain.api import scores as scores_here
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingExtraError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import compare_maps, scores_write
from napari_virtualstain.jobs.scores_rows import (
    BETTER,
    COLUMNS,
    KEYS,
    LIMITS,
    distance,
    ranked,
    worst_first,
)
from napari_virtualstain.jobs.scores_within import regions_text
from napari_virtualstain.metrics.pixel import mae, mse, pearson
from napari_virtualstain.metrics.structure import ssim

WELLS = 4


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """True stains, two measurements of them, a good and a dull model; one bad well."""
    root = tmp_path_factory.mktemp("scored")
    fields = drawn_plate()[:WELLS]
    shots = [camera(seed) for seed in range(4)]
    write_plate(root / "truth.ome.zarr", fields, lambda f: shots[0](f.light()))
    write_plate(root / "again.ome.zarr", fields, lambda f: shots[1](f.light()))
    bad = fields[2].well

    def good(field):
        light = field.light()
        return shots[2](light[:, ::-1] if field.well == bad else light)

    write_plate(root / "good.ome.zarr", fields, good)
    write_plate(root / "dull.ome.zarr", fields, lambda f: shots[3](100 + (f.light() - 100) / 2))
    write_labels(root / "labels.csv", fields)
    return root, fields, bad


@pytest.fixture(scope="module")
def table(plate):
    root = plate[0]
    return scores_here(
        root / "good.ome.zarr", target=root / "truth.ome.zarr", also=(str(root / "dull.ome.zarr"),),
        replicate=str(root / "again.ome.zarr"), labels=str(root / "labels.csv"),
    )  # fmt: skip


def of(table, model, stain, well):
    found = [
        row for row in table.rows
        if (row["model"], row["stain"], row["well"]) == (model, stain, well)
    ]  # fmt: skip
    assert len(found) == 1
    return found[0]


def pixels(plate, name, field, stain):
    scene = f"{field.well[0]}/{int(field.well[1:])}/1"
    image = open_image(plate[0] / f"{name}.ome.zarr", scene=scene)
    return np.asarray(image.data[0, STAINS.index(stain), 0]).astype(np.float64)


def test_each_field_stain_and_model_has_a_row_with_the_numbers_of_its_pixels(plate, table):
    assert len(table.rows) == 2 * len(STAINS) * WELLS
    assert {tuple(row) for row in table.rows} == {(*KEYS, *COLUMNS)}
    for field in plate[1]:
        for model in ("good", "dull"):
            for stain in STAINS:
                row = of(table, model, stain, field.well)
                p, t = (pixels(plate, name, field, stain) for name in (model, "truth"))
                assert row["pcc"] == pytest.approx(pearson(p, t))
                assert row["ssim"] == pytest.approx(ssim(p, t), abs=1e-6)
                assert row["mae"] == pytest.approx(mae(p, t))
                assert row["mse"] == pytest.approx(mse(p, t))
                assert row["treatment"] == field.treatment
                assert row["pixels"] == t.size


def test_floors_are_those_of_a_constant_picture_and_ceilings_those_of_a_second_measurement(
    plate, table
):
    field = plate[1][0]
    row = of(table, "good", "DNA", field.well)
    t, again = (pixels(plate, name, field, "DNA") for name in ("truth", "again"))
    flat = np.full_like(t, t.mean())
    assert row["constant_mae"] == pytest.approx(mae(flat, t), rel=1e-5)
    assert row["constant_mse"] == pytest.approx(mse(flat, t), rel=1e-5)
    assert row["constant_ssim"] == pytest.approx(ssim(flat, t), abs=1e-5)
    assert row["constant_psnr"] == pytest.approx(
        10 * math.log10(np.ptp(t) ** 2 / t.var()), rel=1e-5
    )
    assert row["ceiling_pcc"] == pytest.approx(pearson(again, t))
    assert row["ceiling_ssim"] == pytest.approx(ssim(again, t), abs=1e-6)
    assert {name for limits in LIMITS.values() for name in limits if name} <= set(COLUMNS)


def test_the_floor_is_that_of_evaluate(tmp_path_factory, field_folder, tiny_model):
    from napari_virtualstain.api import stain
    from napari_virtualstain.generators.package import read_card

    out = tmp_path_factory.mktemp("stained") / "tiny.ome.zarr"
    stain(field_folder / "brightfield.ome.zarr", model=tiny_model, out=out)
    truth = field_folder / "stains.ome.zarr"
    found = scores_here(out, target=truth)
    single = evaluate_here(out, target=truth)
    assert [row["floor_pcc"] for row in found.rows] == [s.floor_pcc for s in single.scores]
    assert [row["pcc"] for row in found.rows] == [s.pcc for s in single.scores]
    bright = scores_here(out, target=truth, foreground=True)
    assert [row["pcc"] for row in bright.rows] == pytest.approx(
        [s.foreground_pcc for s in single.scores]
    )
    assert all(row["floor_pcc"] is not None for row in found.rows)
    assert {row["model"] for row in found.rows} == {read_card(tiny_model).name}


def test_the_worst_field_stands_first_whatever_is_asked(plate, table):
    rows = [row for row in table.rows if row["model"] == "good" and row["stain"] == "DNA"]
    for number in ("pcc", "ssim", "mae", "psnr"):
        assert worst_first(rows, number)[0]["well"] == plate[2]


def test_models_are_ranked_number_by_number(table):
    places = {(one.model, one.stain): one for one in table.models}
    dull, good = places["dull", "DNA"], places["good", "DNA"]
    assert dull.rows == good.rows == WELLS
    # The dull one is right in every well, and half as bright.
    assert (good.places["gain"], dull.places["gain"]) == (1, 2)
    assert (good.places["pcc"], dull.places["pcc"]) == (2, 1)
    assert dull.means["gain"] == pytest.approx(0.5, abs=0.03)


def test_only_planes_that_all_models_have_are_averaged():
    row = {**dict.fromkeys(KEYS, ""), **dict.fromkeys(COLUMNS, float("nan")), "stain": "DNA"}
    rows = [
        {**row, "model": "a", "target_path": "1", "pcc": 0.9},
        {**row, "model": "a", "target_path": "2", "pcc": 0.1},
        {**row, "model": "b", "target_path": "1", "pcc": 0.8},
    ]
    found = {one.model: one for one in ranked(rows)}
    assert found["a"].means["pcc"] == 0.9
    assert (found["a"].places["pcc"], found["b"].places["pcc"]) == (1, 2)
    assert "mae" not in found["a"].places


@given(st.sampled_from(sorted(BETTER)), st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_the_order_is_that_of_the_distance_and_nothing_is_lost(number, values):
    rows = [{number: value} for value in [*values, None]]
    ordered = [row[number] for row in worst_first(rows, number)]
    assert ordered[-1] is None
    far = [distance(number, value) for value in ordered[:-1]]
    assert far == sorted(far, reverse=True)
    assert sorted(ordered[:-1]) == sorted(values)


def test_two_versions_of_a_model_have_names_of_their_own(plate, tmp_path):
    root, fields = plate[0], plate[1][:1]
    for folder in ("first", "second"):
        write_plate(
            tmp_path / f"{folder}-out.ome.zarr", fields, lambda f: f.light(),
            record={"job": "stain", "model": {"name": "demo", "path": f"/models/{folder}"}},
        )  # fmt: skip
    found = scores_here(
        tmp_path / "first-out.ome.zarr", also=(str(tmp_path / "second-out.ome.zarr"),),
        target=root / "truth.ome.zarr",
    )  # fmt: skip
    assert {row["model"] for row in found.rows} == {"first", "second"}


def test_what_lies_outside_the_regions_counts_for_nothing(plate, tmp_path):
    root, field = plate[0], plate[1][0]
    scene = f"{field.well[0]}/{int(field.well[1:])}/1"
    file = tmp_path / "regions.json"
    file.write_text(regions_text([[(10, 20), (10, 70), (60, 70), (60, 20)]]), encoding="utf-8")
    found = scores_here(
        root / "good.ome.zarr", target=root / "truth.ome.zarr", scene=scene, regions=str(file)
    )
    row = next(one for one in found.rows if one["stain"] == "DNA")
    p, t = (pixels(plate, name, field, "DNA")[10:61, 20:71] for name in ("good", "truth"))
    assert row["within"] == "regions"
    assert abs(row["pixels"] - t.size) < 110  # whether the corners' own rows count
    assert row["mae"] == pytest.approx(mae(p, t), rel=0.03)
    assert row["pcc"] == pytest.approx(pearson(p, t), abs=0.01)


def test_foreground_leaves_the_dark_out(plate):
    root, field = plate[0], plate[1][0]
    scene = f"{field.well[0]}/{int(field.well[1:])}/1"
    found = scores_here(
        root / "dull.ome.zarr", target=root / "truth.ome.zarr", scene=scene, foreground=True
    )
    row = next(one for one in found.rows if one["stain"] == "DNA")
    whole = pixels(plate, "truth", field, "DNA")
    assert row["within"] == "foreground"
    assert 0.02 * whole.size < row["pixels"] < 0.6 * whole.size
    assert row["mae"] > 100  # half as bright, where there is light


def test_maps_are_the_ssim_and_the_error_of_each_pixel(plate, tmp_path):
    root, field, out = plate[0], plate[1][0], tmp_path / "maps.ome.zarr"
    scene = f"{field.well[0]}/{int(field.well[1:])}/1"
    found = scores_here(
        root / "good.ome.zarr", target=root / "truth.ome.zarr", scene=scene, maps=str(out)
    )
    maps = open_image(out)
    assert maps.channel_names == (
        "SSIM of DNA", "absolute error of DNA", "SSIM of ER", "absolute error of ER",
    )  # fmt: skip
    assert maps.pixel_size_um.y == 1.0
    pictures = np.asarray(maps.data[0, :, 0])
    for index, stain in enumerate(STAINS):
        p, t = (pixels(plate, name, field, stain) for name in ("good", "truth"))
        row = next(one for one in found.rows if one["stain"] == stain)
        assert pictures[2 * index].mean() == pytest.approx(row["ssim"], abs=1e-5)
        assert np.allclose(pictures[2 * index + 1], np.abs(p - t), rtol=1e-5)


def test_maps_of_strips_are_those_of_the_whole_plane(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    truth = rng.normal(100, 20, (1, 1, 1, 1100, 40)).astype(np.float32)
    predicted = truth + rng.normal(0, 9, truth.shape).astype(np.float32)
    predicted[..., 600, 10] = np.nan
    images = [
        replace(open_image(one, axes="tczyx"), channels=(Channel("DNA"),))
        for one in (predicted, truth)
    ]
    for name, strip in (("whole", 1 << 22), ("strips", 512 * 40)):
        monkeypatch.setattr(compare_maps, "_STRIP", strip)
        compare_maps.write_maps(*images, [("DNA", "DNA")], tmp_path / f"{name}.ome.zarr")
    whole, strips = (
        np.asarray(open_image(tmp_path / f"{name}.ome.zarr").data) for name in ("whole", "strips")
    )
    assert np.isnan(whole[0, :, 0, 600, 10]).all()
    assert np.allclose(whole, strips, equal_nan=True, atol=1e-5)


def test_one_field_of_a_plate_is_compared_by_evaluate(plate):
    root, field = plate[0], plate[1][1]
    scene = f"{field.well[0]}/{int(field.well[1:])}/1"
    found = evaluate_here(
        root / "good.ome.zarr", target=root / "truth.ome.zarr", scene=scene, prediction_scene=scene
    )
    p, t = (pixels(plate, name, field, "DNA") for name in ("good", "truth"))
    assert found.scores[0].pcc == pytest.approx(pearson(p, t))


FILES = ("csv", "json", "parquet")


@pytest.mark.parametrize("kind", FILES)
def test_the_table_is_written_whole(plate, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    root, out = plate[0], tmp_path / "new" / f"table.{kind}"
    found = scores_here(root / "good.ome.zarr", target=root / "truth.ome.zarr", out=str(out))
    if kind == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["pcc"]) for row in rows] == pytest.approx(
            [row["pcc"] for row in found.rows], rel=1e-6
        )
        assert {row["ceiling_pcc"] for row in rows} == {""}
    elif kind == "json":
        said = json.loads(out.read_text(encoding="utf-8"))
        assert said["job"] == "scores"
        rows = said["result"]["rows"]
        assert rows == found.to_json()["rows"]
    else:
        import pyarrow.parquet

        read = pyarrow.parquet.read_table(out)
        rows = read.to_pylist()
        assert rows == found.to_json()["rows"]
        assert json.loads(read.schema.metadata[b"napari_virtualstain"])["job"] == "scores"
    assert [row["well"] for row in rows] == [row["well"] for row in found.rows]
    assert list(out.parent.iterdir()) == [out]


def test_parquet_without_its_extra_is_one_sentence(plate, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"napari-virtualstain\[parquet\]'\.$"):
        scores_write.check_table(tmp_path / "table.parquet", overwrite=False)


BAD = {
    "maps of several fields": (
        {"maps": "maps.ome.zarr"}, SettingsError,
        (r"Maps are written of one field and one model. Choose it with --scene, and leave out "
         r"--also."),
    ),
    "an ending that says nothing": (
        {"out": "table.xlsx"}, SettingsError,
        (r"'table.xlsx' ends in none of .csv, .json, .parquet, which say how a table is written. "
         r"Choose another --out."),
    ),
    "a table that is there": (
        {"out": "there.csv"}, OutputExistsError,
        r"'.*there.csv' exists. Choose another --out, or replace it with --overwrite.",
    ),
    "no file of regions": (
        {"regions": "nothing.json"}, MissingInputError,
        r"'.*nothing.json' does not exist. Name the file of regions with --regions.",
    ),
    "another file than one of regions": (
        {"regions": "other.json"}, ImageFileError, r"'.*other.json' is no file of regions: .*",
    ),
    "a region of two corners": (
        {"regions": "two.json"}, ImageFileError,
        (r"'.*two.json' has no region, or one of fewer than three corners. Give three or more of "
         r"each."),
    ),
    "a region beside the image": (
        {"regions": "beside.json"}, PixelDataError,
        r"No field could be compared. .*|No region lies in an image of 160 x 160 px. .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_questions_are_one_sentence(plate, tmp_path, settings, kind, sentence):
    (tmp_path / "there.csv").write_text("mine", encoding="utf-8")
    (tmp_path / "other.json").write_text("[]", encoding="utf-8")
    (tmp_path / "two.json").write_text(regions_text([[(1, 1), (2, 2)]]), encoding="utf-8")
    far = [[(900, 900), (900, 950), (950, 950)]]
    (tmp_path / "beside.json").write_text(regions_text(far), encoding="utf-8")
    asked = {name: str(tmp_path / value) for name, value in settings.items()}
    root = plate[0]
    with pytest.raises(kind, match=f"^(?:{sentence})$"):
        scores_here(root / "good.ome.zarr", target=root / "truth.ome.zarr", **asked)
    assert (tmp_path / "there.csv").read_text(encoding="utf-8") == "mine"


def test_a_run_that_is_ended_leaves_nothing(plate, tmp_path):
    root, out = plate[0], tmp_path / "table.csv"

    def stop(done, total, what):
        if done == 2:
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        scores_here(
            root / "good.ome.zarr", target=root / "truth.ome.zarr", out=str(out), on_progress=stop
        )
    assert list(tmp_path.iterdir()) == []


def test_the_truth_as_its_own_replicate_is_said_to_be_no_ceiling(plate):
    root = plate[0]
    truth = str(root / "truth.ome.zarr")
    found = scores_here(root / "good.ome.zarr", target=truth, replicate=truth)
    assert (
        "DNA: the replicate is the truth itself, which is no ceiling; give another measurement with "
        "--replicate"
    ) in found.notes


def test_the_command_line_says_the_models_and_the_worst(plate, capsys):
    root = plate[0]
    words = [
        "scores", root / "good.ome.zarr", "--also", root / "dull.ome.zarr",
        "--target", root / "truth.ome.zarr", "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr().out
    assert said.index("dull") < said.index("good")  # by PCC
    assert f" of good.ome.zarr/{plate[2][0]}/{int(plate[2][1:])}/1 (" in said.split("lowest PCC")[1]
