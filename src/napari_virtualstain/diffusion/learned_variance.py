"""How does a network learn the variance of its steps? By the variational bound.

It is made small beside the mean error of eps, by the variance alone: the mean is held fast in it.

=================  =====================================================  =====================
here               paper                                                  where
=================  =====================================================  =====================
``fraction``       v, on a scale from -1 to 1 as the code has it          arXiv:2102.09672,
                   (the paper: 0 to 1), between log beta-tilde and        eq. 15
                   log beta
the bits           L_{t-1}, and L_0 at t = 0; in bits, as the code has    eq. 4 to 6
                   it
the sum            L_hybrid = L_simple + lambda L_vlb, L_vlb a sum over   eq. 16
                   T steps, lambda 0.001: with one t drawn a sample,
                   ``simple + T / 1000 * bits``
=================  =====================================================  =====================

Departing from the code, the cumulative Gaussian of L_0 is exact and no approximation by tanh. That
of guided-diffusion, which SPADE-diffusion (arXiv:2207.00050) takes over, is for pictures of 8 bits
on a scale from -1 to 1; step and ends of the grey scale are parameters here.
"""

from __future__ import annotations

from math import log

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.diffusion.forward import Noised, mixed, per_sample
from napari_virtualstain.diffusion.posterior import posterior
from napari_virtualstain.diffusion.prediction import Predicts, clean_weights
from napari_virtualstain.errors import SettingsError

__all__ = ["variational_bits"]

_LEAST_PROBABILITY = 1e-12


def variational_bits(
    alphas_cumprod: NDArray[np.float64],
    noised: Noised,
    prediction: torch.Tensor,
    fraction: torch.Tensor,
    *,
    predicts: Predicts = "eps",
    grey_step: float = 2 / 255,
    limits: tuple[float, float] | None = (-1.0, 1.0),
) -> torch.Tensor:
    """Return the term of the variational bound of each pixel, in bits.

    Parameters
    ----------
    alphas_cumprod
        alpha-bar of the training schedule, (T,), clean end first.
    noised
        From `forward.noise_batch` with this table, not continuous.
    prediction
        Of the network, (B, C, *S); no gradient goes through it.
    fraction
        Where the network puts the log-variance, (B, C, *S), from -1 (beta-tilde) to 1 (beta); it
        may lie beyond.
    predicts
        What ``prediction`` is.
    grey_step
        By how much two neighbouring grey values differ, for the last step.
    limits
        Darkest and brightest value, whose bins are open; `None` for pictures that end nowhere.

    Returns
    -------
    torch.Tensor
        (B, C, *S). Where the clean picture is missing it means nothing: average over
        ``noised.known``.

    Raises
    ------
    SettingsError
        If levels lie between the steps of the table, or prediction and fraction are of other
        shapes.
    """
    table = torch.from_numpy(np.asarray(alphas_cumprod, np.float64))
    if int(noised.t.max()) >= len(table) or not torch.equal(table[noised.t], noised.level):
        raise SettingsError(
            "A learned variance belongs to the steps of a schedule, and these noise levels are "
            "none of it. Train with the table that noised them, and without continuous levels."
        )
    if not prediction.shape == fraction.shape == noised.x.shape:
        raise SettingsError(
            f"A learned variance has the shape of x {tuple(noised.x.shape)}, got "
            f"{tuple(prediction.shape)} and {tuple(fraction.shape)}. Give the network twice as "
            "many channels as stains, and split them."
        )
    known = posterior(alphas_cumprod)

    def of(numbers: NDArray[np.float64]) -> torch.Tensor:
        return per_sample(torch.from_numpy(numbers)[noised.t], noised.x)

    guess = mixed(clean_weights(predicts, noised.level), (noised.x, prediction.detach()))
    mean = of(known.of_clean) * guess + of(known.of_x) * noised.x
    log_low, log_high = of(known.log_low), of(known.log_high)
    log_variance = (fraction + 1) / 2 * (log_high - log_low) + log_low
    apart = of(known.of_clean) * (noised.clean - guess)
    nats = 0.5 * (
        log_variance
        - log_low
        - 1
        + (log_low - log_variance).exp()
        + apart**2 * (-log_variance).exp()
    )
    last = _log_likelihood(noised.clean, mean, log_variance, grey_step, limits)
    is_last = per_sample(noised.t, noised.x) == 0
    return torch.where(is_last, -last, nats) / log(2)


def _log_likelihood(
    clean: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    grey_step: float,
    limits: tuple[float, float] | None,
) -> torch.Tensor:
    """Return the log of the probability of a grey value's bin under a Gaussian."""
    sharpness = (-log_variance / 2).exp()
    below = torch.special.ndtr((clean - mean + grey_step / 2) * sharpness)
    above = torch.special.ndtr(-(clean - mean - grey_step / 2) * sharpness)
    inside = below + above - 1
    if limits is not None:
        margin = (limits[1] - limits[0]) / 2000
        inside = torch.where(clean < limits[0] + margin, below, inside)
        inside = torch.where(clean > limits[1] - margin, above, inside)
    found: torch.Tensor = inside.clamp(min=_LEAST_PROBABILITY).log()
    return found
