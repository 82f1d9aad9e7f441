"""Fields are normalised with the grey values of their well or plate, gathered once."""

import re

import numpy as np
import pytest
import tifffile
from lit_plate import PATTERN, write_plate

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import grey_values as job
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.batch import BatchSettings
from napari_virtualstain.jobs.batch import run as batch
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.plan import run as plan
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay import run as replay
from napari_virtualstain.jobs.watch import WatchSettings
from napari_virtualstain.jobs.watch import run as watch


@pytest.fixture
def plate(tmp_path):
    return write_plate(tmp_path / "P1", sites=3, light=1.0)


@pytest.fixture
def settings(plate, tiny_model, tmp_path):
    def settings(kind=stain.StainSettings, **more):
        values = {
            "input": str(plate), "model": str(tiny_model), "pattern": PATTERN, "pixel_size": 0.6,
            "scene": "B03/s1",
        }  # fmt: skip
        if kind is not PlanSettings:
            values["out"] = str(tmp_path / "o.ome.zarr")
        return kind(**(values | more))

    return settings


def pixels(plate, which):
    return np.stack([tifffile.imread(file) for file in sorted(plate.glob(which))]).astype(float)


TOGETHER = {"field": "B03_s1_z0.tif", "well": "B03_*_z0.tif", "plate": "*_z0.tif"}


@pytest.mark.parametrize("on", TOGETHER)
def test_the_numbers_are_those_of_all_pixels_together(on, settings, plate):
    record = read_record(stain.run(settings(normalise_on=on)).out)["record"]
    norm = record["normalisation"]["inputs"][0][0]
    found = pixels(plate, TOGETHER[on])
    assert norm["offset"] == pytest.approx(found.mean(), rel=1e-9)
    assert norm["scale"] == pytest.approx(found.std(), rel=1e-9)
    told = record["normalisation"]["on"]
    assert (None if told is None else (told["scope"], told["name"], told["of"])) == {
        "field": None, "well": ("well", "well B03", 3), "plate": ("plate", "the plate", 6),
    }[on]  # fmt: skip
    said = [note for note in record["notes"] if note.startswith("normalised with")]
    assert len(said) == 0  # notes of the preparation only
    told = []
    stain.run(settings(normalise_on=on, overwrite=True), on_note=told.append)
    assert [note for note in told if note.startswith("normalised with")] == {
        "field": [],
        "well": ["normalised with the grey values of all 3 fields of well B03"],
        "plate": ["normalised with the grey values of all 6 fields of the plate"],
    }[on]


def test_each_field_of_a_well_gets_the_same_numbers_and_they_are_gathered_once(
    settings, tmp_path, monkeypatch
):
    gathered = []
    original = job.joint_statistics

    def counted(images, t, *, on_image, **more):
        def tell(done, total):
            gathered.extend([len(images)] * (done == 0))
            on_image(done, total)

        return original(images, t, on_image=tell, **more)

    monkeypatch.setattr(job, "joint_statistics", counted)
    result = batch(
        settings(BatchSettings, normalise_on="well", scene=None, out=str(tmp_path / "all"))
    )
    assert result.count("done") == 6
    assert gathered == [3, 3]
    found = {
        item.scene: read_record(tmp_path / "all" / item.out)["record"]["normalisation"]["inputs"]
        for item in result.items
    }
    assert found["B03/s1"] == found["B03/s2"] != found["B04/s1"] == found["B04/s3"]


@pytest.mark.parametrize("kind", ["zscore", "percentile", "minmax"])
def test_every_rule_may_be_fitted_on_a_well(kind, plate, settings, tiny_model, tmp_path):
    import json
    import shutil

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    card = json.loads((model / "card.json").read_text())
    card["input_rule"] |= {"kind": kind, "low": 0.1, "high": 0.9}
    (model / "card.json").write_text(json.dumps(card))
    record = read_record(stain.run(settings(normalise_on="well", model=str(model))).out)["record"]
    norm = record["normalisation"]["inputs"][0][0]
    found = np.sort(pixels(plate, TOGETHER["well"]).ravel())
    low, high = {
        "zscore": (found.mean(), found.mean() + found.std()),
        "percentile": [found[int(np.ceil(p * found.size)) - 1] for p in (0.1, 0.9)],
        "minmax": (found[0], found[-1]),
    }[kind]
    assert norm["offset"] == pytest.approx(low)
    assert norm["scale"] == pytest.approx(high - low)


def test_of_a_large_plate_a_sample_is_measured_the_same_for_each_field(settings, monkeypatch):
    monkeypatch.setattr(job, "SAMPLE", 4)
    told = []
    one = read_record(stain.run(settings(normalise_on="plate"), on_note=told.append).out)["record"]
    other = read_record(
        stain.run(settings(normalise_on="plate", scene="B04/s3", overwrite=True)).out
    )["record"]
    assert one["normalisation"]["on"] == other["normalisation"]["on"]
    assert len(one["normalisation"]["on"]["fields"]) == 4
    assert "normalised with the grey values of 4 of the 6 fields of the plate" in told


def test_a_field_that_does_not_open_is_left_out_and_said(plate, settings):
    (plate / "B03_s2_z1.tif").unlink()
    (plate / "B03_s3_z0.tif").write_bytes(b"II*\0 broken")
    told = []
    result = stain.run(settings(normalise_on="plate"), on_note=told.append)
    described = read_record(result.out)["record"]["normalisation"]["on"]
    assert described["of"] == 6
    assert "B03/s3" not in described["fields"]


def test_a_field_with_nan_is_left_out_of_the_numbers_and_is_not_stained_itself(plate, settings):
    for file in plate.glob("*.tif"):
        tifffile.imwrite(file, tifffile.imread(file).astype(np.float32))
    spoilt = tifffile.imread(plate / "B03_s2_z0.tif")
    spoilt[5, 5] = np.nan
    tifffile.imwrite(plate / "B03_s2_z0.tif", spoilt)
    record = read_record(stain.run(settings(normalise_on="well")).out)["record"]
    kept = np.stack([pixels(plate, f"B03_s{site}_z0.tif") for site in (1, 3)])
    assert record["normalisation"]["inputs"][0][0]["offset"] == pytest.approx(kept.mean())
    with pytest.raises(PixelDataError, match="holds 1 NaN or infinite pixels"):
        stain.run(settings(normalise_on="well", scene="B03/s2", overwrite=True))


def test_an_image_in_no_well_is_refused_in_a_sentence(settings, field_folder, tmp_path):
    alone = settings(
        input=str(field_folder / "brightfield.ome.zarr"),
        scene=None,
        pattern=None,
        normalise_on="well",
    )
    sentence = f"The image {alone.input!r} lies in no well, so that it has no other fields"
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}.*--pattern.*\\.$"):
        stain.run(alone)
    assert not (tmp_path / "o.ome.zarr").exists()


def test_a_plan_says_what_is_read_before_the_first_tile(settings, monkeypatch):
    asked = settings(PlanSettings, normalise_on="well")
    found = plan(asked)
    assert found.bytes_to_measure == 3 * 3 * 96 * 96 * 2
    assert any("all 3 fields of well B03" in note for note in found.notes)
    plan(asked.model_copy(update={"measure": True}))
    assert plan(asked).bytes_to_measure == 0
    monkeypatch.setattr(LazyImage, "read", lambda self, region: pytest.fail("it was read again"))
    assert plan(asked.model_copy(update={"measure": True})).bytes_to_measure == 0


def test_a_run_is_not_gone_on_with_on_other_grey_values(settings):
    stain.run(settings(normalise_on="well", tile=48, region=(0, 0, 48, 48)))
    with pytest.raises(SettingsError, match="it was begun with another --normalise-on"):
        stain.run(settings(tile=48, resume=True))
    stain.run(settings(normalise_on="well", tile=48, resume=True))


def test_a_replay_is_equal_and_says_if_other_fields_changed(settings, plate):
    out = stain.run(settings(normalise_on="well")).out
    assert replay(ReplaySettings(record=str(out))).likeness.equal
    tifffile.imwrite(plate / "B03_s2_z0.tif", tifffile.imread(plate / "B03_s2_z0.tif") * 2)
    found = replay(ReplaySettings(record=str(out), overwrite=True))
    assert not found.likeness.equal
    assert any("the fields of well B03 are others" in note for note in found.notes)


def test_a_well_that_is_still_written_has_no_grey_values(settings, tmp_path):
    with pytest.raises(
        SettingsError, match=r"still being written has no grey values yet\. Leave out"
    ):
        watch(settings(WatchSettings, scene=None, normalise_on="well", out=str(tmp_path / "w")))


def test_the_stain_of_a_well_tells_bright_fields_from_dim_ones(settings):
    """Each by itself they are alike; together the brighter one stays brighter."""
    means = {}
    for on in ("field", "well"):
        for site in ("s1", "s3"):
            run = stain.run(settings(normalise_on=on, scene=f"B03/{site}", overwrite=True))
            norm = read_record(run.out)["record"]["normalisation"]["inputs"][0][1]
            image = open_image(run.out)
            assert np.isfinite(image.data.compute()).all()
            means[on, site] = norm["offset"]
    assert means["well", "s1"] == means["well", "s3"]
    assert means["field", "s1"] != means["field", "s3"]
