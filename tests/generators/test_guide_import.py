"""A classifier of others leads a model of ours: with its numbers, on its own noise, or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_virtualstain.cli import main
from napari_virtualstain.errors import (
    ModelPackageError,
    PixelDataError,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.generators.card import InputPlane, LabelKind, ModelCard, Stain
from napari_virtualstain.generators.importers.guide import recognise_guide
from napari_virtualstain.generators.package import load_package, save_package
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.models import ModelsSettings, run
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.nets.guided_classifier import GuidedClassifier
from napari_virtualstain.nets.published import Content

SIZES = {"width": 32, "multipliers": [1, 2], "blocks": 1, "groups": 32, "classes": [3]}
LABELS = (LabelKind(name="treatment", classes=("a", "b", "c")),)


@pytest.fixture(autouse=True)
def models_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))


def stirred(module):
    """Give the layers that begin as zero something to say."""
    torch.manual_seed(3)
    for values in module.parameters():
        if not values.abs().sum():
            torch.nn.init.normal_(values, std=0.1)
    return module.eval()


def painter(folder, name="guided_i2i", **more):
    sizes = {k: v for k, v in {**SIZES, **more}.items() if name == "guided_i2i" or k != "classes"}
    made = build_generator(name, in_channels=2, out_channels=1, architecture=sizes)
    stirred(made.module())
    card = ModelCard(
        name=folder.name, generator=name, architecture=sizes,
        inputs=(InputPlane(channel="Brightfield"),) * 2,
        stains=(Stain(name="DNA", normalisation=Normalisation()),),
        labels=LABELS if name == "guided_i2i" else (), pixel_size_um=0.5,
        training=TrainingReport(
            recipe="own images", data="noise", n_fields=1, n_validation_fields=0, steps=1, seed=0,
            loss="l1",
        ),
    )  # fmt: skip
    save_package(folder, card, made, np.zeros((1, 2, 16, 16), np.float32))
    return made


def classifier(path, *, pool="attention", channels=3, classes=3):
    made = stirred(
        GuidedClassifier(
            channels, classes, width=64, multipliers=(1, 2), blocks=1, pool=pool, image=16
        )
    )
    torch.save(made.state_dict(), path)
    return made


def imported(tmp_path, **changed):
    stated = {
        "action": "import", "file": str(tmp_path / "model150000.pt"), "out": str(tmp_path / "led"),
        "guides": str(tmp_path / "plain"), "trained_on": "palette",
    }  # fmt: skip
    return run(ModelsSettings(**{**stated, **changed}))


def drawn(generator, edge=16, **how):
    planes = np.random.default_rng(0).normal(size=(2, 2, edge, edge)).astype(np.float32)
    return draw_sample(generator, planes, Sampling(steps=3, **how), seed=1)


@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_a_classifier_becomes_a_part_of_the_model_that_it_leads(pool, tmp_path):
    plain = painter(tmp_path / "plain")
    guide = classifier(tmp_path / "model150000.pt", pool=pool)
    imported(tmp_path)
    model = load_package(tmp_path / "led")
    led = model.generator
    pictures = torch.randn(2, 3, 16, 16)
    steps = torch.tensor([1999.0, 3.0])
    with torch.inference_mode():
        torch.testing.assert_close(led.guide(pictures, steps), guide(pictures, steps))
    labels = (1,)
    unled = drawn(plain, labels=labels)
    np.testing.assert_array_equal(drawn(led, labels=labels), unled)
    told = []
    led.guide.register_forward_pre_hook(lambda _, given: told.append(float(given[1][0])))
    assert np.abs(drawn(led, labels=labels, guidance=3.0) - unled).max() > 1e-3
    assert told == [1999.0, 1332.0, 666.0]  # the step, and no level
    assert ("learnt positions" in " ".join(model.card.limits)) == (pool == "attention")
    if pool == "attention":
        with pytest.raises(PixelDataError, match="learnt positions of pictures of 16 px"):
            drawn(led, edge=32, labels=labels, guidance=3.0)
    else:
        drawn(led, edge=32, labels=labels, guidance=3.0)


def test_the_classifier_of_a_model_is_replaced(tmp_path):
    painter(tmp_path / "plain", guide_width=32, guide_multipliers=[1, 2])
    guide = classifier(tmp_path / "model150000.pt")
    imported(tmp_path)
    state = load_package(tmp_path / "led").generator.module().state_dict()
    for name, value in guide.state_dict().items():
        torch.testing.assert_close(state[f"guide.{name}"], value)


def test_the_published_classifier_is_recognised_by_its_shapes():
    with torch.device("meta"):
        published = GuidedClassifier(8, 59)
        found = recognise_guide(Content(state=published.state_dict(), beside={}))
        assert (found.channels, found.classes, found.image) == (8, 59, 512)
        again = build_generator(
            "guided_i2i", in_channels=3, out_channels=5,
            architecture={"classes": (59,), **found.architecture},
        )  # fmt: skip
    assert sum(p.numel() for p in again.guide.parameters()) == 107_518_139
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (published, again.guide)]
    assert shapes[0] == shapes[1]


REFUSED = {
    "no model": ({"guides": None}, SettingsError, "paints nothing. Name the model.*--guides"),
    "nobody says on which noise": (
        {"trained_on": None}, SettingsError, "does not say on which noise.*--trained-on palette",
    ),
    "another schedule": (
        {"trained_on": "guided-diffusion"}, ModelPackageError,
        "trained on the schedule guided-diffusion, and 'plain' draws on palette.*same schedule",
    ),
    "no schedule": ({"trained_on": "palete"}, UnknownNameError, "palette"),
    "another method": ({"guides": "other"}, SettingsError, "guides guided_i2i alone. Name another"),
    "what a card says": ({"pixel_size": 0.5}, SettingsError, "Leave out --pixel-size"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_a_classifier_that_cannot_lead_is_refused(changed, kind, words, tmp_path):
    painter(tmp_path / "plain")
    classifier(tmp_path / "model150000.pt")
    if changed.get("guides"):
        painter(tmp_path / "other", "palette")
        changed = {"guides": str(tmp_path / "other")}
    with pytest.raises(kind, match=words):
        imported(tmp_path, **changed)
    assert not (tmp_path / "led").exists()


@pytest.mark.parametrize("wrong", [{"classes": 4}, {"channels": 5}], ids=["classes", "channels"])
def test_a_classifier_of_other_classes_or_channels_is_refused(wrong, tmp_path):
    painter(tmp_path / "plain")
    classifier(tmp_path / "model150000.pt", **wrong)
    with pytest.raises(ModelPackageError, match="has 3 classes, and 3 planes and stains. Use a"):
        imported(tmp_path)


def test_weights_that_are_not_all_of_a_classifier_are_refused_with_three_names(tmp_path):
    painter(tmp_path / "plain")
    state = classifier(tmp_path / "model150000.pt").state_dict()
    lost = sorted(name for name in state if name.startswith("middle_block.1"))[:5]
    torch.save({k: v for k, v in state.items() if k not in lost}, tmp_path / "model150000.pt")
    with pytest.raises(ModelPackageError, match=f"{', '.join(lost[:3])} and 2 more missing"):
        imported(tmp_path)


def test_other_weights_lead_nothing(tmp_path, capsys):
    painter(tmp_path / "plain")
    made = build_generator("unet", in_channels=2, out_channels=1, preset="tiny")
    torch.save(made.module().state_dict(), tmp_path / "w.pth")
    options = ["models", "import", str(tmp_path / "w.pth"), "--out", str(tmp_path / "x")]
    assert main([*options, "--guides", str(tmp_path / "plain")]) == 1
    assert "is no classifier that guides" in capsys.readouterr().err


@pytest.mark.parametrize("edge", [16, 32])
def test_a_stain_is_led_in_the_one_size_and_refused_in_another_before_it_is_drawn(edge, tmp_path):
    painter(tmp_path / "plain")
    classifier(tmp_path / "model150000.pt")
    imported(tmp_path)
    shape, light = (1, 1, 2, edge, edge), str(tmp_path / "b.ome.zarr")
    with OmeZarrSink.create(
        light, shape=shape, channels=[Channel("Brightfield")], n_tiles=1
    ) as sink:
        pixels = np.random.default_rng(0).normal(500, 50, shape).astype(np.float32)
        sink.write(tuple(slice(0, n) for n in shape), pixels)
        sink.commit(0)
    settings = StainSettings(
        input=light, model=str(tmp_path / "led"), out=str(tmp_path / "o.ome.zarr"), pixel_size=0.5,
        sampling_steps=2, told=("treatment=b",), guidance=2.0, device="cpu",
    )  # fmt: skip
    if edge == 16:
        assert np.isfinite(open_image(stain.run(settings).out).data.compute()).all()
        return
    with pytest.raises(
        SettingsError, match="positions of images of 16 x 16 px.*this one is 32 x 3"
    ):
        stain.run(settings)
    assert not (tmp_path / "o.ome.zarr").exists()
    unled = settings.model_copy(update={"guidance": 0.0})
    assert np.isfinite(open_image(stain.run(unled).out).data.compute()).all()


def test_the_command_line_makes_one_model_of_both(tmp_path, capsys):
    painter(tmp_path / "plain")
    classifier(tmp_path / "model150000.pt")
    options = ["models", "import", str(tmp_path / "model150000.pt"), "--out", str(tmp_path / "led")]
    assert main([*options, "--guides", str(tmp_path / "plain"), "--trained-on", "palette",
                 "--json"]) == 0  # fmt: skip
    made = json.loads(capsys.readouterr().out)
    assert made["generator"] == "guided_i2i"
    assert any("model150000.pt" in limit for limit in made["limits"])
