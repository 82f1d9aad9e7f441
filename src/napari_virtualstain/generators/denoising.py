"""What generators that begin with noise share: a guided U-Net, its schedule, and how it is taught.

Of Palette, class-guided image-to-image and SPADE-diffusion; what sets them apart is how the planes
enter, whether there are labels, and what is predicted.

In a step of the training, the stains of each patch are mixed with noise of a level that is drawn;
the network is shown this and the planes, and answers eps, v or x_0 (`diffusion.prediction`). What
is missing (NaN) is neither shown nor asked for.

Notes
-----
Papers train on pictures between -1 and 1. Stains here have the mean and the SD of the training set
taken out, so that their variance is 1, which the schedules assume anyway; bright cells lie beyond
10, so that no range is cut by default (guided-I2I has -15 to 15).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn

from napari_virtualstain.diffusion.choice import noise_sampler
from napari_virtualstain.diffusion.forward import Noised, mixed, noise_batch
from napari_virtualstain.diffusion.learned_variance import variational_bits
from napari_virtualstain.diffusion.noise_schedule import StepTime, alphas_cumprod
from napari_virtualstain.diffusion.prediction import Predicts, clean_weights
from napari_virtualstain.diffusion.step_rule import StepRule
from napari_virtualstain.generators.answering import Answering, AnsweringSettings, Lesson
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling
from napari_virtualstain.losses.descent import Learner, Moment
from napari_virtualstain.losses.pixel import masked_mean
from napari_virtualstain.nets.guided_step import GuidedStep
from napari_virtualstain.nets.guided_unet import UNKNOWN, GuidedUNet

__all__ = ["Denoising", "DenoisingSettings", "DiffusionGenerator", "drop_labels"]


class DenoisingSettings(AnsweringSettings):
    """Settings of what is taught by noise."""

    label_dropout: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of the patches whose labels are hidden, each by itself, so that the "
        "network learns a class 'unknown'",
    )
    variance_weight: float = Field(
        default=1.0,
        ge=0,
        description="what the variational bound counts, in thousandths of the sum over all steps, "
        "where the variance is learnt",
    )


def drop_labels(labels: torch.Tensor | None, share: float) -> torch.Tensor | None:
    """Return labels of which a share is unknown, each drawn by itself.

    Parameters
    ----------
    labels
        (B, labels) int64, or `None`.
    share
        From 0 to 1.
    """
    if labels is None or share == 0:
        return labels
    hidden = torch.rand(labels.shape).to(labels.device) < share
    return torch.where(hidden, UNKNOWN, labels)


class DiffusionGenerator(SampledGenerator):
    """Draw stains from noise; see `generators.sampled.SampledGenerator`.

    Parameters
    ----------
    net
        Predicts from noisy stains and planes.
    in_channels, out_channels
        Planes and stains.
    schedule
        Key of `diffusion.noise_schedule.SCHEDULES`, that it is trained on.
    sampled_on
        The same, that it is sampled on, where the network is told a level and no step.
    predicts
        What it answers.
    clip
        Range that predicted stains are cut to in each step, in normalised units.
    """

    learning = DenoisingSettings

    def __init__(
        self,
        net: GuidedUNet,
        *,
        in_channels: int,
        out_channels: int,
        schedule: str,
        sampled_on: str | None = None,
        predicts: Predicts = "eps",
        clip: Sequence[float] | None = None,
    ) -> None:
        self.in_channels, self.out_channels = in_channels, out_channels
        self.x_channels = out_channels
        self.multiple_of = net.multiple_of
        self.predicts: Predicts = predicts
        self.table = alphas_cumprod(schedule)
        self._sampled_on = alphas_cumprod(sampled_on or schedule)
        self._clip = None if clip is None else (float(clip[0]), float(clip[1]))
        self.net = net

    @property
    def told_levels(self) -> bool:
        """Whether the network is told noise levels, and not steps."""
        return self.net.told_levels

    def module(self) -> nn.Module:
        """Return the torch module."""
        return self.net

    def learner(self, settings: DenoisingSettings) -> Learner:
        """Return what teaches it to tell noise from stain."""
        return Denoising(self, settings)

    def rule(self, how: Sampling) -> StepRule:
        """Return how to step; see `generators.sampled.SampledGenerator.rule`."""
        return noise_sampler(
            how.sampler, self._sampled_on, how.steps, predicts=self.predicts, clip=self._clip,
            learned_variance=self.net.learn_sigma,
        )  # fmt: skip

    def answer(
        self,
        x: torch.Tensor,
        given: torch.Tensor,
        time: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what the network answers, (B, C or 2 C, Y, X).

        Parameters
        ----------
        x
            Noisy stains (B, C, Y, X).
        given
            Planes (B, P, Y, X).
        time
            (B,), levels or steps.
        labels
            (B, labels) or `None`.
        """
        if self.net.map_channels is None:
            found: torch.Tensor = self.net(torch.cat([given, x], dim=1), time, labels)
        else:
            found = self.net(x, time, labels, given)
        return found

    def denoise(
        self, x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling
    ) -> torch.Tensor:
        """Return what the rule steps with; see `generators.sampled.SampledGenerator.denoise`."""
        at = torch.full((len(x),), self._told(time), device=x.device)
        labels = None
        if how.labels is not None:
            labels = torch.tensor([how.labels] * len(x), device=x.device)
        found = self.answer(x, given, at, labels)
        outputs = 2 if self.net.learn_sigma and how.sampler == "ddpm" else 1
        return torch.stack(torch.split(found, self.out_channels, dim=1)[:outputs])

    def step_network(self, time: StepTime, how: Sampling) -> nn.Module:
        """Return the same at one time; see `generators.sampled.SampledGenerator`."""
        return GuidedStep(self.net, self._told(time), how.labels)

    def _told(self, time: StepTime) -> float:
        return time.level if self.told_levels else float(time.t)


class Denoising(Answering):
    """Make the difference small between what a network answers to noise, and what it should.

    Parameters
    ----------
    generator
        Whose network learns.
    settings
        See `DenoisingSettings`.
    """

    def __init__(self, generator: DiffusionGenerator, settings: DenoisingSettings) -> None:
        super().__init__(generator.net, settings)
        self._generator, self._settings = generator, settings

    def shown(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the planes that the network is shown: as they are."""
        return planes

    def lesson(
        self,
        planes: torch.Tensor,
        stains: torch.Tensor,
        labels: torch.Tensor | None,
        moment: Moment,
    ) -> Lesson:
        """Return what a part of a batch teaches; see `generators.answering.Answering`."""
        generator, channels = self._generator, self._generator.out_channels
        noised = noise_batch(
            generator.table, stains, predicts=generator.predicts, continuous=generator.told_levels
        )
        labels = drop_labels(labels, self._settings.label_dropout)
        time = noised.level if generator.told_levels else noised.t
        with moment.arithmetic():
            found = generator.answer(
                noised.x, self.shown(planes), time.to(stains.device).float(), labels
            )
        found = found.float()
        answer = found[:, :channels]
        loss, said = self._loss(answer, noised.target, self._weights), {}
        if generator.net.learn_sigma:
            bound = self._bound(noised, answer, found[:, channels:])
            said["variance_bits"] = float(bound.detach())
            loss = loss + self._settings.variance_weight * bound

        def clean() -> torch.Tensor:
            return mixed(clean_weights(generator.predicts, noised.level), (noised.x, answer))

        return Lesson(loss, clean, said)

    def _bound(self, noised: Noised, answer: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
        """Return the variational bound of the variance, in thousandths of the sum over steps."""
        table = self._generator.table
        bits = variational_bits(
            table, noised, answer, fraction, predicts=self._generator.predicts, limits=None
        )
        return masked_mean(bits, noised.known, self._weights) * (len(table) / 1000)
