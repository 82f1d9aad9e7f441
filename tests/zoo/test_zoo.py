"""A model is found by name or path, and what is not found is answered with what there is."""

from __future__ import annotations

import shutil

import pytest

from napari_virtualstain import zoo
from napari_virtualstain.errors import MissingInputError, ModelPackageError, UnknownNameError
from napari_virtualstain.zoo import find_model, list_models, load_generator, models_folder


@pytest.fixture
def mine(tiny_model, tmp_path, monkeypatch):
    """A folder of the user with one model in it, and two things that are none."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_model, folder / "mine")
    (folder / "notes.txt").write_text("no model")
    (folder / "empty").mkdir()
    monkeypatch.setenv("NVS_MODELS", str(folder))
    return folder


def test_bundled_and_own_models_are_listed(mine):
    found = list_models()
    assert models_folder() == mine
    assert found["mine"] == mine / "mine"
    assert not {"empty", "notes.txt"} & set(found)


def test_a_bundled_model_wins_over_one_of_its_name(mine, tiny_model, tmp_path, monkeypatch):
    shutil.copytree(tiny_model, tmp_path / "bundled" / "mine")
    monkeypatch.setattr(zoo, "_BUNDLED", tmp_path / "bundled")
    assert find_model("mine") == tmp_path / "bundled" / "mine"


def test_a_model_is_loaded_by_name_by_folder_and_by_zip(mine, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", mine, "mine")
    models = [load_generator(given) for given in ("mine", mine / "mine", archive)]
    assert len({model.fingerprint for model in models}) == 1
    assert models[0].card.stain_names == ("DNA", "ER", "RNA", "AGP", "Mito")


def test_the_folder_of_the_user_may_begin_with_a_tilde(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_model("~/models/mine") == mine / "mine"


def test_there_need_be_no_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "nothing"))
    assert set(list_models()) == {p.name for p in zoo._BUNDLED.glob("*") if p.is_dir()}


def test_the_folder_is_the_systems_unless_told(monkeypatch):
    monkeypatch.delenv("NVS_MODELS")
    assert models_folder().parts[-2:] == ("napari-virtualstain", "models")


NOT_FOUND = {
    "a name that is nearly right": ("mien", UnknownNameError, r"No model named 'mien'. Did you mean 'mine'\?.*Give one of these, or the path"),
    "a name like none": ("zebra", UnknownNameError, "There are: .*mine"),
    "a path": ("some/where", MissingInputError, "no model at 'some/where'.*mine"),
    "a file": ("net.zip", MissingInputError, "Give a model folder or zip"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "sentence"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_what_is_not_there_is_answered_with_what_is(mine, given, kind, sentence):
    with pytest.raises(kind, match=sentence):
        load_generator(given)


def test_a_folder_that_is_no_model_says_so(mine):
    with pytest.raises(ModelPackageError, match="holds no card.json.*virtualstain train"):
        load_generator(mine / "empty")


def test_a_zip_that_was_cut_or_damaged_says_so(mine, tmp_path):
    archive = tmp_path / "model.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", mine, "mine")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelPackageError, match="neither a model folder nor a zip"):
        load_generator(archive)
    middle = len(whole) // 2
    archive.write_bytes(
        whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 9]) + whole[middle + 9 :]
    )
    with pytest.raises(ModelPackageError, match="damaged|altered"):
        load_generator(archive)
