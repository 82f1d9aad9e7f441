"""How a plate is lit: fitted on a sample, kept in a file, applied while a stain is computed."""

import json
import re
import shutil

import numpy as np
import pytest
import tifffile
from lit_plate import LIGHT, PATTERN, SHAPE, write_plate

import napari_virtualstain
from napari_virtualstain.cli import main
from napari_virtualstain.datasets.light import corrected_planes
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.errors import (
    ChannelError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    ReplayError,
    SettingsError,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import illumination as job
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.illumination import IlluminationSettings
from napari_virtualstain.jobs.passport import PassportSettings
from napari_virtualstain.jobs.passport import run as passport
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.plan import run as plan
from napari_virtualstain.jobs.prepare import InputSettings, prepare
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay import run as replay
from napari_virtualstain.preprocessing.illumination_set import load_illumination_set


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return write_plate(tmp_path_factory.mktemp("plate") / "P1")


@pytest.fixture(scope="module")
def light(plate, tmp_path_factory):
    out = tmp_path_factory.mktemp("light") / "P1_light.json"
    job.run(IlluminationSettings(input=str(plate), pattern=PATTERN, out=str(out)))
    return out


def fit(plate, out, **settings):
    return job.run(
        IlluminationSettings(input=str(plate), pattern=PATTERN, out=str(out), **settings)
    )


def test_every_plane_gets_the_light_of_the_plate(light):
    found = load_illumination_set(light)
    assert [plane.z for plane in found.planes] == [0, 1, 2]
    assert found.fitted_on.of == len(found.fitted_on.fields) == 12
    for plane in found.planes:
        error = plane.function.values() / (LIGHT / np.median(LIGHT))
        assert np.std(error[12:-12, 12:-12]) < 0.02
        assert plane.function.fields == 12


def test_a_sample_is_read_and_no_other_field_is_opened(plate, tmp_path, monkeypatch):
    read = []
    original = LazyImage.read
    monkeypatch.setattr(
        LazyImage, "read", lambda self, r: read.append(self.source.scene) or original(self, r)
    )
    result = fit(plate, tmp_path / "a.json", fields=4, z=(1,))
    assert len(read) == 4
    assert set(read) == set(result.functions.fitted_on.fields)
    again = fit(plate, tmp_path / "b.json", fields=4, z=(1,))
    assert again.functions == result.functions
    other = fit(plate, tmp_path / "c.json", fields=4, z=(1,), seed=1)
    assert other.functions.fitted_on.fields != result.functions.fitted_on.fields
    assert result.notes[0].startswith("Fitted on 4 fields only")


def test_the_frames_of_a_film_are_fields(tmp_path):
    rng = np.random.default_rng(0)
    film = (rng.normal(1000, 40, (9, *SHAPE)) * LIGHT).astype(np.uint16)
    tifffile.imwrite(tmp_path / "film.tif", film, metadata={"axes": "TYX"}, imagej=True)
    settings = IlluminationSettings(
        input=str(tmp_path / "film.tif"), out=str(tmp_path / "l.json"), fields=5
    )
    fitted = job.run(settings).functions.fitted_on
    assert fitted.of == 9
    assert len(set(fitted.fields)) == 5
    assert all(re.fullmatch(r"film\.tif t\d", name) for name in fitted.fields)


def test_fields_of_another_size_or_damaged_ones_are_left_out_and_said(tmp_path):
    folder = write_plate(tmp_path / "P", planes=1, sites=3)
    tifffile.imwrite(folder / "B03_s2_z0.tif", np.ones((20, 20), np.uint16))
    result = fit(folder, tmp_path / "l.json")
    assert any(note.startswith("1 field was left out; the first, B03") for note in result.notes)
    assert result.functions.planes[0].function.fields == 5


REFUSED = {
    "no such name": ({"scene": "C*"}, SettingsError, "is named like 'C*'"),
    "no such plane": ({"z": (3,)}, ChannelError, "z plane 3 asked for"),
    "no such channel": ({"channels": ("DNA",)}, ChannelError, "No channel named 'DNA'"),
    "too dark": ({"dark": 60000.0}, PixelDataError, "No illumination function can be fitted"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_fitted_is_one_sentence_and_writes_nothing(
    said, kind, sentence, plate, tmp_path
):
    with pytest.raises(kind, match=re.escape(sentence)):
        fit(plate, tmp_path / "l.json", **said)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_replaced_unasked(plate, tmp_path):
    (tmp_path / "l.json").write_text("mine")
    with pytest.raises(OutputExistsError, match="add --overwrite"):
        fit(plate, tmp_path / "l.json")
    fit(plate, tmp_path / "l.json", overwrite=True, fields=2, z=(0,))
    assert len(load_illumination_set(tmp_path / "l.json").planes) == 1


def test_two_plates_are_not_fitted_together(tmp_path):
    for name in ("P1", "P2"):
        for site in (1, 2):
            tifffile.imwrite(tmp_path / f"{name}_B03_s{site}.tif", np.ones((40, 40), np.uint16))
    with pytest.raises(SettingsError, match=r"holds 2 plates \(P1, P2\).*with --scene\.$"):
        job.run(
            IlluminationSettings(
                input=str(tmp_path), pattern="{plate}_{well}_{site}.tif", out=str(tmp_path / "l")
            )
        )


def test_the_command_line_shows_and_writes_it(plate, tmp_path, capsys):
    out = str(tmp_path / "l.json")
    line = ["illumination", str(plate), "--pattern", PATTERN, "--out", out, "--quiet"]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [p["z"] for p in told["planes"]] == [0, 1, 2]
    assert told["planes"][0]["unevenness_percent"] > 10
    assert main([*line, "--overwrite"]) == 0
    assert "unevenness" in capsys.readouterr().out
    functions = napari_virtualstain.illumination(plate, pattern=PATTERN, out=tmp_path / "api.json")
    assert functions.fingerprint == told["fingerprint"]


# Applied.

ONE = {"scene": "B03/s1", "pattern": PATTERN, "pixel_size": 0.6, "tile": 48}


@pytest.fixture
def stained(plate, tiny_model, tmp_path):
    def stained(name="o", **more):
        settings = {
            "input": str(plate),
            "model": str(tiny_model),
            "out": str(tmp_path / f"{name}.ome.zarr"),
        }
        return stain.run(stain.StainSettings(**{**settings, **ONE, **more})).out

    return stained


def test_a_stain_is_that_of_the_planes_corrected_before(
    plate, light, stained, tiny_model, tmp_path
):
    found = open_image(stained(illumination=str(light))).data.compute()
    image = open_image(plate, scene="B03/s1", pattern=PATTERN)
    functions = [plane.function for plane in load_illumination_set(light).planes]
    before = np.stack([f.apply(image.data[0, 0, z].compute()) for z, f in enumerate(functions)])
    twin = napari_virtualstain.stain(
        before,
        axes="zyx",
        model=tiny_model,
        out=tmp_path / "twin.ome.zarr",
        pixel_size=0.6,
        tile=48,
    ).data.compute()
    np.testing.assert_array_equal(found, twin)
    plain = open_image(stained("plain")).data.compute()
    assert np.abs(found - plain).max() > 1


def test_statistics_are_of_the_corrected_pixels_and_the_record_has_the_light(light, stained):
    record = read_record(stained(illumination=str(light)))["record"]
    plain = read_record(stained("plain"))["record"]
    fitted, raw = (r["normalisation"]["inputs"][0][0]["scale"] for r in (record, plain))
    assert fitted < 0.9 * raw
    told = record["input"]["illumination"]
    assert told["fingerprint"] == load_illumination_set(light).fingerprint
    assert told["path"] == str(light)
    assert plain["input"]["illumination"] is None
    assert any(
        "does not state whether its training planes were corrected" in n for n in record["notes"]
    )


def test_a_plan_counts_the_pixels_as_they_are_recorded(plate, light, tiny_model):
    settings = PlanSettings(
        input=str(plate),
        model=str(tiny_model),
        illumination=str(light),
        **(ONE | {"scene": "B04/s5"}),
    )
    assert plan(settings).bytes_to_measure == 3 * 96 * 96 * 2


def test_a_run_is_not_gone_on_with_under_another_light(plate, light, stained, tmp_path):
    stained(illumination=str(light), region=(0, 0, 48, 48))
    other = tmp_path / "other.json"
    fit(plate, other, fields=3)
    for changed in (None, str(other)):
        with pytest.raises(SettingsError, match="it was begun with another --illumination"):
            stained(illumination=changed, resume=True)
    stained(illumination=str(light), resume=True)
    assert read_record(tmp_path / "o.ome.zarr")["status"] == "complete"


def test_a_replay_needs_the_same_light(plate, light, stained, tmp_path):
    mine = tmp_path / "mine.json"
    shutil.copy(light, mine)
    out = stained(illumination=str(mine))
    assert replay(ReplaySettings(record=str(out))).likeness.equal
    fit(plate, mine, fields=3, overwrite=True)
    with pytest.raises(ReplayError, match=r"are not those of the run\. Put the file"):
        replay(ReplaySettings(record=str(out), overwrite=True))
    mine.unlink()
    with pytest.raises(MissingInputError):
        replay(ReplaySettings(record=str(out), overwrite=True))


@pytest.mark.parametrize(
    ("trained", "applied", "words"),
    [
        (True, False, "the model was trained on planes corrected for uneven light, these are not"),
        (False, True, "the model was trained on planes as recorded, these are corrected"),
        (True, True, None),
        (False, False, None),
        (None, False, None),
    ],
)
def test_light_that_is_not_that_of_the_training_is_said(
    trained, applied, words, plate, light, tiny_model, tmp_path
):
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(card | {"illumination_corrected": trained}))
    settings = InputSettings(
        input=str(plate), model=str(model), illumination=str(light) if applied else None, **ONE
    )
    notes = [n for n in prepare(settings).notes if "uneven light" in n]
    assert len(notes) == (words is not None)
    if words:
        assert notes[0].startswith(words)


def test_functions_for_other_planes_are_refused_before_anything_is_written(
    plate, light, tiny_model, tmp_path, field_folder
):
    settings = stain.StainSettings(
        input=str(field_folder / "brightfield.ome.zarr"), model=str(tiny_model), illumination=str(light),
        out=str(tmp_path / "o.ome.zarr"),
    )  # fmt: skip
    with pytest.raises(SettingsError, match="none is of channel 'Brightfield'"):
        stain.run(settings)
    assert not (tmp_path / "o.ome.zarr").exists()


def test_the_passport_measures_what_the_model_would_be_given(plate, light, tiny_model):
    settings = PassportSettings(
        input=str(plate), model=str(tiny_model), scene="B03/s1", pattern=PATTERN
    )
    plain = passport(settings).measured[0]
    even = passport(settings.model_copy(update={"illumination": str(light)})).measured[0]
    assert even["unevenness_percent"] < 0.5 * plain["unevenness_percent"]
    assert even["bits_used"] == plain["bits_used"]


@pytest.mark.realdata
def test_a_real_field_is_corrected_as_it_is_read(realdata, tmp_path):
    folder = realdata / "isl_neurons"
    job.run(IlluminationSettings(input=str(folder), out=str(tmp_path / "l.json"), z=(3, 9)))
    found = load_illumination_set(tmp_path / "l.json")
    image = open_image(folder, channels=["PHASE_CONTRAST"]).select(z=[9, 3])

    functions = found.functions_for("PHASE_CONTRAST", (9, 3), (1024, 1024))
    planes = corrected_planes(InputPlanes(image, (9, 3)), functions)
    region = (slice(100, 400), slice(700, 1024))
    whole = functions[1].apply(image.data[0, 0, 1].compute())
    np.testing.assert_array_equal(planes.read(0, region)[1], whole[region])
