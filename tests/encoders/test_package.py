"""Encoders on disk: whole, checked, and never taken for a model that stains."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_virtualstain.encoders.card import EncoderCard, EncoderChannel
from napari_virtualstain.encoders.package import (
    load_encoder_package,
    read_encoder_card,
    save_encoder,
)
from napari_virtualstain.encoders.registry import ENCODERS, build_encoder
from napari_virtualstain.errors import ModelPackageError, SettingsError, UnknownNameError
from napari_virtualstain.generators.package import load_package
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.zoo import (
    find_model,
    is_own,
    list_encoders,
    list_models,
    load_encoder,
    remove_model,
)


def save(path, name="dino", classes=()):
    spec = ENCODERS[name]
    classes = classes or (("a", "b") if spec.learns == "classes" else ())
    encoder = build_encoder(name, in_channels=1, classes=len(classes), preset="tiny")
    card = EncoderCard(
        name=path.name, encoder=name, architecture=dict(spec.presets["tiny"]), in_channels=1,
        per_channel=True, crop_px=(32,) * spec.ndim, classes=classes,
        channels=(EncoderChannel(name="DNA", normalisation=Normalisation(offset=3, scale=2)),),
        training=TrainingReport(
            recipe="test", data="noise", n_fields=1, n_validation_fields=0, steps=0, seed=0, loss=""
        ),
    )  # fmt: skip
    pictures = np.random.default_rng(0).normal(size=(2, 1, *card.crop_px)).astype(np.float32)
    return save_encoder(path, card, encoder, pictures), encoder, pictures


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_what_is_saved_sees_the_same(tmp_path, name):
    card, encoder, pictures = save(tmp_path / "m", name)
    found = load_encoder_package(tmp_path / "m")
    assert found.card == read_encoder_card(tmp_path / "m")
    assert found.card.model_dump(mode="json") == card.model_dump(mode="json")
    np.testing.assert_array_equal(found.encoder.features(pictures), encoder.features(pictures))


def cut_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def forge_card(folder):
    card = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**card, "in_channels": 2}))


def break_card(folder):
    (folder / "encoder.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_weights, "sha256 differs.*again"),
        (forge_card, "do not fit the architecture.*again"),
        (break_card, "encoder.json.*not valid.*again"),
        (lambda f: (f / "test_pair.npz").unlink(), "lacks its file test_pair.npz.*again"),
        (lambda f: (f / "encoder.json").unlink(), "no encoder.json.*Give"),
    ],
    ids=["cut weights", "another card", "a broken card", "no pair", "no card"],
)
def test_a_damaged_encoder_is_refused(tmp_path, damage, words):
    save(tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises(ModelPackageError, match=words):
        load_encoder_package(tmp_path / "m")


def test_an_encoder_is_listed_apart_from_models_that_stain(models):
    save(models / "eye")
    assert "eye" in list_encoders()
    assert "eye" not in list_models()
    assert load_encoder("eye").card.name == "eye"


def test_an_encoder_is_none_to_stain_with(models, tmp_path):
    save(models / "eye")
    with pytest.raises(SettingsError, match="'eye' is an encoder.*virtualstain embed"):
        find_model("eye")
    with pytest.raises(ModelPackageError, match="is an encoder.*virtualstain embed"):
        load_package(models / "eye")


def test_a_model_that_stains_is_none_to_see_with(tiny_model):
    with pytest.raises(SettingsError, match="'demo' is a model that stains.*Give an encoder: "):
        load_encoder("demo")
    with pytest.raises(ModelPackageError, match="a model that stains.*here an encoder"):
        load_encoder_package(tiny_model)


def test_the_nearest_encoder_is_offered(models):
    save(models / "eye")
    with pytest.raises(UnknownNameError, match="'eye'.*path of an encoder folder"):
        load_encoder("eyes")


def test_an_encoder_of_ones_own_is_removed(models):
    save(models / "eye")
    assert is_own("eye")
    remove_model("eye")
    assert "eye" not in list_encoders()
