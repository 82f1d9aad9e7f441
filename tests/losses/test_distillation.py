"""The student's loss is that of algorithm 1, and the centre keeps the teacher from one answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.losses.distillation import distillation_loss, moved_centre

RNG = np.random.default_rng(0)


def scores(views, batch=3, k=7):
    return [torch.from_numpy(RNG.normal(size=(batch, k))) for _ in range(views)]


def twin(student, teacher, centre, tps, tpt):
    """Number by number."""
    found = []
    for n, t in enumerate(teacher):
        for m, s in enumerate(student):
            if n == m:
                continue
            for b in range(len(t)):
                p = np.exp((t[b].numpy() - centre[0].numpy()) / tpt)
                q = np.exp(s[b].numpy() / tps)
                found.append(-(p / p.sum() * np.log(q / q.sum())).sum())
    return np.mean(found)


@pytest.mark.parametrize("temperatures", [(0.1, 0.04), (0.07, 0.04), (1.0, 1.0)])
def test_the_loss_is_the_mean_cross_entropy_of_other_views(temperatures):
    student, teacher, centre = scores(5), scores(2), scores(1, batch=1)[0]
    tps, tpt = temperatures
    got = distillation_loss(
        student, teacher, centre, student_temperature=tps, teacher_temperature=tpt
    )
    assert float(got) == pytest.approx(twin(student, teacher, centre, tps, tpt), rel=1e-9)


def test_no_gradient_flows_into_the_teacher():
    student, teacher = scores(3), scores(2)
    for one in (*student, *teacher):
        one.requires_grad_()
    distillation_loss(student, teacher, torch.zeros(1, 7)).backward()
    assert all(one.grad is not None for one in student)
    assert all(one.grad is None for one in teacher)


def test_a_view_alone_is_refused():
    with pytest.raises(ValueError, match="second one"):
        distillation_loss(scores(1), scores(1), torch.zeros(1, 7))


def test_the_centre_is_a_running_mean():
    first, second = scores(2), scores(2)
    centre = moved_centre(torch.zeros(1, 7), first, momentum=0.5)
    centre = moved_centre(centre, second, momentum=0.5)
    means = [torch.cat(views).mean(0) for views in (first, second)]
    torch.testing.assert_close(centre[0], means[0] / 4 + means[1] / 2)


def test_what_the_teacher_always_says_does_not_count():
    student, teacher = scores(3), scores(2)
    always = 5 * torch.ones(1, 7)
    always[0, 3] = 50
    plain = distillation_loss(student, teacher, torch.zeros(1, 7))
    shifted = distillation_loss(student, [t + always for t in teacher], always)
    torch.testing.assert_close(plain, shifted)
