"""What does a network see in a step of its training? A clean picture, mixed with noise.

How much noise is drawn for each sample; with it goes what the network should answer.

=============  =======================================================  =======================
here           papers                                                   where
=============  =======================================================  =======================
``clean``      x_0; y_0 of Palette                                      arXiv:2006.11239, eq. 4
``x``          x_t = sqrt(level) x_0 + sqrt(1 - level) eps              the same
``level``      alpha-bar_t, one of the table, with t from 0 to T - 1    the same
``level``,     gamma ~ U(gamma_{t-1}, gamma_t), with t from 1 to T - 1  arXiv:2104.07636,
continuous                                                              section 2.4, and public
                                                                        code of 2111.05826
``target``     eps, x_0 or v (`diffusion.prediction`)
=============  =======================================================  =======================

Levels are drawn and their roots taken in float64 on the CPU: of ``1 - level`` nothing would be
left in float32 at the clean end. What is drawn follows from the given generator, else from torch's
own state, which a training seeds before each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.diffusion.prediction import Predicts, target_weights
from napari_virtualstain.errors import SettingsError

__all__ = [
    "Noised",
    "draw_levels",
    "mixed",
    "noise_batch",
    "per_sample",
    "standard_normal",
    "without_missing",
]


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """A batch as a network is shown it, and what it should answer.

    Parameters
    ----------
    x
        Between clean and noise, (B, C, *S). Where the clean picture is missing (NaN), of zero.
    target
        What the network should predict, of the same shape; NaN where the clean picture is missing.
    clean
        The clean picture, zero where it is missing.
    known
        Where it is not missing.
    t
        (B,) int64 on the CPU, step of the training schedule.
    level
        (B,) float64 on the CPU; what networks that take no step are told.
    """

    x: torch.Tensor
    target: torch.Tensor
    clean: torch.Tensor
    known: torch.Tensor
    t: torch.Tensor
    level: torch.Tensor


def draw_levels(
    alphas_cumprod: NDArray[np.float64],
    samples: int,
    *,
    continuous: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a step and a noise level for each sample of a batch.

    Parameters
    ----------
    alphas_cumprod
        alpha-bar of the training schedule, (T,), clean end first.
    samples
        B.
    continuous
        Draw the level evenly between two steps, as Palette does, so that a network that is told
        it may be sampled on any schedule.
    generator
        Of the CPU; torch's own state if `None`.

    Returns
    -------
    tuple
        t (B,) int64 and level (B,) float64, on the CPU.

    Raises
    ------
    SettingsError
        If the table is too short to lie between two of its steps.
    """
    table = torch.from_numpy(np.asarray(alphas_cumprod, np.float64))
    first = 1 if continuous else 0
    if len(table) <= first:
        raise SettingsError(
            f"A noise schedule of {len(table)} steps has no level between two of them. "
            "Use a longer schedule."
        )
    t = torch.randint(first, len(table), (samples,), generator=generator)
    if not continuous:
        return t, table[t]
    share = torch.rand(samples, dtype=torch.float64, generator=generator)
    return t, table[t - 1] + share * (table[t] - table[t - 1])


def standard_normal(
    like: torch.Tensor, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return white noise of the shape, type and device of a tensor.

    Parameters
    ----------
    like
        Of any shape.
    generator
        Of any device; torch's own state of the tensor's device if `None`.
    """
    device = like.device if generator is None else generator.device
    drawn = torch.randn(like.shape, dtype=like.dtype, device=device, generator=generator)
    return drawn.to(like.device)


def per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a number of each sample, (B,) float64, as (B, 1, ...) of another's type and device."""
    return values.to(like.dtype).to(like.device).reshape(-1, *(1,) * (like.ndim - 1))


def without_missing(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures with zero where they are NaN, and where they were not."""
    known = torch.isfinite(pictures)
    return torch.where(known, pictures, 0.0), known


def noise_batch(
    alphas_cumprod: NDArray[np.float64],
    clean: torch.Tensor,
    *,
    predicts: Predicts = "eps",
    continuous: bool = False,
    generator: torch.Generator | None = None,
) -> Noised:
    """Return what a network is shown of a batch, and what it should answer.

    Parameters
    ----------
    alphas_cumprod
        alpha-bar of the training schedule, (T,), clean end first.
    clean
        Normalised stains (B, C, *S); NaN is missing.
    predicts
        What the network is taught.
    continuous
        See `draw_levels`.
    generator
        Of the CPU; torch's own state if `None`.

    Raises
    ------
    SettingsError
        If nothing of that name is predicted, or the table is too short.
    """
    t, level = draw_levels(alphas_cumprod, len(clean), continuous=continuous, generator=generator)
    clean, known = without_missing(clean)
    eps = standard_normal(clean, generator=generator)
    x = mixed((level**0.5, (1 - level) ** 0.5), (clean, eps))
    target = mixed(target_weights(predicts, level), (clean, eps))
    return Noised(x, torch.where(known, target, torch.nan), clean, known, t, level)


def mixed(
    weights: Sequence[torch.Tensor | float], pictures: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the sum of pictures (B, C, *S), each times its number or its number of each sample."""
    total = torch.zeros_like(pictures[0])
    for weight, picture in zip(weights, pictures, strict=True):
        share = per_sample(weight, picture) if isinstance(weight, torch.Tensor) else weight
        total = total + share * picture
    return total
