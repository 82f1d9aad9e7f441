"""How does a sampler step? From x and the clean picture that is predicted, to less noise.

=======================  ====================================================================
here                     papers
=======================  ====================================================================
``Ancestral``            DDPM (arXiv:2006.11239, algorithm 2; eq. 6 and 7); with learned
                         variances arXiv:2102.09672, eq. 15
``Ddim``                 DDIM (arXiv:2010.02502, eq. 12 and 16)
``DpmSolverPlusPlus2M``  DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2)
``level``                alpha-bar_t; what DDIM calls alpha_t
``eta``                  eta of DDIM; its sigma is ``eta`` times that of DDPM
``clean``                the predicted x_0; x_theta of DPM-Solver++
``guidance``             s of arXiv:2105.05233 (`diffusion.guidance`)
=======================  ====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any, Literal, get_args

import numpy as np

from napari_virtualstain.diffusion.guidance import guided_clean, guided_mean
from napari_virtualstain.diffusion.noise_schedule import NoiseSchedule, StepTime
from napari_virtualstain.diffusion.posterior import Posterior, posterior
from napari_virtualstain.diffusion.prediction import Predicts, check_predicts, clean_weights
from napari_virtualstain.diffusion.step_rule import Array, check_clip, narrow, wide
from napari_virtualstain.errors import SettingsError

__all__ = ["Ancestral", "Ddim", "DpmSolverPlusPlus2M", "Variance"]

Variance = Literal["small", "large", "learned"]
"""Of an ancestral step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Diffusion:
    """What rules of diffusion models share: the schedule, and what is predicted."""

    schedule: NoiseSchedule
    clip: tuple[float, float] | None = None
    predicts: Predicts = "eps"
    guidance: float = 0.0

    def __post_init__(self) -> None:
        check_clip(self.clip)
        check_predicts(self.predicts)
        if not 0 <= self.guidance < float("inf"):
            raise SettingsError(
                f"Guidance by a class has a strength of 0 or more, got {self.guidance}. "
                "Choose 0 for none, or about 1."
            )

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.schedule.steps

    @property
    def initial_scale(self) -> float:
        """The first x is standard normal noise."""
        return 1.0

    @property
    def outputs(self) -> int:
        """What is predicted, and the gradient of a class where one guides."""
        return 1 + (self.guidance > 0)

    def prepare(self, step: int) -> StepTime:
        """Return the noise level before a step."""
        return self.schedule.time(step)

    def _clean(self, step: int, x: Any, prediction: Any) -> Any:
        """Return the clean picture that a prediction means, cut to its range.

        In float64: at the noisy end it is a small difference over a small number.
        """
        of_x, of_prediction = clean_weights(self.predicts, self.schedule.level(step))
        clean = of_x * wide(x) + of_prediction * wide(prediction[0])
        return clean if self.clip is None else clean.clip(*self.clip)

    def _led(self, step: int, x: Any, prediction: Any) -> Any:
        """Return the same, led towards a class."""
        clean = self._clean(step, x, prediction)
        if not self.guidance:
            return clean
        return guided_clean(clean, prediction[-1], self.schedule.level(step), self.guidance)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ancestral(_Diffusion):
    """DDPM's own sampling: the posterior mean, and noise of one of three variances.

    Parameters
    ----------
    schedule
        Noise levels; the last step goes to the clean picture. Fewer than those of the training
        are a diffusion of their own (arXiv:2102.09672, section 4).
    clip
        Range that the predicted clean picture is cut to; `None` to leave it alone. Networks that
        were sampled so in their papers need it: (-1, 1) for Palette, (-15, 15) for guided-I2I.
    predicts
        What the network was taught.
    guidance
        s of guidance by a class; above 0, a gradient ends the prediction.
    variance
        ``small`` is beta-tilde, right if x_0 is known exactly (Palette, guided-I2I); ``large`` is
        beta, right if x_0 is noise; ``learned`` lies between the two where the network says, on a
        scale from -1 to 1, for each pixel (SPADE-diffusion).

    Raises
    ------
    SettingsError
        If the range is upside down, or nothing of these names is predicted or a variance.
    """

    variance: Variance = "small"
    _posterior: Posterior = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _Diffusion.__post_init__(self)
        if self.variance not in get_args(Variance):
            raise SettingsError(
                f"No variance of a step is named {self.variance!r}. "
                f"Choose one of {', '.join(get_args(Variance))}."
            )
        levels = self.schedule.alphas_cumprod[list(self.schedule.timesteps[::-1])]
        object.__setattr__(self, "_posterior", posterior(levels))

    @property
    def memory(self) -> int:
        """Nothing is kept between steps."""
        return 0

    @property
    def outputs(self) -> int:
        """What is predicted, where the variance lies, and the gradient of a class."""
        return 1 + (self.variance == "learned") + (self.guidance > 0)

    def is_stochastic(self, step: int) -> bool:
        """Every step adds noise but the last."""
        return step < self.steps - 1

    def step(
        self, step: int, x: Array, prediction: Array, history: Array, noise: Array | None
    ) -> tuple[Array, Array]:
        """Take one step; see `StepRule.step`."""
        known, place = self._posterior, self.steps - 1 - step
        of_clean, of_x = float(known.of_clean[place]), float(known.of_x[place])
        low, high = float(known.log_low[place]), float(known.log_high[place])
        stepped = of_clean * self._clean(step, x, prediction) + of_x * wide(x)
        log_variance: Any = float(known.log_variance[place])
        if self.variance == "large":
            log_variance = high
        elif self.variance == "learned":
            log_variance = low + (wide(prediction[1]) + 1) / 2 * (high - low)
        if self.guidance:
            variance = _exp(log_variance)
            stepped = guided_mean(stepped, variance, wide(prediction[-1]), self.guidance)
        if noise is not None:
            stepped = stepped + _exp(log_variance / 2) * wide(noise)
        return narrow(stepped), history


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ddim(_Diffusion):
    """DDIM (arXiv 2010.02502, eq. 12 and 16); `Ancestral` at ``eta = 1``.

    Parameters
    ----------
    schedule
        Noise levels; the last step goes to the clean picture.
    clip
        Range that the predicted clean picture is cut to, with eps computed again from
        it; `None` to leave it alone. See `Ancestral`.
    predicts, guidance
        See `Ancestral`.
    eta
        0 is deterministic, 1 the noise of DDPM (the smaller of its two variances).

    Raises
    ------
    SettingsError
        If eta lies outside of 0 to 1, the range is upside down, or nothing of that name is
        predicted.
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
        self, step: int, x: Array, prediction: Array, history: Array, noise: Array | None
    ) -> tuple[Array, Array]:
        """Take one step; see `StepRule.step`."""
        here, there = self.schedule.level(step), self.schedule.level(step + 1)
        clean = self._led(step, x, prediction)
        eps = (wide(x) - sqrt(here) * clean) / sqrt(1 - here)
        sigma = self.eta * sqrt((1 - there) / (1 - here) * (1 - here / there))
        stepped = sqrt(there) * clean + sqrt(max(0.0, 1 - there - sigma**2)) * eps
        if noise is not None:
            stepped = stepped + sigma * wide(noise)
        return narrow(stepped), history


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DpmSolverPlusPlus2M(_Diffusion):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order, one call a step.

    The first step is of first order, since nothing came before. So is the last,
    which goes on to the clean picture (sigma 0, lambda infinite): the paper stops at a
    small sigma instead, and gives out the noise that is left.

    Parameters
    ----------
    schedule, clip, predicts, guidance
        See `Ddim`.

    Raises
    ------
    SettingsError
        If the range is upside down, or nothing of that name is predicted.
    """

    @property
    def memory(self) -> int:
        """The clean picture as it was predicted in the step before."""
        return 1

    def is_stochastic(self, step: int) -> bool:
        """No step adds noise."""
        return False

    def step(
        self, step: int, x: Array, prediction: Array, history: Array, noise: Array | None
    ) -> tuple[Array, Array]:
        """Take one step; see `StepRule.step`."""
        clean = self._led(step, x, prediction)
        kept = narrow(clean[None])
        if step == self.steps - 1:
            return kept[0], kept
        here, there = self.schedule.level(step), self.schedule.level(step + 1)
        h = self.schedule.half_log_snr(step + 1) - self.schedule.half_log_snr(step)
        direction = clean
        if step > 0:
            before = self.schedule.half_log_snr(step) - self.schedule.half_log_snr(step - 1)
            weight = h / (2 * before)  # 1 / (2 r) of the paper
            direction = (1 + weight) * clean - weight * wide(history[0])
        shrink = sqrt((1 - there) / (1 - here))
        stepped = shrink * wide(x) - sqrt(there) * (exp(-h) - 1) * direction
        return narrow(stepped), kept


def _exp(values: Any) -> Any:
    if isinstance(values, float):
        return exp(values)
    return np.exp(values) if isinstance(values, np.ndarray) else values.exp()
