"""How is a bridge walked back? From the end that is known to the stain, in steps of any size.

=================  ==============================================================================
here               BBDM (arXiv:2205.07680) and its code; the other letters are in `diffusion.bridge`
=================  ==============================================================================
``t``, ``s``       two steps of a sampler, s nearer to the stain
``spread``         delta-tilde_t, the variance of the reverse process, for any two steps as in
                   accelerated sampling: (delta_t - delta_s (1 - m_t)^2 / (1 - m_s)^2)
                   delta_s / delta_t
``eta``            factor of the noise of a step, as in DDIM; the paper's is 1
=================  ==============================================================================

Where we depart, and ``as_published`` does not. (1) With ``eta`` below 1 the code takes less noise,
and keeps of the old noise what it kept at 1, so that variance is lost; here that is
``sqrt(delta_s - eta^2 spread)``, and x has the variance of the bridge at every step. (2) The code
begins with y itself at m = 0.999, where the bridge has a variance already. At eta 1 that does not
matter; without that noise, eta 0 would give one picture for each y instead of samples. For x_0 of
variance 1 and 200 steps, the standard deviation is 0.98 for any eta; as published 0.98, 0.49 and 0
for eta 1, 0.5 and 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from napari_virtualstain.diffusion.bridge import (
    BrownianBridge,
    Objective,
    check_ends,
    check_objective,
    clean_weights,
)
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.step_rule import Array, check_clip, narrow, wide
from napari_virtualstain.errors import SettingsError

__all__ = ["BridgeSteps", "bridge_timesteps"]


def bridge_timesteps(train_steps: int, steps: int) -> tuple[int, ...]:
    """Return which steps a sampler takes, from the known end on.

    Parameters
    ----------
    train_steps
        T of the bridge.
    steps
        How many, 1 to T. The code's: evenly down to 1, and 0. Where two would fall together, evenly
        from T - 1 to 0. (What torch makes of the code's own line depends on its version.)

    Raises
    ------
    SettingsError
        If there are fewer training steps than steps, or none.

    Examples
    --------
    >>> taken = bridge_timesteps(1000, 200)
    >>> len(taken), taken[:3], taken[-3:]
    (200, (999, 993, 988), (5, 1, 0))
    """
    if not 1 <= steps <= train_steps:
        raise SettingsError(
            f"A sampler over a bridge of {train_steps} steps takes 1 to {train_steps} of them, "
            f"got {steps}. Choose a number of steps in this range."
        )
    last = train_steps - 1
    if steps > 2 and last >= 2 * (steps - 2):
        return (*(int(last - k * last / (steps - 2)) for k in range(steps - 2)), 1, 0)
    return tuple(round(t) for t in np.linspace(last, 0, steps).tolist())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BridgeSteps:
    """A step of a bridge's sampler: a `diffusion.step_rule.StepRule`.

    It begins with the known end (``start`` of `inference.stepwise.sample_tiles`), and remembers it.

    Parameters
    ----------
    bridge
        Its tables.
    timesteps
        Which of them to take (`bridge_timesteps`); after the last comes the clean picture.
    objective
        What the network was taught.
    eta
        0 is deterministic but for the start, 1 the paper's.
    clip
        Range that the predicted clean picture is cut to; `None` to leave it alone. The code has
        (-1, 1) for pixels and none for latents.
    as_published
        Begin without noise, and lose variance where eta is below 1: see the module.

    Raises
    ------
    SettingsError
        If eta lies outside of 0 to 1, there is no such objective, the range is upside down, or
        the time steps do not fall along the bridge.
    """

    bridge: BrownianBridge
    timesteps: tuple[int, ...]
    objective: Objective = "grad"
    eta: float = 1.0
    clip: tuple[float, float] | None = None
    as_published: bool = False

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_clip(self.clip)
        if not 0 <= self.eta <= 1:
            raise SettingsError(
                f"A bridge's eta lies between 0 (no noise) and 1 (the paper's), got {self.eta}. "
                "Choose a value in this range."
            )
        taken = self.timesteps
        falling = all(a > b for a, b in pairwise(taken))
        if not taken or not falling or taken[0] >= self.bridge.train_steps or taken[-1] < 0:
            raise SettingsError(
                f"The time steps of a bridge fall from at most {self.bridge.train_steps - 1} to at "
                f"least 0, got {', '.join(map(str, taken[:4])) or 'none'}. Use bridge_timesteps."
            )

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.timesteps)

    @property
    def initial_scale(self) -> float:
        """The noise that a bridge has where the sampler begins."""
        return 0.0 if self.as_published else sqrt(self.bridge.variance[self.timesteps[0]])

    @property
    def memory(self) -> int:
        """The known end."""
        return 1

    @property
    def outputs(self) -> int:
        """What is predicted."""
        return 1

    def is_stochastic(self, step: int) -> bool:
        """Noise is added with ``eta > 0``, but never in the last step."""
        return self.eta > 0 and step < self.steps - 1

    def prepare(self, step: int) -> StepTime:
        """Return the step and m."""
        t = self.timesteps[step]
        return StepTime(t=t, level=float(self.bridge.m[t]))

    def step(
        self, step: int, x: Array, prediction: Array, history: Array, noise: Array | None
    ) -> tuple[Array, Array]:
        """Take one step; see `StepRule.step`."""
        check_ends(x, history[0])
        t = self.timesteps[step]
        m, variance = float(self.bridge.m[t]), float(self.bridge.variance[t])
        now, end = wide(x), wide(history[0])
        of_x, of_end, of_prediction = clean_weights(self.objective, m, variance)
        clean = of_x * now + of_end * end + of_prediction * wide(prediction[0])
        clean = clean if self.clip is None else clean.clip(*self.clip)
        if step == self.steps - 1:
            return narrow(clean), history
        s = self.timesteps[step + 1]
        m_s, variance_s = float(self.bridge.m[s]), float(self.bridge.variance[s])
        between = variance - variance_s * ((1 - m) / (1 - m_s)) ** 2
        spread = between * variance_s / variance
        added = spread if self.as_published else self.eta**2 * spread
        old = sqrt((variance_s - added) / variance)
        stepped = (1 - m_s) * clean + m_s * end + old * (now - (1 - m) * clean - m * end)
        if noise is not None:
            stepped = stepped + self.eta * sqrt(spread) * wide(noise)
        return narrow(stepped), history
