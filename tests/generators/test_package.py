"""A model that is incomplete, altered, or a pickle is refused in one sentence."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from napari_virtualstain.errors import (
    DiskError,
    MissingInputError,
    ModelPackageError,
    OutputExistsError,
)
from napari_virtualstain.generators.package import load_package, read_card, save_package
from napari_virtualstain.generators.registry import build_generator


@pytest.fixture
def copied(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_a_model_predicts_after_loading_what_it_predicted_before(tiny_model, tmp_path):
    model = load_package(tiny_model)
    planes = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    again = tmp_path / "again"
    save_package(again, model.card, model.generator, planes)
    np.testing.assert_array_equal(
        load_package(again).generator.predict(planes), model.generator.predict(planes)
    )


def test_a_zip_of_a_model_is_a_model(tiny_model, tmp_path):
    archive = shutil.make_archive(
        str(tmp_path / "model"), "zip", tiny_model.parent, tiny_model.name
    )
    assert load_package(archive).fingerprint == load_package(tiny_model).fingerprint


def test_a_card_is_read_without_torch(tiny_model, subprocess_python):
    subprocess_python(
        "import sys; from napari_virtualstain.generators.package import read_card; "
        f"assert read_card({str(tiny_model)!r}).stains and 'torch' not in sys.modules"
    )


def edit_card(folder, **changes):
    path = folder / "card.json"
    card = json.loads(path.read_text())
    card.update(changes)
    path.write_text(json.dumps(card))


def cut_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap_for_pickle(folder):
    (folder / "weights.safetensors").unlink()
    (folder / "weights.pth").write_bytes(pickle.dumps({"a": 1}))


def hide_pickle(folder):
    """A pickle under the name of safetensors, with the right hash in the card."""
    import hashlib

    content = pickle.dumps({"a": 1})
    (folder / "weights.safetensors").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    edit_card(
        folder, files={**card["files"], "weights.safetensors": hashlib.sha256(content).hexdigest()}
    )


def other_weights(folder):
    """Whole and hashed, but of another architecture."""
    edit_card(folder, architecture={"depth": 3, "width": 4, "norm": "batch"})


def other_prediction(folder):
    import hashlib

    with np.load(folder / "test_pair.npz") as pair:
        planes, expected = pair["planes"], pair["expected"]
    np.savez_compressed(folder / "test_pair.npz", planes=planes, expected=expected + 1)
    digest = hashlib.sha256((folder / "test_pair.npz").read_bytes()).hexdigest()
    card = json.loads((folder / "card.json").read_text())
    edit_card(folder, files={**card["files"], "test_pair.npz": digest})


DAMAGE = {
    "no card": (lambda f: (f / "card.json").unlink(), "holds no card.json.*Give the folder"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "lacks its file.*again"),
    "no test pair": (lambda f: (f / "test_pair.npz").unlink(), "lacks its file test_pair.*again"),
    "weights cut short": (cut_weights, r"altered or cut short.*again\.$"),
    "one bit flipped": (flip_a_bit, r"sha256 differs.*again\.$"),
    "a pickle instead": (swap_for_pickle, "is a pickle, which can run any code.*models import"),
    "a pickle in disguise": (hide_pickle, "no safetensors file.*Ask for the model"),
    "weights of another network": (other_weights, "do not fit the architecture.*again"),
    "another prediction": (other_prediction, "does not reproduce its own test pair.*Do not trust"),
    "a card with a missing entry": (lambda f: edit_card(f, stains=[]), "not valid at 'stains'"),
    "a newer schema": (
        lambda f: edit_card(f, schema_version=2),
        "is of schema 2, this program knows 1. Update",
    ),
    "a card that is no JSON": (lambda f: (f / "card.json").write_text("{"), "is not valid at"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_refused(copied, damage, sentence):
    damage(copied)
    with pytest.raises(ModelPackageError, match=sentence):
        load_package(copied)


def test_a_lone_pickle_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(ModelPackageError, match="is a pickle.*models import"):
        load_package(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "model.zip"
    path.write_text("no")
    with pytest.raises(ModelPackageError, match="neither a model folder nor a zip"):
        load_package(path)


def test_a_missing_model_is_reported(tmp_path):
    with pytest.raises(MissingInputError, match="There is no model at"):
        load_package(tmp_path / "nothing")


def test_a_zip_member_cannot_leave_its_folder(tiny_model, tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.txt", "x")
        for member in tiny_model.iterdir():
            archive.write(member, f"m/{member.name}")
    load_package(path)
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_model_is_never_replaced(tiny_model, tmp_path, overwrite):
    model = load_package(tiny_model)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_text("precious")
    planes = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(OutputExistsError, match="never replaced. Choose another --out"):
        save_package(tmp_path / "holiday", model.card, model.generator, planes, overwrite=overwrite)
    assert (tmp_path / "holiday" / "photo.jpg").exists()


def test_nothing_is_left_of_a_model_that_could_not_be_written(tiny_model, tmp_path, monkeypatch):
    from pathlib import Path

    model = load_package(tiny_model)

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskError, match="the disk is full.*Make room"):
        save_package(tmp_path / "m", model.card, model.generator, np.zeros((1, 3, 16, 16), "f4"))
    assert list(tmp_path.iterdir()) == []


def test_the_card_holds_what_later_rooms_need(tiny_model):
    card = read_card(tiny_model)
    assert card.inputs[0].statistics is not None
    assert card.feature_statistics is not None
    assert card.feature_statistics["n_fields"] == card.training.n_fields
    for place in ("calibration", "qc_thresholds", "patch_index"):
        assert place in card.model_fields_set
    generator = build_generator(
        card.generator, in_channels=len(card.inputs), out_channels=len(card.stains),
        architecture=card.architecture,
    )  # fmt: skip
    assert generator.out_channels == len(card.stain_names)


def test_a_zip_that_unfolds_to_far_more_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/card.json", b" " * (2**24 + 1))
    with pytest.raises(ModelPackageError, match=r"which no model has.*another one\.$"):
        load_package(path)
