"""Training encoders by the command's own settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from little_encoders import write_encoder

from napari_virtualstain.datasets.labelled import CHANNEL, LabelledPicture
from napari_virtualstain.encoders.package import load_encoder_package
from napari_virtualstain.encoders.registry import ENCODERS, build_encoder
from napari_virtualstain.errors import (
    ModelPackageError,
    OutputExistsError,
    RunCancelled,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.jobs import encoder_recipes
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.encoder_recipes import ENCODER_RECIPES
from napari_virtualstain.jobs.labelled_images import PictureData
from napari_virtualstain.jobs.train import TrainSettings, run
from napari_virtualstain.jobs.train_encoder import train_on_pictures
from napari_virtualstain.training.settings import learning_settings

TINY = {
    "preset": "tiny", "steps": 4, "batch": 4, "patch": 32, "narrow_patch": 16, "narrow_views": 2,
    "wide_share": (0.5, 0.8), "narrow_share": (0.1, 0.2), "validate_every": 2, "validation": 0.4,
    "device": "cpu",
}  # fmt: skip


def told(out, encoder="wsdino", **changed):
    return make_settings(TrainSettings, {**TINY, "encoder": encoder, "out": str(out), **changed})


def pictures(
    n=8, *, classes=("x", "y"), channels=("DNA", "ER"), edge=40, label="treatment", depth=0
):
    rng = np.random.default_rng(0)
    shape = (len(channels), *([depth] if depth else []), edge, edge)
    of = []
    for index in range(n):
        name = classes[index % len(classes)]
        # Brighter pictures of later classes, which the numbers of the set keep.
        gain = 1 + 3 * (index % len(classes))
        pixels = (gain * 100 * rng.random(shape)).astype(np.float32)
        of.append(LabelledPicture(f"p{index}", pixels, name, f"g{index}"))
    return PictureData(
        pictures=of, channels=channels, label=label, card={"data": "noise", "pixel_size_um": 0.5}
    )


@pytest.fixture
def small_wells(monkeypatch):
    """Simulated fields of 64 px, which take a tenth of the time."""
    monkeypatch.setattr(encoder_recipes, "_EDGE", 64)
    monkeypatch.setattr(encoder_recipes, "_STACK_EDGE", 48)


@pytest.mark.parametrize("together", [False, True], ids=["each channel", "together"])
@pytest.mark.parametrize("encoder", ["dino", "wsdino", "resnet"])
def test_an_encoder_is_written_with_a_card_that_says_what_it_was_taught(
    tmp_path, encoder, together
):
    data = pictures()
    result = train_on_pictures(data, told(tmp_path / "m", encoder, together=together))
    model = load_encoder_package(tmp_path / "m")
    card = model.card
    assert result.finished
    assert card.encoder == encoder
    assert card.per_channel is not together
    assert card.in_channels == (2 if together else 1)
    assert card.channel_names == ("DNA", "ER")
    assert card.crop_px == (32, 32)
    assert card.pixel_size_um == 0.5
    assert card.label == ("" if encoder == "dino" else "treatment")
    assert card.classes == (("x", "y") if encoder == "resnet" else ())
    assert card.training.steps == 4
    assert card.training.n_fields + card.training.n_validation_fields == 8
    assert card.training.settings["patch"] == 32
    assert (tmp_path / "m" / "training.csv").read_text().startswith("step,")
    assert not (tmp_path / "m.training" / "checkpoint.pt").exists()


def test_the_numbers_of_the_set_are_those_of_the_pictures_that_taught(tmp_path):
    data = pictures()
    train_on_pictures(data, told(tmp_path / "m", validation=0))
    stored = load_encoder_package(tmp_path / "m").card.channels[0].normalisation
    pixels = np.stack([p.pixels[0] for p in data.pictures])
    assert stored.offset == pytest.approx(pixels.mean(), rel=1e-5)
    assert stored.scale == pytest.approx(pixels.std(), rel=1e-5)


def test_pictures_that_are_normalised_by_themselves_leave_no_numbers(tmp_path):
    train_on_pictures(pictures(), told(tmp_path / "m", normalise_stains_on="field"))
    card = load_encoder_package(tmp_path / "m").card
    assert [c.normalisation for c in card.channels] == [None, None]


def test_which_channel_it_is_is_learnt_without_its_name_in_the_numbers(tmp_path):
    data = pictures(label=CHANNEL, classes=(None,))
    train_on_pictures(data, told(tmp_path / "m", "resnet", label=CHANNEL))
    card = load_encoder_package(tmp_path / "m").card
    assert card.classes == ("DNA", "ER")
    assert [c.normalisation for c in card.channels] == [None, None]


def test_volumes_are_told_apart_too(tmp_path):
    data = pictures(depth=16)
    train_on_pictures(data, told(tmp_path / "m", "resnet3d", patch_z=16))
    assert load_encoder_package(tmp_path / "m").card.crop_px == (16, 32, 32)


def test_what_teaches_needs_no_label_of_dino(tmp_path):
    data = pictures(classes=(None,), label="")
    result = train_on_pictures(data, told(tmp_path / "m", "dino"))
    assert result.validation_scores == {}
    assert load_encoder_package(tmp_path / "m").card.training.n_fields == 8


def test_the_average_of_a_teacher_is_not_averaged_again(tmp_path):
    train_on_pictures(pictures(), told(tmp_path / "m"))
    assert load_encoder_package(tmp_path / "m").card.training.settings["ema"] == 0
    train_on_pictures(pictures(), told(tmp_path / "n", "resnet"))
    assert load_encoder_package(tmp_path / "n").card.training.settings["ema"] > 0.9


def test_a_training_begins_with_the_weights_of_another(tmp_path):
    train_on_pictures(pictures(), told(tmp_path / "m", "dino"))
    first = load_encoder_package(tmp_path / "m").encoder.module().state_dict()
    # A teacher with all memory never changes: what is kept is what was begun with.
    train_on_pictures(
        pictures(),
        told(tmp_path / "n", start=str(tmp_path / "m"), method=("teacher_momentum=1",)),
    )
    then = load_encoder_package(tmp_path / "n").encoder.module().state_dict()
    assert all(torch.equal(first[name], then[name]) for name in first)


def test_a_classifier_of_other_classes_gives_what_sees_and_not_what_names(tmp_path):
    train_on_pictures(pictures(), told(tmp_path / "m", "resnet"))
    train_on_pictures(
        pictures(9, classes=("a", "b", "c")),
        told(tmp_path / "n", "resnet", start=str(tmp_path / "m"), validation=0),
    )
    assert load_encoder_package(tmp_path / "n").card.classes == ("a", "b", "c")


def test_a_classifier_begins_with_the_body_of_one_that_tells_nothing_apart(tmp_path):
    first = write_encoder(tmp_path / "body", encoder="efficientnet", in_channels=3, channels=())
    body = load_encoder_package(first).encoder.module().state_dict()
    train_on_pictures(
        pictures(), told(tmp_path / "n", "efficientnet", start=str(first), learning_rate=1e-12)
    )
    model = load_encoder_package(tmp_path / "n")
    assert (model.card.classes, model.card.in_channels) == (("x", "y"), 3)
    then = model.encoder.module().state_dict()
    assert set(then) - set(body) == {"_fc.weight", "_fc.bias"}
    weights = [name for name in body if name.endswith("conv.weight")]
    assert all(torch.allclose(body[name], then[name], atol=1e-6) for name in weights)


def test_weights_of_another_network_are_refused(tmp_path):
    train_on_pictures(pictures(), told(tmp_path / "m", "resnet"))
    for encoder in ("resnet3d", "dino"):
        start = {"start": str(tmp_path / "m"), "recipe": "structure3d", "label": None}
        with pytest.raises(ModelPackageError, match="a resnet, whose network.*Start from one"):
            run(told(tmp_path / "n", encoder, **start))


def test_a_training_that_was_stopped_is_gone_on_with(tmp_path):
    whole = told(tmp_path / "whole", "resnet")
    train_on_pictures(pictures(), whole)
    parts = told(tmp_path / "parts", "resnet")
    asked = iter((False, True))
    stopped = train_on_pictures(pictures(), parts, should_stop=lambda: next(asked))
    assert not stopped.finished
    assert not (tmp_path / "parts").exists()
    with pytest.raises(OutputExistsError, match="--resume"):
        train_on_pictures(pictures(), parts)
    train_on_pictures(pictures(), told(tmp_path / "parts", "resnet", resume=True))
    states = [
        load_encoder_package(tmp_path / name).encoder.module().state_dict()
        for name in ("whole", "parts")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("encoder", "changed", "words"),
    [
        ("wsdino", {"recipe": "wsdino", "patch": 30}, "multiples of 8 px.*--patch 32"),
        (
            "wsdino",
            {"recipe": "wsdino", "narrow_patch": 20},
            "multiples of 8 px.*--narrow-patch 16",
        ),
        ("resnet", {"recipe": "treatment", "patch": 8}, "at least 16.*--patch 16"),
        ("resnet", {"together": True, "label": CHANNEL}, "Leave out --together"),
        ("resnet", {"label": CHANNEL, "normalise_stains_on": "set"}, "Leave out --normalise"),
        ("dino", {"stains": ("DNA",)}, "--stains is for what paints.*--channels"),
        ("dino", {}, "no images to learn from.*--recipe"),
        ("dinno", {"recipe": "dino"}, "dino"),
        ("dino", {"recipe": "dino", "device": "cpu,cpu"}, "one device"),
        ("dino", {"recipe": "dino", "channels": ("DAN",)}, "no 'DAN'.*--channels among DNA"),
        ("wsdino", {"recipe": "wsdino", "label": "dose"}, "no label 'dose'.*--label among"),
        ("resnet3d", {"recipe": "structure3d", "label": "moa"}, "stacks have no label 'moa'"),
        ("resnet", {"data": "/nowhere"}, "no public set.*--input"),
    ],
    ids=lambda value: "" if isinstance(value, str) and len(value) > 9 else None,
)
@pytest.mark.usefixtures("small_wells")
def test_what_cannot_be_learnt_is_said_at_once(tmp_path, encoder, changed, words):
    changed = {"fields": 12, **changed}
    with pytest.raises(VirtualStainError, match=words):
        run(told(tmp_path / "m", encoder, **changed))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (pictures(classes=("x",)), "only one, 'x'"),
        (pictures(9, classes=("x",) * 8 + ("y",)), "'y' has one picture.*--validation 0"),
        (pictures(edge=20), "smaller than a crop of 32 x 32 px.*--patch"),
    ],
    ids=["one class", "a class with one picture", "small pictures"],
)
def test_pictures_that_teach_nothing_are_refused(tmp_path, of, words):
    with pytest.raises(SettingsError, match=words):
        train_on_pictures(of, told(tmp_path / "m", "resnet"))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("encoder", "examining"), [("wsdino", 2), ("resnet", 4)])
def test_what_examines_leaves_enough_to_be_taught_by(tmp_path, encoder, examining):
    """Of three pictures of each class two have to teach as pairs, one as an example."""
    data = pictures(6)
    result = train_on_pictures(data, told(tmp_path / "m", encoder, validation=0.7))
    training = load_encoder_package(tmp_path / "m").card.training
    assert training.n_validation_fields == examining
    assert training.n_fields == 6 - examining
    said = any("since some classes have too few" in note for note in result.notes)
    assert said is (encoder == "wsdino")


def test_missing_channels_are_left_out_and_said(tmp_path):
    data = pictures()
    data.pictures[3].pixels[1] = np.nan
    result = train_on_pictures(data, told(tmp_path / "m", validation=0))
    assert result.notes == ("1 channels with missing (NaN) pixels were left out",)


def test_settings_of_encoders_are_none_of_generators(tmp_path):
    settings = make_settings(
        TrainSettings, {"out": str(tmp_path / "m"), "recipe": "demo", "channels": ("DNA",)}
    )
    with pytest.raises(SettingsError, match="--channels is for what sees.*--encoder"):
        run(settings)


@pytest.mark.parametrize("name", ["wsdino", "mcdino", "treatment", "structure", "structure3d"])
@pytest.mark.usefixtures("small_wells")
def test_a_recipe_learns_from_simulated_cells(tmp_path, name):
    small = {k: v for k, v in TINY.items() if k not in ("wide_share", "narrow_share")}
    small |= {"recipe": name, "out": str(tmp_path / "m"), "fields": 12, "patch_z": 8,
              "validation": 0.1}  # fmt: skip
    if name == "structure3d":
        small |= {"fields": 4}
    told_of = []
    result = run(make_settings(TrainSettings, small), on_progress=lambda *at: told_of.append(at[2]))
    card = load_encoder_package(tmp_path / "m").card
    assert result.finished
    assert card.training.recipe == name
    assert "simulator" in card.training.data
    assert "simulated cells" in card.limits[0]
    assert "fields made ready" in told_of


@pytest.mark.parametrize("name", sorted(ENCODER_RECIPES))
def test_a_recipe_fits_its_encoder(tmp_path, name):
    """Its preset exists, its method takes its settings, its crops are ones that it can see."""
    settings = make_settings(
        TrainSettings, {**ENCODER_RECIPES[name].settings, "out": str(tmp_path / "m")}
    )
    spec = ENCODERS[settings.encoder]
    assert settings.preset in spec.presets
    with torch.device("meta"):
        classes = 2 if spec.learns == "classes" else 0
        encoder = build_encoder(spec.name, in_channels=1, classes=classes, preset=settings.preset)
    learning_settings(encoder.learning, settings)
    for edge in (settings.patch, settings.narrow_patch):
        assert edge % encoder.multiple_of == 0
        assert edge >= encoder.smallest


@pytest.mark.usefixtures("small_wells")
def test_what_cancels_leaves_nothing(tmp_path):
    def cancel(done, total, what):
        if what == "fields made ready":
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        run(told(tmp_path / "m", recipe="wsdino", fields=12), on_progress=cancel)
    assert not (tmp_path / "m").exists()
