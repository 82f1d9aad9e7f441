"""Where was x one step ago? If the clean picture is known, near a mixture of it and x.

q(x_{t-1} | x_t, x_0) is a Gaussian around ``of_clean x_0 + of_x x_t``.

================  =======================================================  ===================
here              papers                                                   where
================  =======================================================  ===================
``level``         alpha-bar_t; Palette's gamma_t                           arXiv:2006.11239
``of_clean``      sqrt(alpha-bar_{t-1}) beta_t / (1 - alpha-bar_t)         eq. 7
``of_x``          sqrt(alpha_t) (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t)  eq. 7
``log_variance``  log of beta-tilde_t, at least log 1e-20                  eq. 7; public code
                                                                           of arXiv:2111.05826
``log_low``       the same, with that of t = 1 for t = 0                   the code of
                                                                           arXiv:2105.05233
``log_high``      log of beta_t                                            arXiv:2102.09672,
                                                                           eq. 15
================  =======================================================  ===================

A shorter sampler is a diffusion of its own, with the levels that it stops at (arXiv:2102.09672,
section 4): its table is made of those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_VARIANCE", "Posterior", "posterior"]

LEAST_VARIANCE = 1e-20
"""Variances are cut here before their logarithm is taken; the last step has none."""

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mean and spread of x one step ago, for every step.

    Parameters
    ----------
    of_clean, of_x
        What the mean holds of x_0 and of x, (K,) float64, clean end first.
    log_variance
        Of what follows from x_0 known exactly, the smaller of DDPM's two variances.
    log_low, log_high
        Between which a network that learns its variance says where it lies.
    """

    of_clean: Table
    of_x: Table
    log_variance: Table
    log_low: Table
    log_high: Table


def posterior(alphas_cumprod: Table) -> Posterior:
    """Return the posterior of every step.

    Parameters
    ----------
    alphas_cumprod
        alpha-bar, (K,) float64, clean end first; of a shorter sampler, those it stops at.

    Examples
    --------
    >>> found = posterior(np.array([0.9, 0.5]))
    >>> found.of_clean.round(3).tolist(), found.of_x.round(3).tolist()
    ([1.0, 0.843], [0.0, 0.149])
    """
    level = np.asarray(alphas_cumprod, np.float64)
    before = np.append(1.0, level[:-1])
    alpha = level / before
    beta = 1 - alpha
    log_variance = np.log(np.maximum(beta * (1 - before) / (1 - level), LEAST_VARIANCE))
    log_high = np.log(beta)
    low = np.append(log_variance[1:2], log_variance[1:]) if level.size > 1 else log_high
    return Posterior(
        of_clean=beta * np.sqrt(before) / (1 - level),
        of_x=(1 - before) * np.sqrt(alpha) / (1 - level),
        log_variance=log_variance,
        log_low=low,
        log_high=log_high,
    )
