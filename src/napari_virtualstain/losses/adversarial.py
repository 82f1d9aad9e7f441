"""What two networks at odds make small: one tells stains from predictions, one makes them alike.

Conditional terms: a critic is given stains and the planes that they belong to, and returns a map of
scores. Its score of a sample is the mean of that map, here and in the penalty. Missing stains (NaN)
are zeros for the critic, in truth and prediction alike (`fill_missing`), so that nothing is learned
from them.

Notes
-----
Wasserstein with gradient penalty (I. Gulrajani et al. 2017, arXiv:1704.00028): with planes x,
stains y and prediction y~, the critic makes

    D(x, y~) - D(x, y) + lambda (||grad_h D(x, h)|| - 1)^2,    h = eps y + (1 - eps) y~

small (their algorithm 1, line 7), and the generator -D(x, y~). The theses whose systems these are
print otherwise in two places. Venieri (see `nets.critic3d`), algorithm 1, line 8, has
h = eps x + (1 - eps) y~, a mixture of bright field and stains; with equation 1.9 of the same text
it must be y. Cross-Zamirski (Cambridge 2023) has the scores with the other sign in equation 3.20,
and the penalty maximised with them in 4.4. The critic published with doi:10.1038/s41598-022-12914-x
was trained with another penalty still: see `GradientNorm`.

Many codes bound the gradient of the sum of the scores and compare their means. With a map of M
scores that is a penalty M times as strong: the norm is one at once, and the critic too flat to tell
truth from prediction. With the mean the norm settles somewhat above one, by about W / (2 lambda)
for a Wasserstein distance W (setting the derivative of -s W + lambda (s - 1)^2 by s to zero).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from napari_virtualstain.errors import unknown_name
from napari_virtualstain.losses.pixel import masked_mean

__all__ = [
    "ADVERSARIAL",
    "AdversarialLoss",
    "Critic",
    "GradientNorm",
    "feature_distance",
    "fill_missing",
    "get_adversarial",
    "gradient_norms",
    "gradient_penalty",
]

Critic = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes stains (B, C, *S) and planes (B, P, *S), returns scores (B, 1, *S')."""

GradientNorm = Literal["sample", "as-published"]
"""What the penalty wants to be one.

``sample``: the norm, over all stains and pixels of a sample, of the gradient of its score.
``as-published``: what the code of doi:10.1038/s41598-022-12914-x does. The gradient of the sum of
the scores, with respect to stains and planes, and at each pixel its norm over channels. It bounds
no Lipschitz constant, and with BatchNorm in the critic it is not even that of one sample; it is
there to have that paper's numbers again."""


@dataclass(frozen=True, slots=True)
class AdversarialLoss:
    """The terms of a game.

    Parameters
    ----------
    critic
        From scores of true stains and scores of predicted ones, what the critic makes small.
    generator
        From scores of predicted stains, what the generator makes small.
    """

    critic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    generator: Callable[[torch.Tensor], torch.Tensor]


def _wasserstein_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return fake.mean() - real.mean()


def _minus_mean(fake: torch.Tensor) -> torch.Tensor:
    return -fake.mean()


def _least_squares_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _least_squares_generator(fake: torch.Tensor) -> torch.Tensor:
    return (fake - 1).square().mean()


def _vanilla_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    # softplus(-s) is -log sigmoid(s), softplus(s) is -log(1 - sigmoid(s)).
    return (functional.softplus(-real).mean() + functional.softplus(fake).mean()) / 2


def _vanilla_generator(fake: torch.Tensor) -> torch.Tensor:
    return functional.softplus(-fake).mean()


def _hinge_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


ADVERSARIAL: dict[str, AdversarialLoss] = {
    "wasserstein": AdversarialLoss(_wasserstein_critic, _minus_mean),
    "lsgan": AdversarialLoss(_least_squares_critic, _least_squares_generator),
    "vanilla": AdversarialLoss(_vanilla_critic, _vanilla_generator),
    "hinge": AdversarialLoss(_hinge_critic, _minus_mean),
}
"""Terms by name.

``wasserstein``: arXiv:1704.00028; needs the gradient penalty. ``lsgan``: squares about 1 (true)
and 0, arXiv:1611.04076. ``vanilla``: cross-entropy of scores as logits, the generator's in the form
that does not saturate, arXiv:1406.2661. pix2pix (arXiv:1611.07004, section 3.3) halves the critic's
term, which slows it beside the generator; so do we, in both. ``hinge``: arXiv:1705.02894, the one
of SPADE (arXiv:1903.07291)."""


def get_adversarial(name: str) -> AdversarialLoss:
    """Return adversarial terms by name.

    Raises
    ------
    UnknownNameError
        If there are none of that name.
    """
    if name in ADVERSARIAL:
        return ADVERSARIAL[name]
    raise unknown_name("adversarial loss", name, ADVERSARIAL)


def fill_missing(fake: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predicted and true stains for a critic, with zeros in both where there is no truth.

    A critic can then neither tell them apart by what is missing, nor send the generator a gradient
    for it: that is exactly zero there.

    Parameters
    ----------
    fake
        Predicted stains (B, C, *S).
    real
        True stains (B, C, *S), NaN where missing.
    """
    known = torch.isfinite(real)
    return torch.where(known, fake, 0.0), torch.where(known, real, 0.0)


def feature_distance(fake: Sequence[torch.Tensor], real: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return how far apart a critic finds predicted and true stains, in its own features.

    T.-C. Wang et al. 2018, arXiv:1711.11585, equation 3, for a critic of one scale; A. Larsen et
    al. 2016, arXiv:1512.09300, equation 7, from which VAE-GANs have their name, take the square in
    one layer.

    Parameters
    ----------
    fake, real
        What each layer sees, (B, C', *S'); no gradient goes to the true ones.

    Returns
    -------
    torch.Tensor
        The mean over layers of the mean absolute difference. Theirs is the sum over layers.
    """
    each = [(f - r.detach()).abs().mean() for f, r in zip(fake, real, strict=True)]
    return torch.stack(each).mean()


def gradient_norms(
    critic: Critic,
    fake: torch.Tensor,
    real: torch.Tensor,
    planes: torch.Tensor,
    eps: torch.Tensor,
    *,
    norm: GradientNorm = "sample",
) -> torch.Tensor:
    """Return how steep a critic is between truth and prediction, as a graph to learn from.

    In float32, outside of mixed precision: gradients of gradients are small numbers.

    Parameters
    ----------
    critic
        See `Critic`.
    fake
        Predicted stains (B, C, *S); no gradient goes back to them.
    real
        True stains (B, C, *S), NaN where missing and not filled: what is missing does not count.
    planes
        Bright field (B, P, *S), the condition.
    eps
        Uniform in 0 to 1, one a sample (B,): the share of the truth.
    norm
        See `GradientNorm`.

    Returns
    -------
    torch.Tensor
        (B,), or (B, *S) as published. NaN for samples (as published: pixels) without any truth.
    """
    known = torch.isfinite(real)
    fake, real = fill_missing(fake.detach(), real)
    share = eps.reshape(-1, *(1,) * (real.ndim - 1)).to(real)
    between = (share * real + (1 - share) * fake).requires_grad_()
    if norm == "sample":
        scores = critic(between, planes)
        # The score of a sample is a mean over its map; samples do not depend on each other.
        score = scores.flatten(1).mean(dim=1).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        norms = torch.linalg.vector_norm(torch.where(known, gradient, 0.0).flatten(1), dim=1)
        measured = known.flatten(1).any(dim=1)
    else:
        condition = planes.detach().clone().requires_grad_()
        score = critic(between, condition).sum()
        gradient, of_planes = torch.autograd.grad(score, (between, condition), create_graph=True)
        joined = torch.cat([torch.where(known, gradient, 0.0), of_planes], dim=1)
        norms = torch.linalg.vector_norm(joined, dim=1)
        measured = known.any(dim=1)
    return torch.where(measured, norms, torch.nan)


def gradient_penalty(norms: torch.Tensor) -> torch.Tensor:
    """Return the mean square of what norms are away from one; see `gradient_norms`."""
    return masked_mean((norms - 1).square(), torch.isfinite(norms))
