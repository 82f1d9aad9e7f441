"""A model is tuned on a handful of images, judged on others, and kept as a model like any other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_virtualstain import simulate
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    SettingsError,
)
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import finetune
from napari_virtualstain.jobs.finetune import FinetuneSettings
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.zoo import load_generator


def fields(folder, count, *, edge=96, gain=1.0):
    """Write simulated fields, with stains that a camera of another gain would record."""
    found = []
    for n in range(count):
        settings, seed = simulate.training_settings(n)
        made = simulate.simulate_field(replace(settings, shape_px=(edge, edge)), seed=seed)
        write_field(replace(made, stains=made.stains * gain), folder / str(n))
        found.append(folder / str(n))
    return found


def settings(model, places, out, **more):
    return FinetuneSettings(
        model=str(model), out=str(out),
        input=tuple(str(p / "brightfield.ome.zarr") for p in places),
        target=tuple(str(p / "stains.ome.zarr") for p in places),
        **{"steps": 8, "batch": 2, "validate_every": 4, **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return fields(tmp_path_factory.mktemp("four"), 4)


@pytest.mark.parametrize("preset", ["quick", "adapter", "full"])
def test_the_tuned_model_is_a_model_and_says_what_it_was(tiny_model, four, tmp_path, preset):
    result = finetune.run(settings(tiny_model, four, tmp_path / "m", preset=preset))
    base, card = load_generator(tiny_model), read_card(tmp_path / "m")
    assert card.training.parent == base.fingerprint
    assert card.architecture == base.card.architecture
    assert card.stain_names == base.card.stain_names
    assert card.training.recipe == f"finetune {preset}"
    assert set(base.card.limits) <= set(card.limits)
    assert card.training.tuned["DNA"]["pcc_after"] == pytest.approx(
        next(gain.pcc_after for gain in result.gains if gain.stain == "DNA")
    )
    tuned = load_generator(tmp_path / "m")  # repeats its test pair
    planes = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    assert not np.array_equal(tuned.generator.predict(planes), base.generator.predict(planes))
    assert (result.finished, result.steps) == (True, 8)
    assert 0 < result.moving <= result.of * 2
    json.dumps(result.to_json())
    assert "could move" in result.text()


def test_a_tuning_twice_with_one_seed_gives_one_model(tiny_model, four, tmp_path):
    for name in ("a", "b"):
        finetune.run(settings(tiny_model, four, tmp_path / name, preset="adapter"))
    one, other = (load_generator(tmp_path / name).generator.module() for name in ("a", "b"))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert (a == b).all()


def test_a_tuning_that_was_stopped_ends_as_the_undisturbed_one(tiny_model, four, tmp_path):
    stops = iter([False] * 5 + [True])
    chosen = settings(tiny_model, four, tmp_path / "a", preset="adapter")
    begun = finetune.run(chosen, should_stop=lambda: next(stops))
    assert (begun.finished, begun.steps) == (False, 6)
    assert not (tmp_path / "a").exists()
    finetune.run(chosen.model_copy(update={"resume": True}))
    finetune.run(settings(tiny_model, four, tmp_path / "b", preset="adapter"))
    one, other = (load_generator(tmp_path / name).generator.module() for name in ("a", "b"))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert (a == b).all()


def test_another_gain_is_mended_by_recalibration_alone_and_that_is_said(demo_like, tmp_path):
    model, places = demo_like
    found = finetune.run(settings(model, places, tmp_path / "m", steps=1, learning_rate=1e-9))
    for gain in found.gains:
        assert gain.mae_recalibrated < 0.7 * gain.mae_before
        assert gain.mae_after < gain.mae_before  # the new normalisation is such a recalibration
        assert abs(gain.pcc_gain.value) < 0.02
    assert any("a gain and an offset alone explain" in note for note in found.notes)


@pytest.fixture(scope="module")
def demo_like(tmp_path_factory):
    return "demo", fields(tmp_path_factory.mktemp("bright"), 3, edge=128, gain=3.0)


def test_one_field_teaches_with_a_part_and_is_judged_on_another(tiny_model, tmp_path):
    one = fields(tmp_path / "f", 1, edge=160)
    found = finetune.run(settings(tiny_model, one, tmp_path / "m"))
    assert any("a part of the same field, which is weaker" in note for note in found.notes)
    card = read_card(tmp_path / "m")
    assert (card.training.n_fields, card.training.n_validation_fields) == (1, 1)


def test_few_fields_are_said_to_be_few(tiny_model, four, tmp_path):
    found = finetune.run(settings(tiny_model, four, tmp_path / "m"))
    assert any("judged on 1 held-back field" in note for note in found.notes)


def write(path, pixels, channels):
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=channels, n_tiles=1,
        pixel_size_um=PixelSize(y=0.6, x=0.6),
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels.astype(np.float32))
        sink.commit(0)
        sink.finish({})


def test_stains_that_the_images_lack_stay_as_the_model_had_them(tiny_model, tmp_path):
    places = fields(tmp_path / "f", 2)
    for place in places:
        made = np.random.default_rng(0).normal(500, 50, (1, 1, 1, 96, 96))
        write(place / "dapi.ome.zarr", made, [Channel("DAPI")])
    chosen = settings(tiny_model, places, tmp_path / "m").model_copy(
        update={"target": tuple(str(p / "dapi.ome.zarr") for p in places)}
    )
    found = finetune.run(chosen)
    assert any("not in these images" in note and "ER" in note for note in found.notes)
    base, card = read_card(tiny_model), read_card(tmp_path / "m")
    by_name = {stain.name: stain for stain in base.stains}
    for stain in card.stains:
        same = stain.normalisation == by_name[stain.name].normalisation
        assert same == (stain.name != "DNA")
    lacking = [gain for gain in found.gains if gain.stain != "DNA"]
    assert {gain.verdict for gain in lacking} == {"too little to tell"}


REFUSED = {
    "nothing to tune on": ({"input": (), "target": ()}, SettingsError, "--input and --target"),
    "a stain that the model has not": ({"stains": ("GFP",)}, ChannelError, "virtualstain train"),
    "other planes": ({"z": (0,)}, ChannelError, "Choose as many with --z"),
    "no such model": ({"model": "nothing"}, Exception, "nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tuned_is_one_sentence(tiny_model, four, tmp_path, case):
    changed, error, sentence = REFUSED[case]
    with pytest.raises(error, match=sentence):
        finetune.run(settings(tiny_model, four, tmp_path / "m").model_copy(update=changed))
    assert not (tmp_path / "m").exists()


def test_a_model_that_is_there_is_not_replaced_unasked(tiny_model, four, tmp_path):
    finetune.run(settings(tiny_model, four, tmp_path / "m"))
    with pytest.raises(OutputExistsError):
        finetune.run(settings(tiny_model, four, tmp_path / "m"))
    finetune.run(settings(tiny_model, four, tmp_path / "m", overwrite=True))
