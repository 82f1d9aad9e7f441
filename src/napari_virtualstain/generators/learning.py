"""How does a generator learn? Which networks take part, and what one step makes smaller.

The loop (`training.loop`) decides which patches a step sees, how long a training
goes on and what is kept. A learner, written beside its generator, decides what is
made smaller, and reads like the method section of its paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import nn

from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.descent_settings import DescentSettings
from napari_virtualstain.losses.pixel import get_loss

__all__ = ["Batch", "Further", "LearningSettings", "Regression", "Term", "stain_weights"]


class LearningSettings(DescentSettings):
    """What can be set about what is made smaller; methods add their own."""

    loss: Literal["l1", "l2"] = Field(default="l1", description="pixel loss")
    stain_weights: tuple[float, ...] = Field(
        default=(), description="what each stain counts in the pixel loss; alike if not given"
    )

    @property
    def smallest_patch(self) -> int:
        """Edge in pixels below which what learns beside the network sees nothing."""
        return 1


class Term(Protocol):
    """What is made small beside that of the method, for example `encoders.perceptual`.

    Attributes
    ----------
    name
        For the log.
    """

    name: str

    def __call__(self, predicted: torch.Tensor, stains: torch.Tensor) -> torch.Tensor:
        """Return it, weighed, of predicted and true stains (B, C, *S) on one device.

        NaN is missing; several devices may ask at once.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The patches of one step, on the device of the training.

    Parameters
    ----------
    planes
        Normalised bright field, (B, P, *S).
    stains
        Normalised stains, (B, C, *S); NaN is missing.
    at_once
        Patches that go through the networks together; the gradients of a batch are added up.
    whole
        Patches of the batch that these are a part of, where others take the rest.
    term
        What predicted stains are to make small beside the loss of the method; `None` for nothing.
    labels
        Number of the class of each label of each patch, (B, labels) int64, -1 where it is unknown;
        `None` if there are none.
    """

    planes: torch.Tensor
    stains: torch.Tensor
    at_once: int
    whole: int | None = None
    term: Term | None = None
    labels: torch.Tensor | None = None

    @property
    def share(self) -> float:
        """Which part of the whole batch this is."""
        return len(self.planes) / (self.whole or len(self.planes))

    def parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Yield planes, stains, and which share of the whole batch they are."""
        for planes, stains, _, share in self.labelled_parts():
            yield planes, stains, share

    def labelled_parts(
        self,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, float]]:
        """Yield the same with the labels, before the share."""
        n = len(self.planes)
        for start in range(0, n, self.at_once):
            part = slice(start, min(start + self.at_once, n))
            labels = None if self.labels is None else self.labels[part]
            share = (part.stop - start) / (self.whole or n)
            yield self.planes[part], self.stains[part], labels, share


class Further:
    """The further term of a batch, part by part; every learner adds it, and says how much it is.

    Parameters
    ----------
    batch
        Of one step.
    """

    def __init__(self, batch: Batch) -> None:
        self._term = batch.term
        self._said: list[float] = []

    @property
    def wanted(self) -> bool:
        """Whether there is one."""
        return self._term is not None

    def __call__(
        self, predicted: torch.Tensor, stains: torch.Tensor, share: float
    ) -> torch.Tensor | float:
        """Return what is added to the loss of a part; 0 if there is nothing.

        Parameters
        ----------
        predicted, stains
            (B, C, *S), as the method predicts them, and true; NaN is missing.
        share
            Of the part in the batch.
        """
        if self._term is None:
            return 0.0
        term = self._term(predicted, stains)
        self._said.append(float(term.detach()) * share)
        return term

    def said(self) -> dict[str, float]:
        """Return what it came to, for the log."""
        return {} if self._term is None else {self._term.name: sum(self._said)}


def stain_weights(settings: LearningSettings, device: torch.device) -> torch.Tensor | None:
    """Return what each stain counts, `None` for alike."""
    stated = settings.stain_weights
    return torch.tensor(stated, device=device) if stated else None


class Regression:
    """Make the pixel loss smaller, and a further term if there is one.

    Parameters
    ----------
    module
        Maps planes (B, P, *S) to stains (B, C, *S).
    settings
        Pixel loss and optimiser.
    """

    def __init__(self, module: nn.Module, settings: LearningSettings) -> None:
        self._module = module
        self._loss = get_loss(settings.loss)
        self._weights = stain_weights(settings, next(module.parameters()).device)
        self.networks: Mapping[str, nn.Module] = {"generator": module}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "generator": make_optimiser(settings, module)
        }

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        further = Further(batch)

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, share in batch.parts():
                with moment.arithmetic():
                    predicted = self._module(planes)
                predicted = predicted.float()
                loss = self._loss(predicted, stains, self._weights)
                yield loss + further(predicted, stains, share), share

        return {"loss": moment.descend(self.optimisers["generator"], losses()), **further.said()}
