"""Encoders that others published are recognised by names and shapes, and see what they saw."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_virtualstain.encoders.importers import SEEING, recognise_encoder
from napari_virtualstain.encoders.importers.convert import (
    StatedOfEncoder,
    convert_encoder,
    pictures_for_test,
)
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.importers import recognise
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.nets.projection import Projection
from napari_virtualstain.nets.published import Content, read_checkpoint
from napari_virtualstain.nets.resnet import ResNet
from napari_virtualstain.nets.vit import VisionTransformer

SIZES = {"patch": 8, "dim": 128, "depth": 2, "image": 32}


def vit(channels=3, **changed):
    torch.manual_seed(channels)
    sizes = {**SIZES, **changed}
    return VisionTransformer(channels, heads=sizes["dim"] // 64, **sizes).eval()


def checkpoint(net, *, of_several_cards=False, teacher=True, **arguments):
    """What a training of DINO writes: two networks with their heads, and all that is beside."""
    torch.manual_seed(1)
    head = Projection(net.dim, 40, hidden=24, bottleneck=16)

    def both(prefix):
        named = {f"{prefix}backbone.{k}": v for k, v in net.state_dict().items()}
        return named | {f"{prefix}head.{k}": v for k, v in head.state_dict().items()}

    held = {
        "student": {k: torch.zeros_like(v) for k, v in both("module.").items()},
        "teacher": both("module." if of_several_cards else ""),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 4e-6}]},
        "epoch": 200,
        "args": argparse.Namespace(patch_size=8, out_dim=40, local_crops_scale=(0.05, 0.4),
                                   channel_headers=["DAPI"], gpu=0, **arguments),
        "dino_loss": {"center": torch.zeros(1, 40)},
        "fp16_scaler": {"scale": 65536.0},
    }  # fmt: skip
    if not teacher:
        del held["teacher"]
    return held


def alone(net):
    return dict(net.state_dict())


WS = {"weak_label_header": "Unique_Compounds"}
LAYOUTS = {
    "DINO, the backbone alone": (3, alone, "dino", "vision transformer (ViT-128/8)"),
    "timm, with a head": (3, lambda n: {**alone(n), "head.weight": torch.zeros(10, 128),
                                        "head.bias": torch.zeros(10)},
                          "dino", "vision transformer (ViT-128/8)"),
    "DINO, the full checkpoint": (3, checkpoint, "dino", "DINO (ViT-128/8)"),
    "DINO of several cards": (3, lambda n: checkpoint(n, of_several_cards=True), "dino",
                              "DINO (ViT-128/8)"),
    "WS-DINO": (3, lambda n: checkpoint(n, **WS), "wsdino", "WS-DINO (ViT-128/8)"),
    "multi-channel DINO": (5, checkpoint, "dino", "multi-channel DINO (ViT-128/8, 5 channels)"),
    "one channel": (1, alone, "dino", "vision transformer (ViT-128/8)"),
}  # fmt: skip
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


def opened(held, path):
    torch.save(held, path)
    found = recognise_encoder(read_checkpoint(path))
    assert found is not None
    return found


def convert(found, **stated):
    return convert_encoder(
        found, StatedOfEncoder(**stated), name="m", file="w.pth", sha256="ab" * 32
    )


def pictures(channels, edges=(32, 40)):
    return np.random.default_rng(0).normal(size=(2, channels, *edges)).astype(np.float32)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_sees_what_it_saw(name, tmp_path):
    channels, disguise, encoder, kind = LAYOUTS[name]
    net = vit(channels)
    found = opened(disguise(net), tmp_path / "w.pth")
    card, built = convert(found, channels=STAINS if channels == len(STAINS) else ())
    assert (card.encoder, card.imported.format, card.in_channels) == (encoder, kind, channels)
    assert card.architecture.items() >= {**SIZES, "heads": 2}.items()
    assert card.crop_px == (32, 32)
    given = pictures(channels)
    with torch.no_grad():
        wanted = net(torch.from_numpy(given)).numpy()
    np.testing.assert_array_equal(built.features(given), wanted)


def test_a_full_checkpoint_says_how_large_its_head_was(tmp_path):
    found = opened(checkpoint(vit()), tmp_path / "w.pth")
    sizes = {"prototypes": 40, "hidden": 24, "bottleneck": 16}
    assert found.architecture.items() >= sizes.items()
    assert "epoch 200" in found.data


def test_safetensors_of_timm_are_read(tmp_path):
    save_file(alone(vit()), tmp_path / "model.safetensors")
    found = recognise_encoder(read_checkpoint(tmp_path / "model.safetensors"))
    assert (found.encoder, found.architecture["heads"]) == ("dino", 2)


def test_grey_values_are_normalised_as_published_or_as_it_is_stated(tmp_path):
    weak = opened(checkpoint(vit(), **WS), tmp_path / "w.pth")
    card, _ = convert(weak)
    np.testing.assert_allclose(
        card.normalisation.apply(np.array([0, 5000, 60000], np.uint16)), [0, 0.5, 1.0]
    )
    assert (card.label, card.channels, card.per_channel) == ("Unique_Compounds", (), True)
    assert any("10000" in limit for limit in card.limits)

    many = opened(checkpoint(vit(5)), tmp_path / "w.pth")
    card, _ = convert(many, channels=STAINS)
    assert card.normalisation == Normalisation(scale=255.0)
    assert any("8 bit only" in limit for limit in card.limits)
    card, _ = convert(many, channels=STAINS, normalise="zscore")
    assert (card.normalisation, card.input_rule.kind) == (None, "zscore")
    assert not any("8 bit" in limit for limit in card.limits)

    plain = opened(alone(vit()), tmp_path / "w.pth")
    card, _ = convert(plain)
    assert (card.normalisation, card.input_rule.kind, card.licence) == (None, "zscore", "")


def test_the_sum_of_the_first_layer_sees_a_channel_as_if_it_were_repeated(tmp_path):
    found = opened(alone(vit()), tmp_path / "w.pth")
    repeated, thrice = convert(found)
    summed, once = convert(found, adapt="sum")
    assert (repeated.in_channels, summed.in_channels) == (3, 1)
    assert repeated.per_channel
    assert summed.per_channel
    given = pictures(1)
    np.testing.assert_allclose(
        once.features(given), thrice.features(np.repeat(given, 3, axis=1)), atol=1e-5
    )
    assert any("sum" in limit for limit in summed.limits)
    assert any("given to it 3 times" in limit for limit in repeated.limits)


def test_the_mean_of_the_first_layer_takes_channels_together(tmp_path):
    found = opened(alone(vit()), tmp_path / "w.pth")
    card, built = convert(found, adapt="mean", channels=STAINS)
    assert (card.in_channels, card.per_channel, card.channel_names) == (5, False, STAINS)
    # Channels that are alike are seen as three of them were.
    _, before = convert(found)
    given = pictures(1)
    np.testing.assert_allclose(
        built.features(np.repeat(given, 5, axis=1)),
        before.features(np.repeat(given, 3, axis=1)), atol=1e-5,
    )  # fmt: skip
    assert any("3/5" in limit and "trained further" in limit for limit in card.limits)


def test_several_channels_go_together_or_each_by_itself_as_is_stated(tmp_path):
    found = opened(alone(vit()), tmp_path / "w.pth")
    card, _ = convert(found, channels=("DNA", "ER", "RNA"))
    assert (card.per_channel, card.channel_names) == (False, ("DNA", "ER", "RNA"))
    card, _ = convert(found, channels=("DNA", "ER"), adapt="repeat")
    assert (card.per_channel, card.channel_names) == (True, ("DNA", "ER"))


@pytest.mark.parametrize("patch", [8, 16])
def test_the_patch_size_is_that_of_the_weights(patch, tmp_path):
    found = opened(alone(vit(patch=patch, image=64)), tmp_path / "w.pth")
    card, built = convert(found)
    assert (card.architecture["patch"], built.multiple_of, card.crop_px) == (patch, patch, (64, 64))


# Classifiers.

NETS = {
    "planes, bottlenecks": {"ndim": 2, "blocks": (1, 2), "width": 4, "bottleneck": True},
    "planes, plain": {"ndim": 2, "blocks": (2, 1), "width": 4, "bottleneck": False},
    "volumes": {"ndim": 3, "blocks": (1, 1), "width": 4, "bottleneck": False},
}
RESNETS = {
    "alone": lambda s: s,
    "of several cards": lambda s: {f"module.{k}": v for k, v in s.items()},
    "of Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
    "of an old torch": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


def resnet(channels=1, classes=3, **settings):
    torch.manual_seed(0)
    net = ResNet(channels, classes, **{**NETS["planes, plain"], **settings})
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("layout", RESNETS)
@pytest.mark.parametrize("name", NETS)
def test_a_classifier_gives_the_scores_that_it_gave(name, layout, tmp_path):
    settings = NETS[name]
    net = resnet(**settings)
    found = opened(RESNETS[layout](net.state_dict()), tmp_path / "w.pth")
    card, built = convert(found, classes=("a", "b", "c"))
    assert card.encoder == ("resnet" if settings["ndim"] == 2 else "resnet3d")
    assert card.architecture == settings
    assert card.classes == ("a", "b", "c")
    given = pictures(1, (16, 24, 32)[-settings["ndim"] :])
    with torch.no_grad():
        wanted = net(torch.from_numpy(given)).softmax(1).numpy()
    np.testing.assert_array_equal(built.scores(given), wanted)
    assert pictures_for_test(built).shape[:2] == (2, 1)


def test_the_published_resnet_50_is_known():
    with torch.device("meta"):
        state = ResNet(3, 1000).state_dict()
    found = recognise_encoder(Content(state=state, beside={}))
    assert (found.format, found.classes, found.in_channels) == ("ResNet-50 over planes", 1000, 3)


# What does not fit.

FALLS_SHORT = {
    "channels that nobody names": (5, {}, r"takes 5 channels together.*--stains, in their order"),
    "too few channels": (5, {"channels": ("DNA", "ER")},
                         r"takes 5 channels, and --stains names 2 \(DNA, ER\).*--adapt"),
    "more channels than it takes": (3, {"channels": STAINS}, r"takes 3 channels, .* names 5 .*mean"),
    "one channel twice": (3, {"channels": ("DNA", "DNA", "ER")}, r"names one twice.*Name each once"),
    "a mean of nothing": (3, {"adapt": "mean"}, r"Name them with --stains"),
    "classes of none": (3, {"classes": ("a", "b")}, r"tells no classes apart. Leave out --classes"),
}  # fmt: skip


@pytest.mark.parametrize("name", FALLS_SHORT)
def test_what_the_file_cannot_say_is_asked_for(name):
    channels, stated, words = FALLS_SHORT[name]
    found = recognise_encoder(Content(state=alone(vit(channels)), beside={}))
    with pytest.raises(SettingsError, match=words) as caught:
        convert(found, **stated)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "words"),
    [((), r"tells 3 classes apart, without.*--classes"), (("a", "b"), r"--classes names 2"),
     (("a", "b", "b"), r"--classes names 3\. Name each once")],
    ids=["none", "too few", "one twice"],
)  # fmt: skip
def test_the_classes_of_a_classifier_are_asked_for(classes, words):
    found = recognise_encoder(Content(state=resnet().state_dict(), beside={}))
    with pytest.raises(SettingsError, match=words):
        convert(found, classes=classes)


def without(name):
    return lambda s: {k: v for k, v in s.items() if k != name}


DAMAGED = {
    "a part that is missing": (without("blocks.1.mlp.fc2.bias"), "blocks.1.mlp.fc2.bias missing"),
    "no positions": (without("pos_embed"), "lack a part of it .*pos_embed"),
    "registers": (lambda s: {**s, "reg_token": torch.zeros(1, 4, 128)}, "reg_token too many"),
    "places in no square": (lambda s: {**s, "pos_embed": torch.zeros(1, 18, 128)},
                            "17 places and 128 features, and this version"),
    "long patches": (lambda s: {**s, "patch_embed.proj.weight": torch.zeros(128, 3, 8, 16)},
                     "patches of 8 x 16 px"),
    "other heads": (lambda s: {**s, "patch_embed.proj.weight": torch.zeros(100, 3, 8, 8)},
                    "100 features"),
    "no numbers": (lambda s: {**s, "norm.bias": torch.full((128,), torch.nan)},
                   "no numbers: norm.bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_weights_that_do_not_run_here_are_refused_in_a_sentence(name):
    change, words = DAMAGED[name]
    with pytest.raises(ModelPackageError, match=words) as caught:
        convert(recognise_encoder(Content(state=change(alone(vit())), beside={})))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_student_without_its_teacher_is_refused(tmp_path):
    torch.save(checkpoint(vit(), teacher=False), tmp_path / "w.pth")
    with pytest.raises(ModelPackageError, match="a student and no teacher"):
        recognise_encoder(read_checkpoint(tmp_path / "w.pth"))


def test_what_paints_is_no_encoder_and_the_other_way_round():
    state = {"down_path.0.block.0.weight": torch.zeros(4, 3, 3, 3), "last.weight": torch.zeros(1)}
    assert recognise_encoder(Content(state=state, beside={})) is None
    with pytest.raises(ModelPackageError, match=r"look like no method.*WS-DINO.*ResNet"):
        recognise(Content(state=alone(vit()), beside={}))


def test_every_format_has_a_name_of_its_own():
    assert len({one.name for one in SEEING}) == len(SEEING)
