"""Scores on fields that taught the model are said to be, whatever the files are called now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_virtualstain.datasets.leakage import Footprint
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate, finetune, scores, seen_before, stain, train
from napari_virtualstain.jobs.seen_before import Remembered, prints_of_taught
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.simulate import FieldSettings, simulate_field

FIELDS = ("a", "b", "c")


@pytest.fixture(scope="module")
def taught(small_fields, tmp_path_factory):
    """A model, and the fields: of which one taught it; ``renamed`` is a copy of the first."""
    root = tmp_path_factory.mktemp("taught")
    other = simulate_field(FieldSettings(shape_px=(96, 96), n_cells=4), seed=3)
    for name, field in zip(FIELDS, (*small_fields, other), strict=True):
        write_field(field, root / name)
    model = root / "mine"
    pairs = [(root / n / "brightfield.ome.zarr", root / n / "stains.ome.zarr") for n in FIELDS[:2]]
    settings = train.TrainSettings(
        input=tuple(str(light) for light, _ in pairs), target=tuple(str(t) for _, t in pairs),
        stains=("DNA",), out=str(model), preset="tiny", steps=3, patch=32, batch=2,
        validate_every=3, validation=0.5,
    )  # fmt: skip
    train.run(settings)
    shutil.copytree(root / "a", root / "renamed")
    return root


def stained(root: Path, name: str, model: Path | None = None) -> str:
    store = root / f"{name}-{(model or root / 'mine').name}.ome.zarr"
    if not store.exists():
        stain.run(stain.StainSettings(
            input=str(root / name / "brightfield.ome.zarr"), model=str(model or root / "mine"),
            out=str(store),
        ))  # fmt: skip
    return str(store)


def notes_on(root: Path, name: str, model: Path | None = None) -> list[str]:
    target = str(root / name / "stains.ome.zarr")
    found = evaluate.run(
        evaluate.EvaluateSettings(prediction=stained(root, name, model), target=target)
    )
    return [note for note in found.notes if "taught the model" in note]


def test_the_field_that_taught_is_known_again_and_the_one_that_examined_is_not(taught):
    said = {name: len(notes_on(taught, name)) for name in FIELDS}
    assert said["c"] == 0
    assert said["a"] + said["b"] == 1
    assert len(notes_on(taught, "renamed")) == said["a"]


def test_a_table_of_scores_counts_them(taught, tmp_path):
    predicted, true = tmp_path / "predicted", tmp_path / "true"
    for name in FIELDS:
        shutil.copytree(stained(taught, name), predicted / f"{name}.ome.zarr")
        shutil.copytree(taught / name / "stains.ome.zarr", true / f"{name}.ome.zarr")
    found = scores.run(scores.ScoresSettings(prediction=str(predicted), target=str(true)))
    (said,) = [note for note in found.notes if "taught the model" in note]
    assert said.startswith("1 of 3 fields taught the model 'mine'")


def test_a_tuned_model_knows_what_taught_it_and_its_parent(taught, tmp_path):
    before = set(read_card(taught / "mine").training.taught)
    out = tmp_path / "tuned"
    pairs = [
        (taught / n / "brightfield.ome.zarr", taught / n / "stains.ome.zarr") for n in ("b", "c")
    ]
    finetune.run(finetune.FinetuneSettings(
        model=str(taught / "mine"), input=tuple(str(light) for light, _ in pairs),
        target=tuple(str(t) for _, t in pairs), out=str(out), steps=2, patch=32, batch=1,
        validate_every=2, hold_back=0.5,
    ))  # fmt: skip
    after = set(read_card(out).training.taught)
    assert before < after


def test_a_model_that_is_gone_says_nothing(taught):
    image = open_image(taught / "a" / "brightfield.ome.zarr")
    for record in ({}, {"model": {"path": str(taught / "nowhere")}}, {"model": {}}):
        found = Remembered()
        found.add(image, record)
        assert found.notes() == []


def test_a_card_of_many_fields_keeps_one_print_each(monkeypatch):
    fields = [Footprint(name=str(n), prints=frozenset({f"{n}a", f"{n}b"})) for n in range(4)]
    assert prints_of_taught(fields, ["1", "2"]) == ("1a", "1b", "2a", "2b")
    monkeypatch.setattr(seen_before, "_FULL", 1)
    assert prints_of_taught(fields, ["1", "2"]) == ("1a", "2a")
