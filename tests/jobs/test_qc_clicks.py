"""Clicks on predicted fields teach a check, which lies beside the data and judges further fields."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_cells import drawn_cells
from judged_stores import write_plate, write_prediction, write_source

from napari_virtualstain.api import qc
from napari_virtualstain.cli import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.qc_clicks import MAP, read_clicks, write_clicks
from napari_virtualstain.qc.clicked import Click, probability, read_artifacts
from napari_virtualstain.qc.zoo import ZOO, changed
from napari_virtualstain.qc.zoo_twins import TWINS


def half_bad(seed, zoo):
    """Return a field with a pattern in its right half."""
    field = drawn_cells(seed, cells=8, time=False)
    damaged = zoo["checkerboard"].damage(field, "moderate", seed=seed).field
    left = np.arange(field.shape[1])[None] < field.shape[1] // 2
    return changed(
        field, {n: np.where(left, p, damaged.stains[n]) for n, p in field.stains.items()}
    )


def clicks_of(field, seed=0, count=10, **about):
    rng = np.random.default_rng(seed)
    cells, right = field.on_pixels(field.cells), np.arange(field.shape[1])[None] >= 128
    return [
        Click(y=float(y), x=float(x), label=label, **about)
        for label, where in (("bad", cells & right), ("good", cells & ~right))
        for y, x in rng.permutation(np.argwhere(where))[:count]
    ]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A field that was clicked on, and a plate of which one well has the same failure."""
    root = tmp_path_factory.mktemp("clicks")
    field = half_bad(1, ZOO)
    write_prediction(root / "one.ome.zarr", field)
    write_source(root / "light.ome.zarr", field)
    write_clicks(root / "clicks.csv", clicks_of(field))
    plate = [drawn_cells(seed, cells=8, time=False) for seed in (40, 41)]
    plate.insert(1, half_bad(42, TWINS))
    write_plate(root / "plate.ome.zarr", plate, "stains")
    write_plate(root / "plate_bf.ome.zarr", plate, "planes")
    return root


@pytest.fixture(scope="module")
def learnt(stores):
    """Learnt through the command line."""
    line = [
        "qc", stores / "one.ome.zarr", "--source", stores / "light.ome.zarr", "--clicks",
        stores / "clicks.csv", "--artifacts", stores / "artifacts.json", "--out", stores / "maps",
        "--quiet", "--json",
    ]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    return stores / "artifacts.json"


def found_in(result):
    return {
        f.place.well: next(o for o in f.findings if o.check == "clicked") for f in result.fields
    }


def test_clicks_judge_the_wells_of_another_plate(stores, learnt):
    result = qc(
        stores / "plate.ome.zarr", source=str(stores / "plate_bf.ome.zarr"), maps=True,
        artifacts=str(learnt), out=stores / "report", no_passport=True,
    )  # fmt: skip
    found = found_in(result)
    assert found["A02"].state in ("amber", "red")
    assert found["A01"].state == found["A03"].state == "green"
    assert "clicked as bad" in found["A02"].reason
    assert "by chance 50 %" in found["A02"].reason
    assert found["A02"].advice
    maps = open_image(
        stores / "report" / next(f for f in result.fields if f.place.well == "A02").maps
    )
    marked = maps.data[0, maps.channel_index("clicked"), 0].compute() > 0
    assert marked[:, 128:].sum() > 4 * marked[:, :128].sum()
    page = (stores / "report" / "qc.html").read_text(encoding="utf-8")
    assert "Like what was clicked as bad" in page


def test_the_map_of_the_clicked_field_is_that_of_the_numbers(stores, learnt):
    image = open_image(stores / "maps" / "clicked" / "one.ome.zarr")
    assert image.channel_names == (MAP,)
    assert image.pixel_size_um.yx == pytest.approx(0.6)
    np.testing.assert_allclose(
        image.data[0, 0, 0].compute(), probability(half_bad(1, ZOO), read_artifacts(learnt)),
        rtol=1e-3, atol=1e-5,
    )  # fmt: skip


def test_without_a_name_it_lies_beside_the_prediction_and_is_found_there(stores, tmp_path):
    field = half_bad(3, ZOO)
    path = write_prediction(tmp_path / "two.ome.zarr", field)
    write_source(tmp_path / "light.ome.zarr", field)
    write_clicks(tmp_path / "c.csv", clicks_of(field, 3))
    source = str(tmp_path / "light.ome.zarr")
    made = qc(path, source=source, clicks=str(tmp_path / "c.csv"))
    assert made.out == tmp_path / "two.review" / "qc_artifacts.json"
    assert made.learnt.artifacts.tried.learnt
    assert made.learnt.words() in made.text()
    assert json.loads(json.dumps(made.to_json()))["learnt"]["accuracy"] >= 0.75
    assert read_artifacts(made.out).versions["scikit-learn"]
    judged = qc(path, source=source, out=tmp_path / "report", no_passport=True)
    (one,) = judged.fields
    assert any(f.check == "clicked" and f.state != "not assessable" for f in one.findings)
    with pytest.raises(OutputExistsError, match="--artifacts.*--overwrite"):
        qc(path, source=source, clicks=str(tmp_path / "c.csv"))


def test_without_clicks_there_is_no_such_check(stores, tmp_path):
    result = qc(stores / "one.ome.zarr", source=str(stores / "light.ome.zarr"), out=tmp_path / "r",
                no_passport=True)  # fmt: skip
    assert not [one for f in result.fields for one in f.findings if one.check == "clicked"]


def test_a_table_of_clicks_is_read_as_it_was_written(tmp_path):
    clicks = [Click(path="a/b.zarr", scene="A/1/0", time=2, y=3.5, x=4, label="bad")]
    write_clicks(tmp_path / "c.csv", clicks)
    assert read_clicks(tmp_path / "c.csv") == clicks
    (tmp_path / "c.csv").write_text("y,x,label\n1,2,good\n", encoding="utf-8")
    assert read_clicks(tmp_path / "c.csv") == [Click(y=1, x=2, label="good")]


BAD = {
    "no table": (None, MissingInputError, "no table of clicks.*Correct --clicks"),
    "another label": ("y,x,label\n1,2,fine\n", ImageFileError, "Line 2 of .* is no click, at 'label'.*columns"),
    "too few": ("y,x,label\n9,9,good\n", PixelDataError, "4 good and 5 bad more are missing"),
    "another image": ("path,y,x,label\nz.zarr,1,2,good\n", PixelDataError, "is on 'z.zarr', which is none.*--clicks"),
    "another time": ("time,y,x,label\n3,1,2,good\n", PixelDataError, "at time point 3 of .*Correct --clicks"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_learnt_from(text, kind, words, stores, tmp_path):
    table = tmp_path / "c.csv"
    if text is not None:
        table.write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=words) as caught:
        qc(stores / "one.ome.zarr", clicks=str(table), artifacts=str(tmp_path / "a.json"))
    assert str(caught.value).endswith(".")
    assert not (tmp_path / "a.json").exists()


def test_two_lessons_at_once_are_refused(stores, tmp_path):
    with pytest.raises(SettingsError, match="Leave out --calibrate or --clicks"):
        qc(stores / "one.ome.zarr", clicks=str(stores / "clicks.csv"), calibrate=True)
