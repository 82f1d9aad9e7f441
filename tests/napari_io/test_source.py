"""A layer knows where it came from, in values that survive JSON and foreign hands."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.io.image import Channel
from napari_virtualstain.napari_io.source import (
    KEY,
    LayerSource,
    default_role,
    job_of,
    source_of,
    tagged,
)

FULL = LayerSource(
    path="a/b.ome.zarr", scene="A/1/0", axes="zyx", channel="Brightfield", role="brightfield",
    pixel_size_um=(None, 0.6, 0.5), pixel_size_stated=True, guesses=("The axes.", "The size."),
    kind="ome-zarr",
)  # fmt: skip
sizes = st.none() | st.floats(0.01, 100)


@given(
    path=st.none() | st.text(),
    scene=st.text(),
    channel=st.text(),
    role=st.sampled_from(["brightfield", "truth", "prediction", "other"]),
    size=st.tuples(sizes, sizes, sizes),
    guesses=st.lists(st.text()),
    confirmed=st.booleans(),
)
def test_a_source_comes_back_through_json(path, scene, channel, role, size, guesses, confirmed):
    source = LayerSource(
        path=path, scene=scene, channel=channel, role=role, pixel_size_um=size,
        guesses=tuple(guesses), confirmed=confirmed,
    )  # fmt: skip
    metadata = json.loads(json.dumps(tagged({"mine": 1}, source)))
    assert metadata["mine"] == 1
    assert source_of(metadata) == source


def test_a_layer_is_asked_for_its_metadata():
    assert source_of(SimpleNamespace(metadata=tagged({}, FULL))) == FULL


FOREIGN = {
    "no metadata": {},
    "of somebody else": {"source": "x"},
    "not a dict": {KEY: "x"},
    "an unknown role": {KEY: {"role": "king"}},
    "a size of two": {KEY: {"pixel_size_um": [1.0, 1.0]}},
}


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_layer_has_no_source(metadata):
    assert source_of(metadata) is None
    assert source_of(SimpleNamespace(metadata=metadata)) is None
    assert source_of(object()) is None


def test_what_a_newer_version_adds_is_passed_over():
    metadata = tagged({}, FULL)
    metadata[KEY]["weather"] = "fine"
    assert source_of(metadata) == FULL


def test_a_role_that_is_paired_has_a_stain():
    truth = FULL.with_role("truth")
    assert (truth.role, truth.stain) == ("truth", "Brightfield")
    assert FULL.with_role("truth", "DNA").stain == "DNA"
    assert truth.with_role("brightfield").stain == ""


def test_guesses_are_open_until_somebody_confirms_them():
    assert FULL.open_guesses == FULL.guesses
    assert FULL.as_confirmed().open_guesses == ()


def test_channels_of_one_image_know_each_other():
    assert FULL.same_image(LayerSource(path="a/b.ome.zarr", scene="A/1/0", channel="DNA"))
    assert not FULL.same_image(LayerSource(path="a/b.ome.zarr", scene="A/1/1"))
    assert not LayerSource().same_image(LayerSource())


ROLES = {
    "light through": ("transmitted", None, "brightfield"),
    "light back": ("fluorescence", None, "truth"),
    "not told": ("unknown", None, "other"),
    "simulated": ("fluorescence", "simulate", "truth"),
    "stained": ("fluorescence", "stain", "prediction"),
}


@pytest.mark.parametrize(("modality", "job", "role"), ROLES.values(), ids=ROLES)
def test_a_role_follows_from_light_and_job(modality, job, role):
    assert default_role(Channel("x", modality), job) == role


def test_a_lone_channel_that_nobody_named_is_the_bright_field():
    assert default_role(Channel("channel 0", "unknown"), None, alone=True) == "brightfield"
    assert default_role(Channel("DAPI", "fluorescence"), None, alone=True) == "truth"


def test_a_store_of_somebody_else_was_written_by_no_job(tmp_path):
    assert job_of(None, "array") == (None, "")
    assert job_of(str(tmp_path), "ome-zarr") == (None, "")
    (tmp_path / "zarr.json").write_text("{")
    assert job_of(str(tmp_path), "ome-zarr") == (None, "")
