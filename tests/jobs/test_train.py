"""A training describes itself in the card, stops and goes on, and leaves a model only when it is done."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    DiskError,
    OutputExistsError,
    PixelDataError,
    PixelSizeError,
    SettingsError,
)
from napari_virtualstain.generators.package import load_package, read_card
from napari_virtualstain.inference import device
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import recipes, stain, train
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData

QUICK = {
    "preset": "tiny", "steps": 6, "patch": 16, "batch": 2, "validate_every": 3, "device": "cpu",
}  # fmt: skip
CARD = {
    "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield",
    "z_offsets_um": (-4.0, 4.0), "data": "noise",
}  # fmt: skip


def field(seed, *, shape=(40, 36), planes=2, group=""):
    rng = np.random.default_rng(seed)
    below = rng.normal(500, 50, (planes, *shape)).astype(np.float32)
    above = np.stack([below[0] * 2, below.mean(0) - 7]).astype(np.float32)
    return PairedField(f"field {seed}", below, above, group=group)


def data(*fields, **card):
    return FieldData(fields=fields, stains=("DNA", "ER"), card={**CARD, **card})


def settings(out, **changed):
    return TrainSettings(out=str(out), **{**QUICK, **changed})


def write(path, pixels, channels, *, pixel_size=PixelSize(None, 0.6, 0.6), positions=None):  # noqa: B008
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=channels, n_tiles=1, dtype=str(pixels.dtype),
        pixel_size_um=pixel_size, z_positions_um=positions,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return str(path)


@pytest.fixture
def files(tmp_path):
    """Two time-lapses with two planes of bright field, and their stains."""

    def files(number, *, times=2, **described):
        rng = np.random.default_rng(number)
        below = rng.normal(500, 50, (times, 1, 2, 32, 40)).astype(np.float32)
        above = np.stack([below[:, 0, 0], below[:, 0, 1]], axis=1)[:, :, None]
        lit, stained = [Channel("Brightfield", "transmitted")], [Channel("DNA"), Channel("ER")]
        place = tmp_path / f"field{number}"
        return (
            write(place / "b.ome.zarr", below, lit, **described),
            write(place / "s.ome.zarr", above, stained),
        )

    return files


def test_the_card_says_what_was_learnt_and_from_what(tmp_path):
    fields = [field(i, group=f"well {i // 2}") for i in range(6)]
    result = train_on_fields(data(*fields), settings(tmp_path / "m", validation=0.3, seed=4))
    card = read_card(tmp_path / "m")
    assert (card.training.n_fields, card.training.n_validation_fields) == (4, 2)
    assert (card.training.steps, card.training.seed, card.training.recipe) == (6, 4, "own images")
    assert card.stain_names == ("DNA", "ER")
    assert [stain.expected_pcc for stain in card.stains] == [
        pytest.approx(value, abs=1e-4) for value in result.validation_pcc.values()
    ]
    assert card.inputs[0].statistics.mean == pytest.approx(500, abs=5)
    assert card.feature_statistics["n_fields"] == 4
    rows = list(csv.DictReader((tmp_path / "m" / "training.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert [p.name for p in (tmp_path / "m.training").iterdir()] == ["log.csv"]


def test_wells_are_examined_whole(tmp_path, monkeypatch):
    fields = [field(i, group=f"well {i // 3}") for i in range(6)]
    seen = []
    original = train.fit

    def spy(generator, teach, *args, validation, **options):
        seen.extend([{f.group for f in teach.fields}, {f.group for f in validation.fields}])
        return original(generator, teach, *args, validation=validation, **options)

    monkeypatch.setattr(train, "fit", spy)
    train_on_fields(data(*fields), settings(tmp_path / "m", validation=0.1))
    assert len(seen[1]) == 1
    assert not seen[0] & seen[1]


def test_a_recipe_takes_the_place_of_defaults_and_what_is_stated_wins(tmp_path, monkeypatch):
    made = []

    def fields(n, on_field):
        made.append(n)
        on_field(n, n)
        return [field(i) for i in range(n)]

    recipe = recipes.Recipe(
        name="quick", description="", fields=fields, stains=("DNA", "ER"),
        settings={**QUICK, "fields": 3, "loss": "l2", "validation": 0.4}, card=CARD,
    )  # fmt: skip
    monkeypatch.setitem(recipes.RECIPES, "quick", lambda: recipe)
    told = []
    chosen = TrainSettings(out=str(tmp_path / "m"), recipe="quick", steps=4, fields=4)
    train.run(chosen, on_progress=lambda *a: told.append(a))
    card = read_card(tmp_path / "m")
    assert made == [4]
    assert (card.training.steps, card.training.loss, card.training.recipe) == (4, "l2", "quick")
    assert card.training.settings["batch"] == 2
    assert (4, 4, "fields made ready") in told
    with pytest.raises(SettingsError, match="Use --recipe or --input, not both"):
        train.run(TrainSettings(out=str(tmp_path / "n"), recipe="quick", input=("x",)))


def test_own_images_teach_a_model_that_stains_them(files, tmp_path):
    pairs = [files(i, positions=(-4.0, 4.0)) for i in range(2)]
    chosen = settings(
        tmp_path / "m", input=[p[0] for p in pairs], target=[p[1] for p in pairs],
        stains=("er",), validation=0.5,
    )  # fmt: skip
    train.run(chosen)
    card = read_card(tmp_path / "m")
    assert [plane.z_offset_um for plane in card.inputs] == [-4.0, 4.0]
    assert card.pixel_size_um == pytest.approx(0.6)
    assert (card.training.n_fields, card.training.n_validation_fields) == (2, 2)
    out = str(tmp_path / "o.ome.zarr")
    stain.run(stain.StainSettings(input=pairs[0][0], model=str(tmp_path / "m"), out=out))
    assert open_image(out).shape == (2, 1, 1, 32, 40)


def test_files_that_do_not_say_their_axes_teach_where_they_are_named(tmp_path):
    import tifffile

    one = field(0)
    for name, pixels in (("b", one.planes), ("s", one.stains)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="minisblack", metadata=None)
    given = {
        "input": (str(tmp_path / "b.tif"),), "target": (str(tmp_path / "s.tif"),),
        "stains": ("channel 0", "channel 1"), "pixel_size": 0.5, "validation": 0,
    }  # fmt: skip
    with pytest.raises(AxesError, match="--axes"):
        train.run(settings(tmp_path / "m", **given))
    train.run(settings(tmp_path / "m", axes="zyx", target_axes="cyx", **given))
    card = read_card(tmp_path / "m")
    assert (len(card.inputs), card.stain_names) == (2, ("channel 0", "channel 1"))
    assert card.pixel_size_um == 0.5


def test_positions_that_differ_between_images_are_not_put_on_the_card(files, tmp_path):
    pairs = [files(0, positions=(-4.0, 4.0)), files(1, positions=(-3.0, 3.0))]
    train.run(
        settings(
            tmp_path / "m",
            input=[p[0] for p in pairs],
            target=[p[1] for p in pairs],
            stains=("DNA",),
            validation=0,
        )
    )
    assert [plane.z_offset_um for plane in read_card(tmp_path / "m").inputs] == [None, None]


def test_what_is_masked_teaches_nothing_and_breaks_nothing(tmp_path):
    whole = [field(i) for i in range(3)]
    masked = []
    for i, one in enumerate(whole):
        above = one.stains.copy()
        above[1] = np.nan if i else above[1]  # ER was taken in one field only
        above[0, :9] = np.nan
        masked.append(PairedField(one.name, one.planes, above, group=one.name))
    result = train_on_fields(data(*masked), settings(tmp_path / "m", validation=0.4, seed=2))
    json.dumps(result.to_json(), allow_nan=False)
    text = (tmp_path / "m" / "card.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    model = load_package(tmp_path / "m")
    assert np.isfinite(model.generator.predict(np.zeros((1, 2, 16, 16), np.float32))).all()


def test_validation_fields_without_any_truth_choose_nothing(tmp_path):
    blind = PairedField("blind", field(9).planes, np.full_like(field(9).stains, np.nan))
    seeds = range(50)
    seed = next(s for s in seeds if split_by_group("ab", validation=0.5, seed=s)[1] == (1,))
    fields = [field(0), blind]
    fields = [replace(one, group=letter) for one, letter in zip(fields, "ab", strict=True)]
    result = train_on_fields(data(*fields), settings(tmp_path / "m", validation=0.5, seed=seed))
    assert result.to_json()["validation_loss"] is None
    assert [stain.expected_pcc for stain in read_card(tmp_path / "m").stains] == [None, None]


def test_a_stopped_training_leaves_no_model_and_goes_on_with_the_same_bits(tmp_path):
    fields = data(field(0), field(1), field(2))
    plain = settings(tmp_path / "a", validation=0.3)
    train_on_fields(fields, plain)
    steps = iter(range(1, 100))
    chosen = settings(tmp_path / "b", validation=0.3)
    first = train_on_fields(fields, chosen, should_stop=lambda: next(steps) >= 4)
    assert (first.finished, first.steps) == (False, 4)
    assert not (tmp_path / "b").exists()
    with pytest.raises(OutputExistsError, match="not finished. Go on with it by --resume, or add"):
        train_on_fields(fields, chosen)
    second = train_on_fields(fields, chosen.model_copy(update={"resume": True}))
    assert (second.finished, second.steps) == (True, 6)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    with pytest.raises(SettingsError, match="no checkpoint"):
        train_on_fields(fields, chosen.model_copy(update={"resume": True, "overwrite": True}))


def test_a_training_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    from pathlib import Path

    fields = data(field(0), field(1))
    train_on_fields(fields, settings(tmp_path / "m", validation=0))
    before = (tmp_path / "m" / "card.json").read_bytes()
    original = Path.rename

    def refuse(self, target):
        if self.name.startswith(".m-") and not self.name.endswith(".previous"):
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DiskError, match="the disk is full"):
        train_on_fields(fields, settings(tmp_path / "m", validation=0, seed=1, overwrite=True))
    assert (tmp_path / "m" / "card.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "m.training"]


REFUSED = {
    "no field": (data(), {}, SettingsError, "Give at least one"),
    "other planes": (data(field(0), field(1, planes=3)), {"validation": 0}, ChannelError, "'field 1' has 3.*--z"),
    "one field to split": (data(field(0)), {}, SettingsError, "use --validation 0"),
    "a small field": (data(field(0), field(1, shape=(12, 40))), {"validation": 0}, SettingsError, "smaller than a patch of 16 x 16 px"),
    "a constant stain": (
        data(PairedField("flat", field(0).planes, np.ones_like(field(0).stains))), {"validation": 0},
        PixelDataError, "Stain 'DNA' is constant",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "changed", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_fields_that_cannot_teach_are_refused(fields, changed, kind, sentence, tmp_path):
    with pytest.raises(kind, match=sentence):
        train_on_fields(fields, settings(tmp_path / "m", **changed))
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_teach_together_are_refused(files, tmp_path):
    a, b = files(0), files(1, times=3, pixel_size=PixelSize(None, 0.9, 0.9))
    unknown = files(2, pixel_size=PixelSize())
    cases = [
        ({}, SettingsError, "Nothing to train on"),
        ({"input": (a[0],), "target": (a[1],)}, SettingsError, "e.g. --stains DNA,ER"),
        ({"input": (a[0],), "target": (a[1], b[1]), "stains": ("DNA",)}, SettingsError, "One --target|one --target"),
        ({"input": (a[0],), "target": (b[1],), "stains": ("DNA",)}, SettingsError, "has 2 time points.*3"),
        ({"input": (a[0], b[0]), "target": (a[1], b[1]), "stains": ("DNA",)}, PixelSizeError, "0.6 to 0.9 µm"),
        ({"input": (unknown[0],), "target": (unknown[1],), "stains": ("DNA",)}, PixelSizeError, "State it with --pixel-size"),
    ]  # fmt: skip
    for changed, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            train.run(settings(tmp_path / "m", **changed))
    assert not (tmp_path / "m").exists()


def test_devices_of_several_kinds_do_not_share_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "choose_device", lambda name: name)
    with pytest.raises(SettingsError, match="several kinds.*--device cuda:0,cuda:1"):
        train_on_fields(data(field(0), field(1)), settings(tmp_path / "m", device="cpu, cuda:0"))


def test_stains_normalised_field_by_field_carry_the_badge(tmp_path):
    fields = [field(i) for i in range(3)]
    dimmed = PairedField("dim", fields[0].planes, np.asarray(fields[0].stains) * 0.1 + 3)
    out = tmp_path / "m"
    train_on_fields(data(*fields, dimmed), settings(out, normalise_stains_on="field"))
    card = read_card(out)
    assert card.relative_intensity
    assert {stain.unit for stain in card.stains} == {"SD of its field"}
    assert card.limits[-1].startswith("Relative intensity only: each training field")
    assert all((s.normalisation.offset, s.normalisation.scale) == (0.0, 1.0) for s in card.stains)


def test_stains_normalised_over_the_set_keep_their_amounts(tmp_path):
    train_on_fields(data(field(0), field(1)), settings(tmp_path / "m"))
    card = read_card(tmp_path / "m")
    assert not card.relative_intensity
    assert all(plane.typical_contrast > 0 for plane in card.inputs)


def test_a_gan_is_trained_from_a_regression(tmp_path):
    fields = data(*(field(i, shape=(40, 40)) for i in range(3)))
    train_on_fields(fields, settings(tmp_path / "unet"))
    chosen = settings(
        tmp_path / "gan", generator="wgan_gp", start=str(tmp_path / "unet"), patch=24,
        method=("critic_width=4", "critic_steps=1"),
    )  # fmt: skip
    train_on_fields(fields, chosen)
    card = read_card(tmp_path / "gan")
    assert card.training.settings["critic_width"] == 4
    assert card.training.settings["learning_rate"] == 2e-4
    with (tmp_path / "gan" / "training.csv").open() as file:
        row = next(csv.DictReader(file))
    assert {"train_critic", "train_gradient_norm", "train_pixel", "waited_s"} <= set(row)
