"""How a student learns to see in one view of a picture what a teacher sees in another.

Caron et al. 2021, arXiv:2104.14294, section 3.1, with the letters of algorithm 1: scores s of the
student and t of the teacher, temperatures tps and tpt, the centre C.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

__all__ = ["distillation_loss", "moved_centre"]


def distillation_loss(
    student: Sequence[torch.Tensor],
    teacher: Sequence[torch.Tensor],
    centre: torch.Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> torch.Tensor:
    """Return the mean cross-entropy of each view of the student with each other of the teacher.

    Parameters
    ----------
    student
        Scores (B, K) of all views, those that the teacher sees too first.
    teacher
        Scores (B, K) of the global views; no gradient flows into them.
    centre
        (1, K), see `moved_centre`.
    student_temperature, teacher_temperature
        The smaller, the sharper; 0.07 for the student in WS-DINO.

    Notes
    -----
    Eq. 3, ``-softmax((t - C) / tpt) log softmax(s / tps)``; a view is never compared with itself.
    In WS-DINO (Cross-Zamirski et al. 2022, arXiv:2209.07819) the local views are of another picture
    with the same weak label; the loss is the same.

    Raises
    ------
    ValueError
        If there is nothing to compare.
    """
    terms = []
    for n, seen in enumerate(teacher):
        wanted = ((seen.detach() - centre) / teacher_temperature).softmax(dim=-1)
        for m, scores in enumerate(student):
            if m != n:
                known = functional.log_softmax(scores / student_temperature, dim=-1)
                terms.append(-(wanted * known).sum(dim=-1).mean())
    if not terms:
        raise ValueError("one view alone cannot be compared; give the student a second one")
    return torch.stack(terms).mean()


def moved_centre(
    centre: torch.Tensor, teacher: Sequence[torch.Tensor], *, momentum: float = 0.9
) -> torch.Tensor:
    """Return the running mean of the teacher's scores, which keeps it from one answer to all.

    Parameters
    ----------
    centre
        (1, K) so far; zeros at first.
    teacher
        Scores (B, K) of the global views of a step.
    momentum
        What of the old one stays; 0.8 in WS-DINO's code.

    Notes
    -----
    Eq. 4.
    """
    mean = torch.cat(list(teacher)).detach().mean(dim=0, keepdim=True)
    return momentum * centre + (1 - momentum) * mean
