"""Class-guided image-to-image diffusion as a generator: Palette, told what was done to the cells.

Cross-Zamirski et al. 2023, arXiv:2303.08863, and its public code: the network of Palette, whose
embedding of the noise level has added to it one of each label (treatment, plate, ...), which scale
and shift the norms of every block (AdaGN). With one label of 118 classes the preset ``paper`` has
the 62,673,861 weights of that code.

A label that is hidden in training (``label_dropout``) is a class of its own, *unknown*, which is
what a stain is drawn with unless somebody says more: a new compound is in no training set.

Guidance by a classifier (arXiv:2105.05233) leads further towards the classes that are stated: it
sees the noisy stains and the planes, learns beside the network from the same noise, and its
gradient is added to each step, ``mean + s variance grad log p(class | x)``.

Where we depart
---------------
Labels may be unknown, and several. In the public code guidance is commented out, and would
multiply by the logarithm of the variance; see `diffusion.guidance`. Our classifier is told the same
noise level as the network, and pools by the mean, so that it takes pictures of any size; one that
is imported (`importers.guide`) is told the step, and may know one size alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.diffusion.choice import noise_sampler
from napari_virtualstain.diffusion.forward import noise_batch
from napari_virtualstain.diffusion.guidance import class_gradient
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.prediction import Predicts
from napari_virtualstain.diffusion.step_rule import StepRule
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.denoising import (
    Denoising,
    DenoisingSettings,
    DiffusionGenerator,
)
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.sampled import Sampling
from napari_virtualstain.losses.descent import Learner, Moment, make_optimiser
from napari_virtualstain.nets.guided_classifier import GuidedClassifier
from napari_virtualstain.nets.guided_parts import Init
from napari_virtualstain.nets.guided_unet import UNKNOWN, GuidedUNet

__all__ = ["GuidedI2IGenerator"]


class _Both(nn.Module):
    """The network and its classifier; what is kept and saved together."""

    def __init__(self, net: GuidedUNet, guide: GuidedClassifier) -> None:
        super().__init__()
        self.denoise_fn, self.guide = net, guide


class GuidedI2IGenerator(DiffusionGenerator):
    """Draw stains with a network that is also told labels.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    classes
        How many there are of each label.
    guide_width, guide_multipliers, guide_blocks, guide_head_channels
        Of the classifier that guides, as of `nets.guided_classifier.GuidedClassifier`; no width, no
        classifier. Its only head has all channels of the finest size if there is no number.
    guide_image
        Edge of the only pictures that it takes, whose positions it has learnt, in pixels; 0 for one
        that pools by the mean.
    guide_told
        What it is told of the noise: its level, or the step of the schedule, as published.
    width, multipliers, blocks, middle_attention, dropout, groups, head_channels, init
        See `nets.guided_unet.GuidedUNet`.
    predicts, schedule, clip
        See `generators.denoising.DiffusionGenerator`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        classes: Sequence[int] = (2,),
        guide_width: int = 0,
        guide_multipliers: Sequence[int] = (1, 2, 2),
        guide_blocks: int = 1,
        guide_head_channels: int = 0,
        guide_image: int = 0,
        guide_told: Literal["level", "step"] = "level",
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 2,
        middle_attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        head_channels: int = 32,
        init: Init = "zero",
        predicts: Predicts = "eps",
        schedule: str = "palette",
        clip: Sequence[float] | None = None,
    ) -> None:
        channels = in_channels + out_channels
        net = GuidedUNet(
            channels, out_channels, width=width, multipliers=multipliers, blocks=blocks,
            middle_attention=middle_attention, dropout=dropout, groups=groups,
            head_channels=head_channels, init=init, classes=classes,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels, schedule=schedule,
            predicts=predicts, clip=clip,
        )  # fmt: skip
        self.classes = tuple(classes)
        self._whole: nn.Module = net
        self.guide: GuidedClassifier | None = None
        self.guide_told = guide_told
        if guide_width:
            self.guide = GuidedClassifier(
                channels, sum(classes), width=guide_width, multipliers=guide_multipliers,
                blocks=guide_blocks, head_channels=guide_head_channels or guide_width,
                groups=min(groups, guide_width), pool="attention" if guide_image else "mean",
                image=guide_image,
            )  # fmt: skip
            self._whole = _Both(net, self.guide)

    def module(self) -> nn.Module:
        """Return the network, with its classifier if there is one."""
        return self._whole

    def learner(self, settings: DenoisingSettings) -> Learner:
        """Return what teaches the network, and the classifier beside it."""
        return Denoising(self, settings) if self.guide is None else _Guided(self, settings)

    def rule(self, how: Sampling) -> StepRule:
        """Return how to step; see `generators.sampled.SampledGenerator.rule`.

        Raises
        ------
        SettingsError
            If it is to be led, and there is no classifier, or nothing to lead to.
        """
        if how.guidance and self.guide is None:
            raise SettingsError(
                "This model has no classifier that could guide. Leave out --guidance, or train "
                "one with a preset that has it."
            )
        if how.guidance and not any(label != UNKNOWN for label in how.labels or ()):
            raise SettingsError(
                "Guidance leads towards a class, and none is stated. Name it with --told, or leave "
                "out --guidance."
            )
        return noise_sampler(
            how.sampler, self._sampled_on, how.steps, predicts=self.predicts, clip=self._clip,
            guidance=how.guidance,
        )  # fmt: skip

    def denoise(
        self, x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling
    ) -> torch.Tensor:
        """Return what the rule steps with, and where to; see `SampledGenerator.denoise`."""
        found = super().denoise(x, given, time, how)
        if not how.guidance or self.guide is None or how.labels is None:
            return found
        guide = self.guide
        with torch.inference_mode(False):
            planes = given.clone()
            told = time.level if self.guide_told == "level" else float(time.t)
            at = torch.full((len(x),), told, device=x.device)
        lead = torch.zeros_like(found[0])
        for column, number in enumerate(how.labels):
            if number == UNKNOWN:
                continue

            def classify(x: torch.Tensor, column: int = column) -> torch.Tensor:
                scores = guide(torch.cat([planes, x], dim=1), at)
                return torch.split(scores, list(self.classes), dim=1)[column]

            lead = lead + class_gradient(
                classify, x, torch.full((len(x),), number, device=x.device)
            )
        return torch.cat([found, lead[None]])


class _Guided(Denoising):
    """Teach the network, then the classifier, on the same patches with noise of its own."""

    def __init__(self, generator: GuidedI2IGenerator, settings: DenoisingSettings) -> None:
        super().__init__(generator, settings)
        assert generator.guide is not None
        self._of, self._guide = generator, generator.guide
        self.optimisers = {**self.optimisers, "guide": make_optimiser(settings, self._guide)}
        self.networks: Mapping[str, nn.Module] = {"generator": generator.module()}

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        said = super().step(batch, moment)
        if batch.labels is None or not bool((batch.labels != UNKNOWN).any()):
            return said

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, labels, share in batch.labelled_parts():
                assert labels is not None
                levels = self._of.guide_told == "level"
                noised = noise_batch(self._of.table, stains, continuous=levels)
                time = (noised.level if levels else noised.t).to(stains.device).float()
                with moment.arithmetic():
                    scores = self._guide(torch.cat([planes, noised.x], dim=1), time)
                yield self._entropy(scores.float(), labels), share

        return {**said, "guide": moment.descend(self.optimisers["guide"], losses())}

    def _entropy(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the labels that are known; 0 if none is."""
        total = scores.sum() * 0
        parts = torch.split(scores, list(self._of.classes), dim=1)
        for own, column in zip(parts, labels.unbind(1), strict=True):
            known = column != UNKNOWN
            if bool(known.any()):
                total = total + functional.cross_entropy(own[known], column[known])
        return total / len(parts)
