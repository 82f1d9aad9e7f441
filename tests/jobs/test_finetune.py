"""A model is tuned on a handful of images, judged on others, and kept as a model like any other."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtualstain import simulate
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.pairing_file import load_pairs, save_pairs
from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    OutputExistsError,
    SettingsError,
)
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import finetune, pairs, tuning_watch
from napari_virtualstain.jobs.finetune import FinetuneSettings
from napari_virtualstain.jobs.pairs import PairsSettings
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.tuning_alone import go_on_alone, is_alone
from napari_virtualstain.jobs.tuning_fields import open_tuning
from napari_virtualstain.jobs.tuning_run import (
    ask_run,
    looks_in,
    read_crop,
    read_curves,
    read_look,
    read_settings,
    wish_in,
    write_look,
)
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


def test_recalibration_is_offered_by_the_plan_and_moves_no_weight(demo_like, tmp_path):
    model, places = demo_like
    plan = finetune.run(settings(model, places, tmp_path / "m", plan=True))
    assert any("try --preset recalibrate first" in note for note in plan.notes)
    chosen = settings(model, places, tmp_path / "m", preset="recalibrate")
    assert finetune.run(chosen.model_copy(update={"plan": True})).steps == 0
    found = finetune.run(chosen)
    assert (found.finished, found.steps, found.moving) == (True, 0, 0)
    assert found.like_before == pytest.approx(1, abs=1e-4)
    for gain in found.gains:
        assert (gain.by, gain.verdict) == ("MAE", "better")
        assert gain.mae_after == pytest.approx(gain.mae_recalibrated, rel=1e-4)
        assert gain.mae_gain.value == pytest.approx(gain.mae_before - gain.mae_after, rel=1e-3)
    assert any("gain and offset alone have changed" in note for note in found.notes)
    old, new = weights(model), weights(tmp_path / "m")
    assert all((old[name] == new[name]).all() for name in old)
    for before, after in zip(
        load_generator(model).card.stains, read_card(tmp_path / "m").stains, strict=True
    ):
        # The stains were written three times as bright.
        assert 1.5 < after.normalisation.scale / before.normalisation.scale < 5
    assert not (tmp_path / "m.training" / "checkpoint.pt").exists()


def test_recalibration_is_not_offered_where_grey_values_are_right(four, tmp_path):
    plan = finetune.run(settings("demo", four[:2], tmp_path / "m", plan=True))
    assert not any("recalibrate" in note for note in plan.notes)


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


def weights(model):
    return load_generator(model).generator.module().state_dict()


def test_a_tuning_that_is_watched_learns_the_same(tiny_model, four, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_watch, "_PAUSE_S", 0.0)
    monkeypatch.setattr(tuning_watch, "_SHARE", 0)
    told = []
    finetune.run(settings(tiny_model, four, tmp_path / "a", watch=True), on_store=told.append)
    finetune.run(settings(tiny_model, four, tmp_path / "b"))
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((one[name] == other[name]).all() for name in one)
    (folder,) = told
    assert folder == tmp_path / "a.training"
    curves, crop = read_curves(folder), read_crop(folder)
    assert looks_in(folder) == tuple(range(9)) == tuple(point.step for point in curves.points)
    assert (curves.steps, curves.judges, len(curves.stains)) == (8, True, 5)
    assert crop.truth.shape == crop.base.shape == read_look(folder, 8).shape == (5, 96, 96)
    # Before the first step it is the base model, but for how its stains become grey values.
    np.testing.assert_allclose(curves.points[0].pcc, curves.base.pcc, atol=1e-4)
    assert curves.points[0].train is None
    assert curves.points[-1].train > 0
    assert len(curves.floor) == 5
    assert all(0 < floor < 1 for floor in curves.floor)
    assert not looks_in(tmp_path / "b.training")


def test_the_base_model_is_measured_in_the_units_of_the_tuning(tiny_model, tmp_path):
    """Of one held-back field that is watched whole, the loss is that of the grey values written."""
    places = fields(tmp_path / "f", 2, gain=3.0)
    finetune.run(settings(tiny_model, places, tmp_path / "m", watch=True, steps=1))
    folder = tmp_path / "m.training"
    curves, crop = read_curves(folder), read_crop(folder)
    for point, grey in ((curves.base, crop.base), (curves.points[-1], read_look(folder, 1))):
        errors = [
            np.abs(stain.normalisation.apply(g) - stain.normalisation.apply(t)).mean()
            for stain, g, t in zip(read_card(tmp_path / "m").stains, grey, crop.truth, strict=True)
        ]
        assert point.held == pytest.approx(np.mean(errors), rel=1e-3)
    # The old model is returned to grey values by its own numbers, which are of another camera.
    old = load_generator(tiny_model).card.stains[0].normalisation
    assert abs(crop.base[0].mean() - old.invert(np.zeros(1))[0]) < crop.truth[0].mean()


def test_old_looks_are_thinned_and_the_first_and_last_stay(tmp_path):
    (tmp_path / "watch").mkdir()
    for step in range(1, 40):
        write_look(tmp_path, step, np.full((1, 2, 2), step, np.float32), most=5)
    kept = looks_in(tmp_path)
    assert len(kept) <= 6
    assert (kept[0], kept[-1]) == (1, 39)
    assert read_look(tmp_path, 39)[0, 0, 0] == 39
    with pytest.raises(ImageFileError, match="Look at another step"):
        read_look(tmp_path, 2)


def test_whoever_follows_a_run_can_pause_it_and_go_on(tiny_model, four, tmp_path):
    chosen = settings(tiny_model, four, tmp_path / "a", watch=True)
    folder = tmp_path / "a.training"

    def ask(done, total, what):
        if what.startswith("steps") and done == 3:
            ask_run(folder, "pause")

    begun = finetune.run(chosen, on_progress=ask)
    assert (begun.finished, begun.steps) == (False, 4)
    assert wish_in(folder) is None
    kept = FinetuneSettings.model_validate({**read_settings(folder), "resume": True})
    assert kept == chosen.model_copy(update={"resume": True})
    finetune.run(kept)
    finetune.run(settings(tiny_model, four, tmp_path / "b"))
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((one[name] == other[name]).all() for name in one)
    steps = [point.step for point in read_curves(folder).points]
    assert steps == sorted(set(steps))
    assert steps[-1] == 8


def test_whoever_follows_a_run_can_end_it_and_keep_what_it_has(tiny_model, four, tmp_path):
    def ask(done, total, what):
        if what.startswith("steps") and done == 3:
            ask_run(tmp_path / "a.training", "end")

    found = finetune.run(settings(tiny_model, four, tmp_path / "a"), on_progress=ask)
    assert (found.finished, found.steps) == (True, 4)
    assert found.gains
    assert read_card(tmp_path / "a").training.tuned


def test_from_scratch_nothing_of_the_base_model_is_left_but_its_shape(tiny_model, four, tmp_path):
    found = finetune.run(
        settings(tiny_model, four, tmp_path / "m", preset="scratch", steps=1, seed=7)
    )
    base, card = load_generator(tiny_model), read_card(tmp_path / "m")
    assert card.training.parent is None
    assert card.architecture == base.card.architecture
    assert card.title.endswith("from scratch")
    assert abs(found.like_before) < 0.9
    old, new = base.generator.module().state_dict(), weights(tmp_path / "m")
    name = next(name for name, value in old.items() if value.ndim == 4)
    assert abs(np.corrcoef(old[name].ravel(), new[name].ravel())[0, 1]) < 0.5


def test_a_plan_says_who_teaches_and_how_long_it_takes_and_writes_nothing(
    tiny_model, four, tmp_path
):
    chosen = settings(tiny_model, four, tmp_path / "m", plan=True)
    plan = finetune.run(chosen)
    assert sorted(field.role for field in plan.fields) == ["judges", *["teaches"] * 3]
    assert all(field.stains == read_card(tiny_model).stain_names for field in plan.fields)
    assert all(field.shape == (96, 96) for field in plan.fields)
    assert plan.seconds > 0
    assert plan.steps == 8
    assert "of the weights may move" in plan.text()
    assert any("judged on 1 held-back field" in note for note in plan.notes)
    json.dumps(plan.to_json())
    assert not list(tmp_path.iterdir())
    judged = {field.name for field in plan.fields if field.role == "judges"}
    done = finetune.run(chosen.model_copy(update={"plan": False, "watch": True}))
    assert done.finished
    assert set(read_curves(tmp_path / "m.training").fields) == judged


def test_a_plan_says_what_is_doubtful_of_a_field(tiny_model, tmp_path):
    places = fields(tmp_path / "f", 3, edge=128)
    image = open_image(places[0] / "stains.ome.zarr")
    pixels, names = image.data.compute(), list(image.channel_names)
    dna, er = (pixels[:, names.index(name)] for name in ("DNA", "ER"))
    light = open_image(places[0] / "brightfield.ome.zarr").data.compute()[:, 0, 1:2]
    er[:] = np.roll(np.abs(light - light.mean()), 10, axis=-1)
    dna[:] = np.minimum(dna, np.quantile(dna, 0.9))
    shutil.rmtree(places[0] / "stains.ome.zarr")
    write(places[0] / "stains.ome.zarr", pixels, list(image.channels))
    plan = finetune.run(settings(tiny_model, places, tmp_path / "m", plan=True))
    by_name = {field.name: " / ".join(field.notes) for field in plan.fields}
    said = next(notes for name, notes in by_name.items() if str(places[0]) in name)
    assert "ER lies 10.0 px beside the bright field" in said
    assert "DNA: " in said
    assert "of the pixels are saturated" in said
    others = [notes for name, notes in by_name.items() if str(places[0]) not in name]
    assert not any("lies" in notes or "saturated" in notes for notes in others)


@pytest.mark.parametrize("form", ["input", "pairs"])
def test_what_is_painted_over_teaches_nothing(tiny_model, tmp_path, form):
    """An artifact in one stain, painted over: the stains are normalised as if it were not there."""
    places = fields(tmp_path / "f", 3)
    image = open_image(places[0] / "stains.ome.zarr")
    pixels = image.data.compute()
    mask = np.zeros(pixels.shape[-2:], np.uint8)
    mask[10:60, 10:60] = 1
    spoilt = np.where(mask, 60000, pixels).astype(np.float32)
    shutil.rmtree(places[0] / "stains.ome.zarr")
    write(places[0] / "stains.ome.zarr", spoilt, list(image.channels))
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    tifffile.imwrite(tmp_path / "none.tif", np.zeros_like(mask))
    paths = [str(tmp_path / name) for name in ("mask.tif", "none.tif", "none.tif")]
    chosen = settings(tiny_model, places, tmp_path / "m", seed=1, hold_back=0.4)
    if form == "input":
        chosen = chosen.model_copy(update={"exclude": tuple(paths)})
    else:
        file = pairs.run(PairsSettings(input=str(tmp_path / "f"), target=str(tmp_path / "f"))).file
        by_place = dict(zip(map(str, places), paths, strict=True))
        file = file.model_copy(update={
            "pairs": tuple(
                pair.model_copy(update={"exclude": by_place[str(Path(pair.path).parent)]})
                for pair in file.pairs
            )
        })  # fmt: skip
        save_pairs(tmp_path / "pairs.json", file)
        assert load_pairs(tmp_path / "pairs.json").pairs == file.pairs
        chosen = chosen.model_copy(
            update={"input": (), "target": (), "pairs": str(tmp_path / "pairs.json")}
        )
    plan = finetune.run(chosen.model_copy(update={"plan": True}))
    assert not any("saturated" in note for note in plan.fields[0].notes)
    data, _ = open_tuning(chosen, read_card(tiny_model))
    stains = np.asarray(data.fields[0].stains)  # in the order in which they were given
    assert np.isnan(stains[:, mask > 0]).all()
    assert np.nanmax(stains) < 60000


def test_fields_with_parts_left_out_teach_and_judge(tiny_model, four, tmp_path):
    mask = np.ones((96, 96), np.uint8)
    mask[:, 20:80] = 0
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    chosen = settings(
        tiny_model, four[:3], tmp_path / "m", exclude=(str(tmp_path / "mask.tif"),) * 3, steps=3
    )
    found = finetune.run(chosen)
    assert found.finished
    assert all(np.isfinite([gain.pcc_after, gain.mae_after]).all() for gain in found.gains)


def test_a_pairs_file_with_its_own_sets_says_how_many_judge(tiny_model, four, tmp_path):
    found = pairs.run(PairsSettings(input=str(four[0].parent), target=str(four[0].parent))).file
    sets = ["train", "train", "train", "validation"]
    file = found.model_copy(
        update={
            "pairs": tuple(
                pair.model_copy(update={"set": name})
                for pair, name in zip(found.pairs, sets, strict=True)
            )
        }
    )
    save_pairs(tmp_path / "pairs.json", file)
    chosen = settings(tiny_model, four, tmp_path / "m", plan=True).model_copy(
        update={"input": (), "target": (), "pairs": str(tmp_path / "pairs.json")}
    )
    plan = finetune.run(chosen)
    assert any(note.startswith("judged on 1 held-back field") for note in plan.notes)


def test_as_many_pictures_are_left_out_as_there_are_inputs(tiny_model, four, tmp_path):
    with pytest.raises(SettingsError, match="Name one --exclude an --input"):
        finetune.run(settings(tiny_model, four, tmp_path / "m", exclude=("a.tif",)))


def test_a_tuning_goes_on_by_itself_to_the_same_weights(tiny_model, four, tmp_path):
    chosen = settings(tiny_model, four, tmp_path / "a")
    folder = tmp_path / "a.training"

    def ask(done, total, what):
        if what.startswith("steps") and done == 3:
            ask_run(folder, "pause")

    assert not finetune.run(chosen, on_progress=ask).finished
    process = go_on_alone(folder, None)
    until = time.monotonic() + 60
    while not is_alone(folder) and time.monotonic() < until:
        time.sleep(0.02)
    assert is_alone(folder)
    assert process.wait(120) == 0, (folder / "alone.log").read_text()
    assert not is_alone(folder)
    finetune.run(settings(tiny_model, four, tmp_path / "b"))
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("stopped", [False, True], ids=["at once", "stopped and gone on with"])
def test_a_learning_curve_says_what_more_fields_would_bring(tiny_model, four, tmp_path, stopped):
    chosen = settings(tiny_model, four, tmp_path / "m", curve=True, steps=4)
    if stopped:
        asked = iter(range(10_000))
        found = finetune.run(chosen, should_stop=lambda: next(asked) == 9)  # 4 + 4 + 1 steps
        assert not found.finished
        kept = json.loads((tmp_path / "m.training" / "fewer.json").read_text())
        assert list(kept) == ["0"]
        chosen = chosen.model_copy(update={"resume": True})
    found = finetune.run(chosen)
    assert found.finished
    assert [one.sizes for one in found.outlooks] == [(1, 2, 3)] * 5
    # Three fields teach: of ten more nothing can be said, of nine something can.
    assert all("9 more fields would bring" in one.words for one in found.outlooks)
    assert all(one.gain is not None for one in found.outlooks)
    after = {gain.stain: gain.pcc_after for gain in found.gains}
    for one, stain in zip(found.outlooks, after, strict=True):
        assert one.scores[-1] == pytest.approx(after[stain], abs=1e-3)
        assert one.words in found.notes
    assert not list((tmp_path / "m.training").glob("fewer-*"))
    json.dumps(found.to_json())


def test_a_curve_changes_nothing_of_what_is_learnt(tiny_model, four, tmp_path):
    for name, curve in (("a", True), ("b", False)):
        finetune.run(settings(tiny_model, four[:3], tmp_path / name, curve=curve, steps=3))
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("stopped", [False, True], ids=["at once", "stopped and gone on with"])
def test_each_field_judges_once(tiny_model, four, tmp_path, stopped):
    chosen = settings(tiny_model, four[:3], tmp_path / "m", judge_each=True, steps=4)
    if stopped:
        asked = iter(range(10_000))
        found = finetune.run(chosen, should_stop=lambda: next(asked) == 9)  # 4 + 4 + 1 steps
        assert not found.finished
        kept = json.loads((tmp_path / "m.training" / "folds.json").read_text())
        assert list(kept) == ["0"]
        chosen = chosen.model_copy(update={"resume": True})
    found = finetune.run(chosen)
    assert (found.finished, found.folds) == (True, 3)
    assert found.to_json()["folds"] == 3
    assert any(note.startswith("each of 3 fields judges once") for note in found.notes)
    kept = json.loads((tmp_path / "m.training" / "folds.json").read_text())
    judged = [{place.split()[0] for place in one["places"]} for one in kept.values()]
    assert len(judged) == 2
    assert not judged[0] & judged[1]
    assert not list((tmp_path / "m.training").glob("folds-*"))


def test_those_who_only_judge_change_nothing_of_what_is_learnt(tiny_model, four, tmp_path):
    found = {}
    for name, each in (("a", True), ("b", False)):
        chosen = settings(tiny_model, four[:3], tmp_path / name, judge_each=each, steps=3)
        found[name] = finetune.run(chosen)
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((one[name] == other[name]).all() for name in one)
    assert found["b"].folds == 1
    # One field of three judged alone; all of them say something else.
    before = [[gain.pcc_before for gain in found[name].gains] for name in ("a", "b")]
    assert before[0] != before[1]


def test_the_only_field_judges_with_both_of_its_parts(tiny_model, four, tmp_path):
    found = finetune.run(settings(tiny_model, four[:1], tmp_path / "m", judge_each=True, steps=2))
    assert found.folds == 2


def test_the_plan_counts_the_tunings_that_only_judge(tiny_model, four, tmp_path):
    plans = [
        finetune.run(
            settings(tiny_model, four[:3], tmp_path / "m", plan=True, judge_each=each, budget=60.0)
        )
        for each in (False, True)
    ]
    assert plans[1].seconds - plans[0].seconds == pytest.approx(120, abs=30)


def test_the_docs_name_every_number_of_a_result(tiny_model, four, tmp_path):
    found = finetune.run(settings(tiny_model, four[:3], tmp_path / "m", curve=True, steps=2))
    page = (Path(__file__).parents[2] / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    table = page.split("### As numbers")[1].split("## Stain these next")[0]
    values = found.to_json()
    entries = [values["gains"][0], values["gains"][0]["pcc_gain"], values["outlooks"][0]]
    for name in {name for one in (values, *entries) for name in one}:
        assert f"`{name}`" in table, name
