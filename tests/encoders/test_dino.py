"""One step of distillation, beside one that is written out."""

from __future__ import annotations

import copy
from math import cos, pi

import pytest
import torch
from torch.nn import functional

from napari_virtualstain.encoders.dino import DinoSettings, WeakSettings
from napari_virtualstain.encoders.learning import Views
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.losses.descent import Moment

EPOCHS = 3.0


def views():
    torch.manual_seed(0)
    wide, narrow = (
        tuple(torch.randn(2, 1, px, px) for _ in range(n)) for n, px in ((2, 32), (3, 16))
    )
    return Views(wide, narrow)


def plain_step(networks, settings, batch, done):
    """Return loss, and teacher and centre after a step; every view by itself."""
    teacher, head, student, student_head, centre = (
        copy.deepcopy(networks[name])
        for name in ("encoder", "head", "student", "student_head", "centre")
    )
    with torch.no_grad():
        seen = [head(teacher(view)) for view in batch.wide]
    targets = [
        functional.softmax((s - centre.value) / settings.teacher_temperature, -1) for s in seen
    ]
    total, count = 0.0, 0
    for n, target in enumerate(targets):
        for m, view in enumerate([*batch.wide, *batch.narrow]):
            if n != m:
                scores = student_head(student(view)) / settings.student_temperature
                total = total - (target * functional.log_softmax(scores, -1)).sum(-1).mean()
                count += 1
    loss = total / count
    weights = [p for net in (student, student_head) for p in net.parameters() if p.requires_grad]
    decay = settings.last_weight_decay + (settings.weight_decay - settings.last_weight_decay) * (
        0.5 * (1 + cos(pi * done))
    )
    adam = torch.optim.AdamW(
        [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    loss.backward()
    adam.step()
    memory = 1 - (1 - settings.teacher_momentum) * 0.5 * (1 + cos(pi * done))
    with torch.no_grad():
        for slow, quick in zip(teacher.parameters(), student.parameters(), strict=True):
            slow.mul_(memory).add_(quick, alpha=1 - memory)
    mean = torch.cat(seen).mean(0, keepdim=True)
    moved = settings.centre_momentum * centre.value + (1 - settings.centre_momentum) * mean
    return float(loss.detach()), teacher.state_dict(), moved


@pytest.mark.parametrize("settings", [DinoSettings(), WeakSettings()], ids=["dino", "wsdino"])
@pytest.mark.parametrize("done", [0.0, 0.4, 1.0])
def test_a_step_is_the_one_of_the_paper(settings, done):
    encoder = build_encoder(
        "dino", in_channels=1, preset="tiny", architecture={"batch_norm": False}
    )
    learner = encoder.learner(settings)
    learner.networks["student_head"].last_layer.weight_v.requires_grad_(True)
    loss, teacher, centre = plain_step(learner.networks, settings, views(), done)
    said = learner.step(views(), Moment(step=0, epoch=EPOCHS, done=done))
    assert said["loss"] == pytest.approx(loss, rel=1e-5)
    for name, value in encoder.module().state_dict().items():
        torch.testing.assert_close(value, teacher[name], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(learner.networks["centre"].value, centre)


def test_prototypes_stay_as_they_were_drawn_in_the_first_epoch():
    learner = build_encoder("dino", in_channels=1, preset="tiny").learner(DinoSettings())
    prototypes = learner.networks["student_head"].last_layer.weight_v
    drawn = prototypes.detach().clone()
    learner.step(views(), Moment(step=0, epoch=0.5))
    torch.testing.assert_close(prototypes.detach(), drawn, rtol=0, atol=0)
    learner.step(views(), Moment(step=1, epoch=1.0))
    assert not torch.equal(prototypes.detach(), drawn)


def test_the_teacher_gets_no_gradient():
    learner = build_encoder("dino", in_channels=1, preset="tiny").learner(DinoSettings())
    learner.step(views(), Moment(step=0, epoch=EPOCHS))
    for name in ("encoder", "head"):
        assert all(p.grad is None for p in learner.networks[name].parameters())


def test_a_teacher_with_all_memory_never_changes():
    encoder = build_encoder("dino", in_channels=1, preset="tiny")
    before = copy.deepcopy(encoder.module().state_dict())
    encoder.learner(DinoSettings(teacher_momentum=1.0)).step(views(), Moment(step=0, epoch=EPOCHS))
    assert all(torch.equal(before[k], v) for k, v in encoder.module().state_dict().items())
