"""What generators that walk a Brownian bridge share: its tables, its network, and how it is taught.

Of BBDM and of LBBDM; what sets them apart is which pictures lie at the two ends. `given` is the end
that is known, followed by what else the network sees (``joins``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from pydantic import Field
from torch import nn

from napari_virtualstain.diffusion.bridge import (
    BrownianBridge,
    Objective,
    bridge_batch,
    clean_weights,
)
from napari_virtualstain.diffusion.bridge_sampler import BridgeSteps, bridge_timesteps
from napari_virtualstain.diffusion.choice import STEPS, SamplerName
from napari_virtualstain.diffusion.forward import mixed
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.step_rule import StepRule
from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.generators.answering import AnsweringSettings
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling
from napari_virtualstain.nets.guided_step import GuidedStep
from napari_virtualstain.nets.guided_unet import GuidedUNet

if TYPE_CHECKING:
    from napari_virtualstain.losses.descent import Moment

__all__ = [
    "BridgeAnswer",
    "BridgeGenerator",
    "BridgeOptions",
    "BridgeSettings",
    "bridge_answer",
    "bridge_sampler",
]


class BridgeSettings(AnsweringSettings):
    """Settings of what learns to walk a bridge."""

    learning_rate: float = Field(default=1e-4, gt=0, description="largest learning rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """Which bridge, and how it is walked.

    Parameters
    ----------
    objective
        What the network predicts: see `diffusion.bridge`.
    scale
        Of its variance, which is half of this in the middle.
    eta, as_published
        See `diffusion.bridge_sampler.BridgeSteps`.
    clip
        Range that the predicted clean picture is cut to in each step, in normalised units.
    """

    objective: Objective = "grad"
    scale: float = 1.0
    eta: float = 1.0
    as_published: bool = False
    clip: Sequence[float] | None = None


class BridgeGenerator(SampledGenerator):
    """Walk from a picture that is known to the stains; see `generators.sampled.SampledGenerator`.

    Attributes
    ----------
    steps
        That it takes if nobody says how many.

    Parameters
    ----------
    net
        Predicts from x and, joined behind it, channels of what is given; told the step t.
    in_channels, out_channels
        Planes and stains.
    given_channels
        Of what is given: the known end first.
    joins
        Which of them are joined; `None` for none.
    options
        See `BridgeOptions`.

    Raises
    ------
    SettingsError
        If there is no such objective, or the options are out of range.
    """

    learning = BridgeSettings
    steps = STEPS

    def __init__(
        self,
        net: GuidedUNet,
        *,
        in_channels: int,
        out_channels: int,
        given_channels: int,
        joins: slice | None,
        options: BridgeOptions,
    ) -> None:
        self.in_channels, self.out_channels = in_channels, out_channels
        self.x_channels = net.out_channels
        self.begins_with = slice(0, self.x_channels)
        self.multiple_of = net.multiple_of
        self.bridge = BrownianBridge(scale=options.scale)
        self.objective: Objective = options.objective
        self.net = net
        self._options, self._given, self._joins = options, given_channels, joins
        self.rule(Sampling())  # refuses what is out of range

    def rule(self, how: Sampling) -> StepRule:
        """Return how to step; see `generators.sampled.SampledGenerator.rule`."""
        options = self._options
        clip = None if options.clip is None else (float(options.clip[0]), float(options.clip[1]))
        return bridge_sampler(
            how.sampler, self.bridge, self.steps if how.steps is None else how.steps,
            objective=options.objective, eta=options.eta, clip=clip,
            as_published=options.as_published,
        )  # fmt: skip

    @abstractmethod
    def given(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the known end and what is joined, (B, G, Y / shrink, X / shrink)."""

    def answer(self, x: torch.Tensor, given: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return what the network predicts, of the shape of x.

        Parameters
        ----------
        x
            Somewhere on the bridge, (B, x_channels, Y, X).
        given
            See `given`.
        time
            (B,), steps of the bridge.
        """
        seen = x if self._joins is None else torch.cat([x, given[:, self._joins]], dim=1)
        found: torch.Tensor = self.net(seen, time)
        return found

    def denoise(
        self, x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling
    ) -> torch.Tensor:
        """Return what the rule steps with; see `generators.sampled.SampledGenerator.denoise`."""
        del how  # there are no labels
        return self.answer(x, given, torch.full((len(x),), float(time.t), device=x.device))[None]

    def step_network(self, time: StepTime, how: Sampling) -> nn.Module:
        """Return the same at one time; see `generators.sampled.SampledGenerator`."""
        del how
        total = self._given + self.x_channels
        takes = [slice(self._given, total), *([self._joins] if self._joins else [])]
        return GuidedStep(self.net, float(time.t), takes=takes, in_channels=total)


@dataclass(frozen=True, slots=True, eq=False)
class BridgeAnswer:
    """What a network answered on a bridge.

    Parameters
    ----------
    answer, target
        As it was, and as it should be (NaN where that is not known), (B, C, Y, X).
    clean
        The end that the answer means.
    """

    answer: torch.Tensor
    target: torch.Tensor
    clean: torch.Tensor


def bridge_answer(
    generator: BridgeGenerator, stains: torch.Tensor, given: torch.Tensor, moment: Moment
) -> BridgeAnswer:
    """Ask the network of a generator somewhere on the bridge.

    Parameters
    ----------
    generator
        Whose network learns.
    stains
        The end that is looked for, (B, x_channels, Y, X); NaN is missing.
    given
        Of the generator, float32; no gradients go to it.
    moment
        Of the training.
    """
    bridge, given = generator.bridge, given.detach()
    end = given[:, generator.begins_with]
    noised = bridge_batch(bridge, stains, end, objective=generator.objective)
    with moment.arithmetic():
        found = generator.answer(noised.x, given, noised.t.to(stains.device).float())
    answer = found.float()
    variance = torch.from_numpy(bridge.variance)[noised.t]
    weights = clean_weights(generator.objective, noised.level, variance)
    return BridgeAnswer(answer, noised.target, mixed(weights, (noised.x, end, answer)))


def bridge_sampler(
    name: str,
    bridge: BrownianBridge,
    steps: int | None = None,
    *,
    objective: Objective = "grad",
    eta: float = 1.0,
    clip: tuple[float, float] | None = None,
    as_published: bool = False,
) -> BridgeSteps:
    """Return the sampler of a bridge.

    Parameters
    ----------
    name
        ``auto``: there is one.
    bridge
        That the network was trained on.
    steps
        How many, 1 to T; `STEPS` if `None`.
    objective, eta, clip, as_published
        See `diffusion.bridge_sampler.BridgeSteps`.

    Raises
    ------
    UnknownNameError
        If there is no such sampler.
    SettingsError
        If it is one for noise, or steps are more than T, or none.
    """
    if name not in get_args(SamplerName):
        raise unknown_name("sampler", name, get_args(SamplerName))
    if name != "auto":
        raise SettingsError(
            f"The sampler {name!r} begins with noise, and a bridge with a first picture: it has "
            "one way to walk. Leave out --sampler."
        )
    taken = bridge_timesteps(bridge.train_steps, STEPS if steps is None else steps)
    return BridgeSteps(
        bridge=bridge, timesteps=taken, objective=objective, eta=eta, clip=clip,
        as_published=as_published,
    )  # fmt: skip
