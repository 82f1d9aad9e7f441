"""Encoders in the training loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.datasets.labelled import LabelledPicture, label_up
from napari_virtualstain.encoders.registry import ENCODERS, build_encoder
from napari_virtualstain.intensity import Rule
from napari_virtualstain.training.loop import learn
from napari_virtualstain.training.seeing import Classifying, Viewing
from napari_virtualstain.training.settings import LoopSettings, ViewSettings

SETTINGS = LoopSettings(
    steps=30, batch=8, patch=32, learning_rate=3e-3, ema=0.0, validate_every=10,
)  # fmt: skip
VIEWS = ViewSettings(
    narrow_views=2, narrow_patch=16, wide_share=(0.5, 0.6), narrow_share=(0.1, 0.2)
)


def textures(n=12, *, ndim=2, seed=0):
    """Pictures of two kinds, of coarse and of fine grain, in both channels."""
    rng = np.random.default_rng(seed)
    of = []
    for index in range(n):
        grain = rng.normal(size=(2, *((48,) * 2 if ndim == 2 else (20, 32, 32))))
        kind = ("coarse", "fine")[index % 2]
        if kind == "coarse":
            for axis in range(1, 1 + ndim):
                grain = sum(np.roll(grain, k, axis) for k in range(6))
        of.append(LabelledPicture(f"p{index}", grain, kind))
    return of


def made(of, *, label="treatment", per_channel=False):
    return label_up(
        of, channels=("a", "b"), per_channel=per_channel, label=label, classes=("coarse", "fine"),
        rule=Rule(), normalise_on="field",
    )  # fmt: skip


def task_of(name, *, per_channel=False, validation=True):
    spec = ENCODERS[name]
    classes = 2 if spec.learns == "classes" else 0
    encoder = build_encoder(
        name, in_channels=1 if per_channel else 2, classes=classes, preset="tiny"
    )
    train = made(textures(ndim=spec.ndim), per_channel=per_channel)
    held = (
        made(textures(6, ndim=spec.ndim, seed=1), per_channel=per_channel) if validation else None
    )
    crop = (32,) * 2 if spec.ndim == 2 else (16, 32, 32)
    if spec.learns == "classes":
        return encoder, Classifying(encoder, train, SETTINGS, validation=held, crop=crop)
    return encoder, Viewing(
        encoder, train, SETTINGS, validation=held, crop=crop, views=VIEWS,
        weak=spec.learns == "labelled views",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["resnet", "resnet3d"])
def test_a_classifier_learns_which_grain_is_which(tmp_path, name):
    _, task = task_of(name)
    result = learn(task, SETTINGS, folder=tmp_path)
    assert result.best.scores == (1.0, 1.0)
    assert result.best.loss < 0.5
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert "validation accuracy" in log[0]
    assert "train_accuracy" in log[0]
    assert len(log) == 4


@pytest.mark.parametrize("name", ["dino", "wsdino"])
@pytest.mark.parametrize("per_channel", [True, False], ids=["each channel", "all channels"])
def test_what_is_kept_is_the_teacher_that_found_its_like(tmp_path, name, per_channel):
    _, task = task_of(name, per_channel=per_channel)
    result = learn(task, SETTINGS, folder=tmp_path)
    assert result.best is not None
    assert result.best.scores[0] == pytest.approx(1 - result.best.loss)
    assert task.examine().scores == result.best.scores
    assert result.best.scores[0] > 0.5


@pytest.mark.parametrize("name", ["wsdino", "resnet"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, name):
    whole, task = task_of(name)
    learn(task, SETTINGS, folder=tmp_path / "whole")
    parts, task = task_of(name)
    asked = iter(range(99))
    stopped = learn(
        task, SETTINGS, folder=tmp_path / "parts", should_stop=lambda: next(asked) == 13
    )
    assert not stopped.finished
    parts, task = task_of(name)
    learn(task, SETTINGS, folder=tmp_path / "parts", resume=True)
    states = [one.module().state_dict() for one in (whole, parts)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_without_validation_pictures_the_last_weights_are_kept(tmp_path):
    _, task = task_of("dino", validation=False)
    assert task.examine() is None
    assert learn(task, SETTINGS, folder=tmp_path).best is None


def test_an_epoch_is_when_as_many_pictures_were_drawn_as_there_are():
    _, task = task_of("resnet")
    assert task.seen_a_step == SETTINGS.batch / 12
