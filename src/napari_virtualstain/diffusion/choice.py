"""Which sampler goes by which name, and how many steps does it take? A table says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.diffusion.noise_schedule import NoiseSchedule, spaced_timesteps
from napari_virtualstain.diffusion.prediction import Predicts
from napari_virtualstain.diffusion.samplers import Ancestral, Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.diffusion.step_rule import StepRule
from napari_virtualstain.errors import unknown_name

__all__ = ["SAMPLERS", "STEPS", "SamplerName", "noise_sampler"]

SamplerName = Literal["auto", "ddpm", "ddim", "dpm++"]
STEPS = 25
"""Steps of a sampler if nobody says how many."""

SAMPLERS: Mapping[str, Callable[..., StepRule]] = {
    "ddpm": Ancestral,
    "ddim": Ddim,
    "dpm++": DpmSolverPlusPlus2M,
}
"""Samplers of models that begin with noise, by name; ``auto`` is the last of them."""


def noise_sampler(
    name: str,
    alphas_cumprod: NDArray[np.float64],
    steps: int | None = None,
    *,
    predicts: Predicts = "eps",
    clip: tuple[float, float] | None = None,
    guidance: float = 0.0,
    learned_variance: bool = False,
) -> StepRule:
    """Return the sampler of a diffusion model.

    Parameters
    ----------
    name
        ``auto``, or a key of `SAMPLERS`.
    alphas_cumprod
        alpha-bar of the schedule that it samples on, (T,) float64, clean end first.
    steps
        How many, 1 to T; `STEPS` if `None`.
    predicts, clip, guidance
        See `diffusion.samplers.Ancestral`.
    learned_variance
        Whether the network also says how large the variance of an ancestral step is. Other
        samplers have no use for it.

    Raises
    ------
    UnknownNameError
        If there is no such sampler.
    SettingsError
        If there are fewer training steps than steps, or none.

    Examples
    --------
    >>> from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
    >>> rule = noise_sampler("auto", alphas_cumprod("palette"))
    >>> type(rule).__name__, rule.steps, rule.prepare(0).t
    ('DpmSolverPlusPlus2M', 25, 1999)
    """
    if name != "auto" and name not in SAMPLERS:
        raise unknown_name("sampler", name, ("auto", *SAMPLERS))
    kind = SAMPLERS["dpm++" if name == "auto" else name]
    taken = spaced_timesteps(len(alphas_cumprod), STEPS if steps is None else steps)
    more = {"variance": "learned"} if learned_variance and kind is Ancestral else {}
    return kind(
        schedule=NoiseSchedule(alphas_cumprod, taken), clip=clip, predicts=predicts,
        guidance=guidance, **more,
    )  # fmt: skip
