"""One step of a sampler, from noisier to less noisy, as plain numbers of each pixel.

A rule knows the noise levels and no tiles, no network and no files;
`inference.stepwise` drives it. Every rule works pixel by pixel, which is what makes
sampling in tiles possible at all: only the network looks at neighbours. The
letters are those of `inference.noise_schedule`.

Both rules here take networks that predict eps, the noise in x.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.inference.noise_schedule import NoiseSchedule, StepTime

__all__ = ["Ddim", "DpmSolverPlusPlus2M", "Pixels", "StepRule"]

Pixels = NDArray[np.float32]


class StepRule(Protocol):
    """What every sampler promises, so that it can be run in tiles."""

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of the network for each tile."""

    @property
    def initial_scale(self) -> float:
        """Standard deviation of the noise that the first x holds; 0 for none (bridges)."""

    @property
    def memory(self) -> int:
        """Arrays of the shape of x that are kept of each pixel between steps.

        None for one-step rules, one for rules that need the last prediction.
        """

    def is_stochastic(self, step: int) -> bool:
        """Say whether a step adds noise."""

    def prepare(self, step: int) -> StepTime:
        """Return what the network is told before a step; steps count from 0, the noisiest."""

    def step(
        self, step: int, x: Pixels, prediction: Pixels, history: Pixels, noise: Pixels | None
    ) -> tuple[Pixels, Pixels]:
        """Take one step, pixel by pixel.

        Parameters
        ----------
        step
            From 0, the noisiest, to ``steps - 1``; what comes out of the last is the picture.
        x
            (C, *S) float32.
        prediction
            Of the network for x, (C, *S) float32.
        history
            (memory, C, *S) float32, as the last step returned it; zeros at step 0.
        noise
            Standard normal, (C, *S) float32; `None` where the step `is_stochastic` not.

        Returns
        -------
        tuple
            The next x and the next history, of the same shapes and dtype.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Diffusion:
    """What rules of diffusion models share: the schedule, and what eps means."""

    schedule: NoiseSchedule
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise SettingsError(
                f"A range to cut to has a lower and an upper end, got {self.clip}. "
                "Put the smaller number first."
            )

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.schedule.steps

    @property
    def initial_scale(self) -> float:
        """The first x is standard normal noise."""
        return 1.0

    def prepare(self, step: int) -> StepTime:
        """Return the noise level before a step."""
        return self.schedule.time(step)

    def _clean(self, step: int, x: Pixels, eps: Pixels) -> NDArray[np.float64]:
        """Return the clean picture that a prediction means.

        In float64: at the noisy end it is a small difference over a small number.
        """
        level = self.schedule.level(step)
        clean = (x.astype(np.float64) - sqrt(1 - level) * eps.astype(np.float64)) / sqrt(level)
        return clean if self.clip is None else np.clip(clean, *self.clip)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ddim(_Diffusion):
    """DDIM (arXiv 2010.02502, eq. 12 and 16); DDPM's ancestral sampling at ``eta = 1``.

    Parameters
    ----------
    schedule
        Noise levels; the last step goes to the clean picture.
    clip
        Range that the predicted clean picture is cut to, with eps computed again from
        it; `None` to leave it alone. Networks that were sampled so in their papers need
        it: (-1, 1) for Palette, (-15, 15) for guided-I2I.
    eta
        0 is deterministic, 1 the noise of DDPM (the smaller of its two variances).

    Raises
    ------
    SettingsError
        If eta lies outside of 0 to 1, or the range is upside down.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        _Diffusion.__post_init__(self)
        if not 0 <= self.eta <= 1:
            raise SettingsError(
                f"DDIM's eta lies between 0 (no noise) and 1 (DDPM), got {self.eta}. "
                "Choose a value in this range."
            )

    @property
    def memory(self) -> int:
        """Nothing is kept between steps."""
        return 0

    def is_stochastic(self, step: int) -> bool:
        """Noise is added with ``eta > 0``, but never in the last step."""
        return self.eta > 0 and step < self.steps - 1

    def step(
        self, step: int, x: Pixels, prediction: Pixels, history: Pixels, noise: Pixels | None
    ) -> tuple[Pixels, Pixels]:
        """Take one step; see `StepRule.step`."""
        here, there = self.schedule.level(step), self.schedule.level(step + 1)
        clean = self._clean(step, x, prediction)
        eps = (x - sqrt(here) * clean) / sqrt(1 - here)
        sigma = self.eta * sqrt((1 - there) / (1 - here) * (1 - here / there))
        stepped = sqrt(there) * clean + sqrt(max(0.0, 1 - there - sigma**2)) * eps
        if noise is not None:
            stepped += sigma * noise
        return stepped.astype(np.float32), history


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DpmSolverPlusPlus2M(_Diffusion):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order, one call a step.

    The first step is of first order, since nothing came before. So is the last,
    which goes on to the clean picture (sigma 0, lambda infinite): the paper stops at a
    small sigma instead, and gives out the noise that is left.

    Parameters
    ----------
    schedule, clip
        See `Ddim`.

    Raises
    ------
    SettingsError
        If the range is upside down.
    """

    @property
    def memory(self) -> int:
        """The clean picture as it was predicted in the step before."""
        return 1

    def is_stochastic(self, step: int) -> bool:
        """No step adds noise."""
        return False

    def step(
        self, step: int, x: Pixels, prediction: Pixels, history: Pixels, noise: Pixels | None
    ) -> tuple[Pixels, Pixels]:
        """Take one step; see `StepRule.step`."""
        clean = self._clean(step, x, prediction)
        kept = clean[None].astype(np.float32)
        if step == self.steps - 1:
            return kept[0], kept
        here, there = self.schedule.level(step), self.schedule.level(step + 1)
        h = self.schedule.half_log_snr(step + 1) - self.schedule.half_log_snr(step)
        direction = clean
        if step > 0:
            before = self.schedule.half_log_snr(step) - self.schedule.half_log_snr(step - 1)
            weight = h / (2 * before)  # 1 / (2 r) of the paper
            direction = (1 + weight) * clean - weight * history[0]
        shrink = sqrt((1 - there) / (1 - here))
        stepped = shrink * x - sqrt(there) * (exp(-h) - 1) * direction
        return stepped.astype(np.float32), kept
