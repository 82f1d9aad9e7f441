"""Settings hold their paths in any folder; versions and pace are said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtualstain.cli.main import VERBS, _load
from napari_virtualstain.jobs.base import _marks
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.train import TrainSettings


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))


def test_paths_become_absolute_and_nothing_else_changes(tmp_path):
    given = StainSettings(input="a.tif", out="~/o.zarr", channel="b", scene="c")
    found = given.absolute()
    assert found.input == str(tmp_path / "a.tif")
    assert found.out == str(tmp_path / "home" / "o.zarr")
    assert found.model_copy(update={"input": "a.tif", "out": "~/o.zarr"}) == given
    assert found.absolute() == found


def test_lists_and_what_may_be_left_open(tmp_path):
    train = TrainSettings(out="m", input=("a", "b"), recipe=None).absolute()
    assert train.input == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert train.target == ()
    # A recipe fills in what was not stated.
    assert train.model_fields_set == {"out", "input", "recipe"}
    found = EvaluateSettings(prediction="p", target="t", csv="c.csv").absolute()
    assert (found.csv, found.brightfield) == (str(tmp_path / "c.csv"), None)


MODELS = {
    "a name": ("demo", "demo"),
    "a name that is also a folder here": ("demo", "demo"),
    "a folder": ("mine", "HERE/mine"),
    "neither": ("nowhere", "nowhere"),
}


@pytest.mark.parametrize(("given", "expected"), MODELS.values(), ids=MODELS)
def test_a_model_is_a_path_only_if_it_is_no_name(given, expected, tmp_path, request):
    if "folder" in request.node.callspec.id:
        Path(given).mkdir()
    found = StainSettings(input="a", out="o", model=given).absolute().model
    assert found == expected.replace("HERE", str(tmp_path))


def test_forms_and_help_need_no_torch(subprocess_python):
    verbs = (
        "stain",
        "plan",
        "evaluate",
        "measure",
        "scores",
        "qc",
        "suggest",
        "denoise",
        "doctor",
        "replay",
        "simulate",
        "demo",
    )
    modules = ", ".join(f"napari_virtualstain.jobs.{verb}" for verb in verbs)
    subprocess_python(f"import sys, {modules}; assert 'torch' not in sys.modules")


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_that_is_a_path_says_so(verb):
    named = {
        "input",
        "out",
        "target",
        "against",
        "prediction",
        "brightfield",
        "csv",
        "screenshot",
        "record",
        "pairs",
        "illumination",
        "exclude",
        "folder",
        "add",
        "file",
        "data",
        "labels",
        "keep_as",
        "preview",
        "guides",
        "replicate",
        "source",
        "reference",
        "artifacts",
        "clicks",
        "qc",
        "table",
        "answers",
        "also",
        "maps",
        "regions",
        "predicted_labels",
        "true_labels",
        "index",
    }
    # Of a training it is the name of a method, which is no path.
    kinds = {"encoder"} if verb in ("explain", "suggest") else set()
    if verb == "qc":  # which writes them or not
        named = named - {"maps"}
    fields = _load(VERBS[verb].settings).model_fields
    marked = {name for name, f in fields.items() if list(_marks(f.annotation, f.metadata))}
    assert marked == (
        named | {"model", "start", "perceptual", "fid_features", "denoised_targets"} | kinds
    ) & set(fields)
