"""A denoiser on disk is whole, its own, and no other kind of model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_virtualstain.denoising.denoiser import PRESETS, build_denoiser
from napari_virtualstain.denoising.package import (
    DenoiserCard,
    check_denoiser_output,
    load_denoiser,
    save_denoiser,
)
from napari_virtualstain.errors import MissingInputError, ModelPackageError, OutputExistsError
from napari_virtualstain.generators.package import load_package
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.origin import TrainingReport


def save(folder):
    denoiser = build_denoiser("tiny", seed=3)
    card = DenoiserCard(
        name="d", architecture=PRESETS["tiny"], channel="DNA",
        normalisation=Normalisation(offset=5.0, scale=2.0),
        training=TrainingReport(
            recipe="own images", data="noise", n_fields=1, n_validation_fields=0, steps=1, seed=3,
            loss="l2",
        ),
    )  # fmt: skip
    planes = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    save_denoiser(folder, card, denoiser, planes)
    return denoiser, planes


def test_what_was_saved_denoises_the_same(tmp_path):
    denoiser, planes = save(tmp_path / "d")
    found = load_denoiser(tmp_path / "d")
    assert (found.card.channel, found.card.normalisation.scale) == ("DNA", 2.0)
    np.testing.assert_array_equal(found.denoiser.predict(planes), denoiser.predict(planes))


def forge(folder):
    card = json.loads((folder / "denoiser.json").read_text())
    card["architecture"]["width"] = 8
    (folder / "denoiser.json").write_text(json.dumps(card))


def other_weights(folder):
    other = folder.with_name("other")
    denoiser = build_denoiser("tiny", seed=4)
    card = load_denoiser(folder).card
    save_denoiser(other, card, denoiser, np.ones((1, 1, 16, 16), np.float32))
    content = (other / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content)


DAMAGED = {
    "cut weights": (other_weights, "sha256 differs.*again"),
    "another card": (forge, "do not fit the architecture.*again"),
    "no pair": (lambda f: (f / "test_pair.npz").unlink(), "lacks its file test_pair.npz.*again"),
    "no card": (lambda f: (f / "denoiser.json").unlink(), "no denoiser.json.*denoise --keep-as"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_denoiser_is_refused(damage, words, tmp_path):
    save(tmp_path / "d")
    damage(tmp_path / "d")
    with pytest.raises(ModelPackageError, match=words):
        load_denoiser(tmp_path / "d")


def test_no_kind_of_model_is_taken_for_another(tmp_path, tiny_model):
    save(tmp_path / "d")
    with pytest.raises(ModelPackageError, match="is a denoiser.*here a model that stains"):
        load_package(tmp_path / "d")
    with pytest.raises(ModelPackageError, match="a model that stains.*here a denoiser"):
        load_denoiser(tiny_model)
    with pytest.raises(MissingInputError):
        load_denoiser(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError, match="never replaced"):
        check_denoiser_output(tiny_model, overwrite=True)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        check_denoiser_output(tmp_path / "d", overwrite=False)
