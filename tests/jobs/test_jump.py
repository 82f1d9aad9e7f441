"""A plate of JUMP Cell Painting is stained from three channels that are planes, evenly lit or not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from jump import write_jump

import napari_virtualstain
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.illumination import IlluminationSettings
from napari_virtualstain.jobs.illumination import run as fit
from napari_virtualstain.jobs.passport import PassportSettings
from napari_virtualstain.jobs.passport import run as passport
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay import run as replay
from napari_virtualstain.preprocessing.illumination_set import load_illumination_set

OTHER = (
    "Brightfield Low", "HOECHST 33342", "Brightfield High", "Alexa 488", "488 long", "Alexa 568",
    "Brightfield", "Alexa 647",
)  # fmt: skip
WANTED = ("Brightfield", "Brightfield High", "Brightfield Low")


@pytest.fixture
def model(tiny_model, tmp_path):
    """A model of JUMP's planes."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    card = json.loads((folder / "card.json").read_text())
    for plane, offset in zip(card["inputs"], (0.0, 5.0, -5.0), strict=True):
        plane["z_offset_um"] = offset
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def plate(tmp_path):
    return write_jump(tmp_path / "gallery", OTHER, wells=[(2, 3), (2, 4), (3, 5)])


def test_a_field_is_stained_from_the_channels_at_the_models_heights(plate, model, tmp_path):
    given = {"model": model, "pixel_size": 0.6, "overwrite": True}
    out = tmp_path / "o.ome.zarr"
    found = napari_virtualstain.stain(plate, scene="B03/f01", out=out, **given).data.compute()
    image = open_image(plate, scene="B03/f01")
    stack = image.select(list(WANTED)).data[0, :, 0].compute()
    twin = napari_virtualstain.stain(stack, axes="zyx", out=tmp_path / "t.ome.zarr", **given)
    np.testing.assert_array_equal(found, twin.data.compute())
    record = read_record(out)["record"]
    assert any(
        "Brightfield, Brightfield High, Brightfield Low taken as" in n for n in record["notes"]
    )
    assert replay(ReplaySettings(record=str(out), out=str(tmp_path / "r.ome.zarr"))).likeness.equal


def test_each_channel_has_its_own_light(plate, model, tmp_path):
    light = tmp_path / "light.json"
    fit(IlluminationSettings(input=str(plate), out=str(light)))
    known = load_illumination_set(light)
    assert {plane.channel for plane in known.planes} == set(WANTED)
    given = {"model": model, "pixel_size": 0.6}
    found = napari_virtualstain.stain(
        plate, scene="B04/f01", out=tmp_path / "o.ome.zarr", illumination=str(light), **given
    ).data.compute()
    image = open_image(plate, scene="B04/f01")
    even = np.stack(
        [
            known.functions_for(name, (0,), image.shape[3:])[0].apply(
                image.select([name]).data[0, 0, 0].compute()
            )
            for name in WANTED
        ]
    )
    twin = napari_virtualstain.stain(even, axes="zyx", out=tmp_path / "t.ome.zarr", **given)
    np.testing.assert_array_equal(found, twin.data.compute())


def test_the_passport_says_which_channels_the_planes_are(plate, model):
    found = passport(
        PassportSettings(input=str(plate), model=str(model), scene="C05/f01", pixel_size=0.6)
    )
    (check,) = [check for check in found.checks if check.name == "Z planes"]
    assert check.status == "green"
    assert check.found.startswith("channels Brightfield, Brightfield High, Brightfield Low at ")
