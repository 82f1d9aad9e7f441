"""A generator that draws its stains, step by step, from noise or from a first guess.

What differs from a forward pass is the same for all of them: a sampler
(`diffusion.step_rule.StepRule`) walks, and asks the network at every step. So a method
says which rule it walks by and what it predicts; `inference.sampled` runs the same two
over images of any size.

====================  =================================================================
part                  maps
====================  =================================================================
`given`               planes (B, P, Y, X) to what every step is conditioned on
`denoise`             x and this, at one time, to what the rule steps with
`painted`             the last x to stains (B, C, Y, X)
====================  =================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.diffusion.step_rule import StepRule
from napari_virtualstain.diffusion.walk import walk
from napari_virtualstain.generators.learning import LearningSettings

if TYPE_CHECKING:
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.losses.descent import Learner

__all__ = ["QUICK", "SampledGenerator", "Sampling", "draw_sample", "first_network", "walked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a stain is drawn.

    Parameters
    ----------
    sampler
        A name of `diffusion.choice.SAMPLERS`; ``auto`` for the method's own.
    steps
        How many; the method's own number if `None`.
    labels
        Number of the class of each label that the network knows, -1 where it is unknown; `None`
        if all are.
    guidance
        How far a classifier leads the sample towards these classes; 0 for not at all.
    """

    sampler: str = "auto"
    steps: int | None = None
    labels: tuple[int, ...] | None = None
    guidance: float = 0.0


QUICK = Sampling(steps=8)
"""How `Generator.predict` draws: to examine a training and to test a package. Stains of a run take
more steps."""


class SampledGenerator(ABC):
    """A `generators.base.Generator` that walks, over planes.

    Attributes
    ----------
    x_channels
        Of what is walked: stains, or numbers of a code.
    shrink
        Edges of the planes over those of x, of which one number stands for so many pixels.
    begins_with
        Which channels of `given` the walk begins from, of a bridge; `None` for noise.
    margins
        How far, in pixels of the planes, `given` and `painted` look.
    """

    in_channels: int
    out_channels: int
    multiple_of: int
    ndim: int = 2
    window: int | None = None
    learning: type[LearningSettings] = LearningSettings

    x_channels: int
    shrink: int = 1
    begins_with: slice | None = None
    margins: tuple[int, int] = (0, 0)

    @property
    def drawable(self) -> bool:
        """Whether what it draws is worth an examination; not before all its parts have learnt."""
        return True

    @abstractmethod
    def module(self) -> nn.Module:
        """Return all that has weights, for training and saving."""

    @abstractmethod
    def learner(self, settings: Any) -> Learner:
        """Return what teaches it; see `generators.base.Generator.learner`."""

    @abstractmethod
    def rule(self, how: Sampling) -> StepRule:
        """Return how to step.

        Raises
        ------
        UnknownNameError, SettingsError
            If there is no such sampler, or it cannot take so many steps.
        """

    @abstractmethod
    def denoise(
        self, x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling
    ) -> torch.Tensor:
        """Return what the rule steps with, (outputs, B, x_channels, Y, X)."""

    @abstractmethod
    def step_network(self, time: StepTime, how: Sampling) -> nn.Module:
        """Return the same at one time as a network that can be read.

        It maps (B, G + x_channels, Y, X), what is given first, to (B, outputs * x_channels, Y, X)
        or more, and shares its weights.
        """

    def given(self, planes: torch.Tensor) -> torch.Tensor:
        """Return what each step is conditioned on, (B, G, Y / shrink, X / shrink): the planes."""
        return planes

    def painted(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stains (B, C, shrink * Y, shrink * X) that the last x means: itself."""
        return x

    def given_network(self) -> nn.Module | None:
        """Return `given` as a network that can be read; `None` if no norm of it sees the image."""
        return None

    def painted_network(self) -> nn.Module | None:
        """Return `painted` as a network that can be read; `None` if no norm of it sees x."""
        return None

    def first_network(self) -> nn.Module:
        """Return what takes as much, and looks as far, as the walk from planes to stains.

        That of the first step, which all tiles go through, where x has the pixels of the planes.
        """
        how = Sampling()
        return self.step_network(self.rule(how).prepare(0), how)

    def predict(self, planes: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
        """Draw normalised stains in few steps; see `generators.base.Generator.predict`."""
        return draw_sample(self, planes, QUICK, seed=seed)


def draw_sample(
    generator: SampledGenerator, planes: NDArray[np.float32], how: Sampling, *, seed: int
) -> NDArray[np.float32]:
    """Draw stains of whole pictures, without gradients, where the weights are.

    Parameters
    ----------
    generator, planes, how, seed
        See `walked`.

    Returns
    -------
    numpy.ndarray
        (B, C, Y, X) float32.
    """
    with torch.inference_mode():
        stains = generator.painted(walked(generator, planes, how, seed=seed)[1])
    return cast(NDArray[np.float32], stains.float().cpu().numpy())


def walked(
    generator: SampledGenerator,
    planes: NDArray[np.float32],
    how: Sampling,
    *,
    seed: int,
    on_ask: Callable[[torch.Tensor, StepTime], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Walk to the last x over whole pictures, without gradients, where the weights are.

    Parameters
    ----------
    generator
        Put into evaluation mode.
    planes
        Normalised (B, P, Y, X).
    how
        See `Sampling`.
    seed
        Of the first picture; the next has the next.
    on_ask
        Told what the network is asked about, at each step: x and the time.
    on_step
        Told of steps done, and how many there are. What it raises ends the walk.

    Returns
    -------
    tuple
        What each step was conditioned on, and the last x (B, x_channels, Y, X).
    """
    module = generator.module().eval()
    device = next(module.parameters()).device
    rule = generator.rule(how)

    def ask(x: torch.Tensor, time: StepTime) -> torch.Tensor:
        if on_ask is not None:
            on_ask(x, time)
        return generator.denoise(x, given, time, how)

    with torch.inference_mode():
        given = generator.given(torch.from_numpy(np.ascontiguousarray(planes)).to(device))
        region = tuple(slice(0, n) for n in given.shape[2:])

        def draw(number: int) -> torch.Tensor:
            noise = [
                noise_of(seed + n, region, draw=number, channels=generator.x_channels)
                for n in range(len(given))
            ]
            return torch.from_numpy(np.stack(noise)).to(device)

        start = None if generator.begins_with is None else given[:, generator.begins_with]
        return given, walk(rule, ask, draw, start=start, on_step=on_step)


def first_network(generator: Generator) -> nn.Module:
    """Return the network that tiles of an image go through, or stands for all of a walk."""
    if isinstance(generator, SampledGenerator):
        return generator.first_network()
    return generator.module()
