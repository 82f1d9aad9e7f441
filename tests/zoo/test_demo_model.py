"""The bundled model does what its card and the reports say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_virtualstain.generators.package import fingerprint_of
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.qc.reference import REFERENCE_FILE, read_reference
from napari_virtualstain.simulate import (
    STAINS,
    demo_settings,
    fingerprint,
    held_out_settings,
    simulate_field,
)
from napari_virtualstain.zoo import find_model, load_generator

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "simulator.json"


def stained(recipe, folder, **settings):
    """Return the prediction and the truth of a field, (C, Y, X) each."""
    field_settings, seed = recipe
    field = simulate_field(field_settings, seed=seed)
    write_field(field, folder)
    out = folder / "out.ome.zarr"
    below = str(folder / "brightfield.ome.zarr")
    stain.run(stain.StainSettings(input=below, out=str(out), **settings))
    return open_image(out).data[0, :, 0].compute(), field.stains[0]


def correlations(recipe, folder):
    return [pearson(p, t) for p, t in zip(*stained(recipe, folder), strict=True)]


def test_it_is_small_enough_to_be_bundled():
    assert sum(path.stat().st_size for path in find_model("demo").iterdir()) < 10e6


def test_its_card_names_what_it_was_made_of():
    card = load_generator("demo").card
    assert card.stain_names == STAINS
    assert card.licence == "BSD-3-Clause"
    assert fingerprint()[:16] in card.training.data
    assert any("simulated" in limit for limit in card.limits)
    assert [plane.z_offset_um for plane in card.inputs] == [-4.0, 0.0, 4.0]


def test_every_channel_of_the_demo_field_reaches_four_fifths(tmp_path):
    assert min(correlations(demo_settings(), tmp_path)) > 0.8


def test_on_a_field_unlike_its_training_fields_it_beats_the_floor_in_every_channel(tmp_path):
    limits = json.loads(REPORT.read_text())["held_out"]["whole"]
    found = correlations(held_out_settings(100), tmp_path)
    for name, value in zip(STAINS, found, strict=True):
        floor, ceiling = limits["floor"][name], limits["ceiling"][name]
        assert (value - floor) / (ceiling - floor) > 0.4, name


@pytest.mark.slow
def test_on_many_such_fields_it_closes_seven_tenths_of_the_gap(tmp_path):
    limits = json.loads(REPORT.read_text())["held_out"]["whole"]
    runs = [correlations(held_out_settings(i), tmp_path / str(i)) for i in range(100, 112)]
    mean = dict(zip(STAINS, np.mean(runs, axis=0), strict=True))
    closed = [
        (mean[name] - limits["floor"][name]) / (limits["ceiling"][name] - limits["floor"][name])
        for name in STAINS
    ]
    assert np.mean(closed) > 0.7
    assert min(closed) > 0.4


@pytest.mark.slow
def test_a_large_field_in_tiles_is_the_field_as_a_whole(tmp_path):
    from dataclasses import replace

    settings, seed = demo_settings()
    recipe = (replace(settings, shape_px=(1000, 900)), seed)
    tiles, _ = stained(recipe, tmp_path / "tiles", tile=256)
    whole, _ = stained(recipe, tmp_path / "whole", tile=1024)
    span = whole.max(axis=(1, 2), keepdims=True) - whole.min(axis=(1, 2), keepdims=True)
    assert (np.abs(tiles - whole) / span).max() < 1e-5


@pytest.mark.gpu
def test_a_graphics_card_gives_the_stain_of_the_processor(tmp_path):
    cpu, _ = stained(demo_settings(), tmp_path / "cpu", device="cpu")
    gpu, _ = stained(demo_settings(), tmp_path / "gpu", device="cuda")
    span = cpu.max(axis=(1, 2), keepdims=True) - cpu.min(axis=(1, 2), keepdims=True)
    # cuDNN may convolve in TF32, of ten bits.
    assert (np.abs(gpu - cpu) / span).max() < 1e-2


def test_the_demo_model_carries_what_good_predictions_of_it_are_like():
    folder = find_model("demo")
    reference = read_reference(folder / REFERENCE_FILE)
    assert reference.fingerprint == fingerprint_of(folder)
    assert set(reference.stains) == {"DNA", "ER", "RNA", "AGP", "Mito"}
    assert reference.fields >= 100
