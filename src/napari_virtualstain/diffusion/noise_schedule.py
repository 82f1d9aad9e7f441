"""How much noise is left at each step? A table of levels says it.

A network is trained on a schedule of T noise levels; a sampler takes some of
them, from the noisiest to the cleanest, and then goes on to the clean picture.

=================  ====================================================================
letter             meaning
=================  ====================================================================
``t``              step of the training schedule, 0 (clean) to T - 1 (noise)
``alpha_bar``      product of ``1 - beta`` up to ``t``; ``x_t`` is
                   ``sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps``
``alpha, sigma``   ``sqrt(alpha_bar)`` and ``sqrt(1 - alpha_bar)`` (DPM-Solver's letters)
``lambda``         ``log(alpha / sigma)``, half the log of the signal-to-noise ratio
``level``          where a step is: ``alpha_bar``, Palette's gamma (of a bridge, its m)
=================  ====================================================================

DDPM's letters are those of arXiv:2006.11239 (``alpha_bar`` is in its eq. 4), DPM-Solver's those of
arXiv:2211.01095. DDPM counts t from 1, with the clean picture at 0; here, as in the codes, 0 is the
first noise.

Tables are float64 on the CPU, since ``1 - alpha_bar`` has no digits left in
float32 at the clean end, and since some devices have no float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf, log
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError, unknown_name

__all__ = [
    "SCHEDULES",
    "NoiseSchedule",
    "Spacing",
    "StepTime",
    "alphas_cumprod",
    "cosine_alphas_cumprod",
    "linear_alphas_cumprod",
    "spaced_timesteps",
]

Spacing = Literal["trailing", "linspace"]


@dataclass(frozen=True, slots=True)
class StepTime:
    """Where a step stands on the training schedule; what a network is conditioned on.

    Parameters
    ----------
    t
        Step of the training schedule, for networks that take an integer.
    level
        alpha_bar, in (0, 1), for networks that take that (Palette's gamma); of a bridge, how
        much of the way to its other end is gone.
    """

    t: int
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """The noise levels that a sampler goes through.

    Parameters
    ----------
    alphas_cumprod
        alpha_bar of the training schedule, (T,) float64, falling, inside (0, 1).
    timesteps
        Which of them to take, noisiest first (`spaced_timesteps`).

    Raises
    ------
    SettingsError
        If the table does not fall inside (0, 1), or a time step is not on it or out of order.

    Examples
    --------
    >>> table = linear_alphas_cumprod(1000)
    >>> schedule = NoiseSchedule(table, spaced_timesteps(1000, 20))
    >>> schedule.steps, schedule.time(0).t, schedule.time(19).t, schedule.level(20)
    (20, 999, 49, 1.0)
    """

    alphas_cumprod: NDArray[np.float64]
    timesteps: tuple[int, ...]

    def __post_init__(self) -> None:
        table, steps = np.asarray(self.alphas_cumprod), self.timesteps
        if (
            table.ndim != 1
            or not table.size
            or not (table[-1] > 0 and table[0] < 1 and (np.diff(table) < 0).all())
        ):
            raise SettingsError(
                "A noise schedule needs values of alpha_bar that fall from below 1 to above 0. "
                "Use alphas_cumprod, or check the model's table."
            )
        falling = all(a > b for a, b in pairwise(steps))
        if not steps or not falling or steps[0] >= table.size or steps[-1] < 0:
            raise SettingsError(
                f"The time steps of a sampler fall from at most {table.size - 1} to at least 0, "
                f"got {', '.join(map(str, steps[:4])) or 'none'}. Use spaced_timesteps."
            )

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of the network for each pixel."""
        return len(self.timesteps)

    def level(self, step: int) -> float:
        """Return alpha_bar before a step; 1, the clean picture, after the last."""
        if step >= self.steps:
            return 1.0
        return float(self.alphas_cumprod[self.timesteps[step]])

    def half_log_snr(self, step: int) -> float:
        """Return lambda before a step; infinity after the last."""
        level = self.level(step)
        return 0.5 * (log(level) - log(1 - level)) if level < 1 else inf

    def time(self, step: int) -> StepTime:
        """Return what the network is told before a step."""
        return StepTime(t=self.timesteps[step], level=self.level(step))


def linear_alphas_cumprod(
    train_steps: int = 1000, *, first: float = 1e-4, last: float = 0.02
) -> NDArray[np.float64]:
    """Return alpha_bar of a schedule whose beta grows linearly (arXiv 2006.11239, section 4).

    Parameters
    ----------
    train_steps
        T, the length of the table.
    first, last
        Smallest and largest beta; 1e-6 and 0.01 at T = 2000 are those of Palette.
    """
    return np.asarray(np.cumprod(1 - np.linspace(first, last, train_steps, dtype=np.float64)))


def cosine_alphas_cumprod(
    train_steps: int = 1000, *, offset: float = 0.008, largest_beta: float = 0.999
) -> NDArray[np.float64]:
    """Return alpha_bar of the cosine schedule (arXiv 2102.09672, eq. 17).

    Parameters
    ----------
    train_steps
        T, the length of the table.
    offset
        s of the paper.
    largest_beta
        Betas are cut here, so that alpha_bar never reaches 0.

    Notes
    -----
    The last levels are nearly pure noise (2.4e-9 at T = 1000), and a short sampler
    spends its accuracy there. With the best denoiser of a Gaussian field, 20 steps of
    DPM-Solver++(2M) leave an error of 38 % from T - 1 on, and of 10 % if the last 20
    levels are cut off the table (alpha_bar 9e-4 where x begins).
    """
    at = np.arange(train_steps + 1, dtype=np.float64) / train_steps
    level = np.cos((at + offset) / (1 + offset) * np.pi / 2) ** 2
    betas = np.minimum(1 - level[1:] / level[:-1], largest_beta)
    return np.asarray(np.cumprod(1 - betas))


SCHEDULES: Mapping[str, Callable[[], NDArray[np.float64]]] = {
    "palette": partial(linear_alphas_cumprod, 2000, first=1e-6, last=0.01),
    "palette-test": partial(linear_alphas_cumprod, 1000, first=1e-4, last=0.09),
    "guided-diffusion": linear_alphas_cumprod,
    "cosine": cosine_alphas_cumprod,
}
"""Tables by name.

``palette`` is what Palette (arXiv:2111.05826, in its public code) and guided-I2I are trained on.
Guided-I2I samples on it too, Palette on ``palette-test``: its network is told the level and no
step, so that any table will do. ``guided-diffusion`` (arXiv:2105.05233) is also that of
SPADE-diffusion (arXiv:2207.00050) and DDPM; ``cosine`` is that of arXiv:2102.09672."""


def alphas_cumprod(name: str) -> NDArray[np.float64]:
    """Return alpha_bar of a schedule by name, (T,) float64, clean end first.

    Raises
    ------
    UnknownNameError
        If there is none of that name.

    Examples
    --------
    >>> len(alphas_cumprod("palette"))
    2000
    """
    if name not in SCHEDULES:
        raise unknown_name("noise schedule", name, SCHEDULES)
    return SCHEDULES[name]()


def spaced_timesteps(
    train_steps: int, steps: int, *, spacing: Spacing = "trailing"
) -> tuple[int, ...]:
    """Return which steps of the training schedule a shorter sampler takes, noisiest first.

    Parameters
    ----------
    train_steps
        T of the schedule.
    steps
        How many to take, 1 to T.
    spacing
        ``trailing`` ends T / steps before the clean end, ``linspace`` at 0. Both begin at
        T - 1, where x is the noise that the network knows (arXiv 2305.08891, table 2).

    Raises
    ------
    SettingsError
        If there are fewer training steps than steps, or the spacing is unknown.

    Examples
    --------
    >>> spaced_timesteps(1000, 4), spaced_timesteps(1000, 4, spacing="linspace")
    ((999, 749, 499, 249), (999, 666, 333, 0))
    """
    if not 1 <= steps <= train_steps:
        raise SettingsError(
            f"A sampler over a schedule of {train_steps} steps takes 1 to {train_steps} of them, "
            f"got {steps}. Choose a number of steps in this range."
        )
    if spacing not in get_args(Spacing):
        raise SettingsError(
            f"No spacing of steps is named {spacing!r}. "
            f"Choose one of {', '.join(get_args(Spacing))}."
        )
    if spacing == "linspace":
        return tuple(round(t) for t in np.linspace(train_steps - 1, 0, steps).tolist())
    return tuple(round(train_steps * (steps - i) / steps) - 1 for i in range(steps))
