"""Fields that should be stained next: the rare kind first, with reasons, as a table."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from drawn_models import package
from judged_stores import write_image
from little_encoders import write_encoder
from torch import nn

from napari_virtualstain import simulate
from napari_virtualstain.api import suggest
from napari_virtualstain.cli.main import main
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.errors import (
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    VirtualStainError,
)
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.jobs import pairs
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.pairs import PairsSettings
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.suggest import SuggestSettings
from napari_virtualstain.jobs.suggest_field import FieldLooker

EDGE = 192


def write_light(path, seed, **more):
    settings = simulate.FieldSettings(**{"shape_px": (EDGE, EDGE), "n_cells": 8, **more})
    made = simulate.simulate_field(settings, seed=seed)
    write_field(made, path.parent, only={"brightfield": path})
    return path


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Usual fields that are stained already, and a plate with one crowded field in well B2."""
    root = tmp_path_factory.mktemp("suggest")
    for seed in range(4):
        write_light(root / "stained" / f"f{seed}.ome.zarr", seed)
    store = PlateStore(root / "plate.ome.zarr", name="plate", rows=2, columns=2)
    for n, (row, column, site) in enumerate(
        (r, c, s) for r in range(2) for c in range(2) for s in range(2)
    ):
        rare = {"n_cells": 24} if (row, column, site) == (1, 1, 1) else {}
        inner = field_path(row, column, str(site))
        write_light(store.path / inner, 20 + n, **rare)
        store.add(row, column, str(site))
    return root


@pytest.fixture(scope="module")
def found(plates):
    return suggest(
        plates / "plate.ome.zarr", pairs=plates / "stained", out=str(plates / "next.csv"), count=5
    )


def test_the_rare_field_comes_first_and_says_why(found):
    first = found.fields[0]
    assert (first.well, first.site) == ("B02", "1")
    assert "unlike those that are known" in first.why
    assert "the first of well plate/B02" in first.why
    assert (found.looked_at, found.known, len(found.fields)) == (8, 4, 5)
    assert len({one.well for one in found.fields[:4]}) == 4
    assert first.name in found.text()
    json.dumps(found.to_json())


def test_the_table_says_the_same(found, plates):
    with (plates / "next.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scene"] for row in rows] == [one.scene for one in found.fields]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["why"] == found.fields[0].why


def test_the_order_is_that_of_the_seed(found, plates, capsys):
    line = ["suggest", "--input", plates / "plate.ome.zarr", "--pairs", plates / "stained",
            "--count", "5", "--json", "--quiet"]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["fields"] == found.to_json()["fields"]


def test_fields_that_are_stained_are_not_suggested(plates, tiny_model):
    everything = suggest(
        plates / "stained", plates / "plate.ome.zarr", pairs=plates / "stained", model=tiny_model
    )
    assert everything.looked_at == 8
    with pytest.raises(PixelDataError, match="have a true stain already"):
        suggest(plates / "stained", pairs=plates / "stained")


def test_a_pairs_file_says_what_is_stained(tmp_path, tiny_model):
    for n in range(3):
        settings = simulate.FieldSettings(shape_px=(64, 64), n_cells=3)
        write_field(simulate.simulate_field(settings, seed=n), tmp_path / "all" / str(n))
    pairs.run(
        PairsSettings(
            input=str(tmp_path / "all"), target=str(tmp_path / "all"),
            out=str(tmp_path / "pairs.json"),
        )
    )  # fmt: skip
    file = load_pairs(tmp_path / "pairs.json")
    path = tmp_path / "two.json"
    path.write_text(file.model_copy(update={"pairs": file.pairs[:2]}).model_dump_json())
    lights = [tmp_path / "all" / str(n) / "brightfield.ome.zarr" for n in range(3)]
    result = suggest(*lights, model=tiny_model, pairs=path)
    taken = {pair.path for pair in file.pairs[:2]}
    assert [one.path for one in result.fields] == [str(p) for p in lights if str(p) not in taken]
    assert result.known == 2


def test_what_cannot_be_looked_at_is_left_out_and_said(plates, tiny_model, tmp_path):
    flat = np.full((1, 1, 3, 64, 64), 7.0)
    write_image(tmp_path / "flat.ome.zarr", flat, [Channel("Brightfield", modality="transmitted")])
    said = []
    result = suggest(
        plates / "stained", tmp_path / "flat.ome.zarr", model=tiny_model, on_note=said.append
    )
    assert len(result.fields) == 4
    assert any("1 image left out; the first, flat.ome.zarr" in note for note in said)
    assert any("name it with --pairs" in note for note in said)
    with pytest.raises(VirtualStainError):
        suggest(tmp_path / "flat.ome.zarr", model=tiny_model)


def test_of_too_many_fields_some_of_each_well_are_looked_at(plates, tiny_model):
    result = suggest(plates / "plate.ome.zarr", model=tiny_model, most=4)
    assert {one.well for one in result.fields} == {"A01", "A02", "B01", "B02"}
    assert "4 of 8 fields were looked at" in result.notes[0]
    other = suggest(plates / "plate.ome.zarr", model=tiny_model, most=4, seed=3)
    assert {one.scene for one in other.fields} != {one.scene for one in result.fields}


def test_an_encoder_may_say_what_fields_are_like(plates, tiny_model, tmp_path):
    encoder = write_encoder(tmp_path / "eye", channels=())
    args = {"model": tiny_model, "pairs": plates / "stained", "count": 8}
    seen = suggest(plates / "plate.ome.zarr", encoder=str(encoder), **args)
    plain = suggest(plates / "plate.ome.zarr", **args)
    assert [one.novelty for one in seen.fields] != [one.novelty for one in plain.fields]
    by_scene = {one.scene: one.doubt for one in plain.fields}
    assert all(one.doubt == by_scene[one.scene] for one in seen.fields)


def test_a_model_that_does_not_care_how_a_field_lies_contradicts_itself_nowhere():
    """Turned back, a picture that was turned is itself: else doubt would be of our own making."""
    same = nn.Conv2d(2, 2, 1, bias=False)
    same.weight.data = torch.eye(2)[:, :, None, None]

    class Stainer:
        def network(self, t):
            return prepare_network(same)

    looker = FieldLooker(SuggestSettings(input=("a",), views=8))
    planes = np.random.default_rng(0).normal(size=(2, 32, 48)).astype(np.float32)
    painted, spread = looker._stained(Stainer(), planes)
    assert painted == pytest.approx(planes, abs=1e-6)
    assert spread.max() < 1e-6


def test_of_a_model_that_draws_doubt_is_how_its_draws_differ(tiny_model, tmp_path):
    model = package("palette", tiny_model, tmp_path)
    path = write_light(tmp_path / "f.ome.zarr", 0, shape_px=(48, 48))
    (field,) = listed_images(
        str(path), scene=None, axes=None, pattern=None, out=str(tmp_path / "out")
    )

    def doubt(seed):
        asked = SuggestSettings(input=(str(path),), model=str(model), views=2, seed=seed)
        return FieldLooker(asked).look(field).doubt

    assert doubt(0) == doubt(0) != doubt(1)
    assert doubt(0) > 0


def test_a_table_is_not_replaced_unasked_and_a_cancelled_run_leaves_none(plates, tmp_path):
    path = tmp_path / "next.csv"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        suggest(plates / "stained", out=str(path))
    assert path.read_text() == "mine"

    def stop(done, total, what):
        if done == 2:
            raise RunCancelled("no")

    with pytest.raises(RunCancelled):
        suggest(plates / "stained", out=str(tmp_path / "other.csv"), on_progress=stop)
    assert not (tmp_path / "other.csv").exists()
