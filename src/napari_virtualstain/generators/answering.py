"""How does a network that is walked with learn? It answers to pictures that noise was mixed into.

What all methods that draw have in common: in a step, the stains of each patch are mixed with what
their walk begins from, as far along as is drawn; the network is shown this, and its answer is
compared with what it should say. What is mixed and asked for is the method's (`Lesson`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from napari_virtualstain.generators.learning import Batch, Further, LearningSettings, stain_weights
from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.pixel import get_loss

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Answering", "AnsweringSettings", "Lesson"]


class AnsweringSettings(LearningSettings):
    """Settings of what learns to answer."""

    learning_rate: float = Field(default=5e-5, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="adam", description="how weights are moved"
    )
    answer_loss: Literal["l1", "l2"] = Field(
        default="l2",
        description="of what the network answers to noise; --loss is of the examination. l1 draws "
        "less different stains",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What one part of a batch came to.

    Parameters
    ----------
    loss
        To be made small.
    clean
        Returns the stains (B, C, Y, X) that the answer means.
    said
        Worth logging, by name.
    called
        Of the loss, in the log.
    """

    loss: torch.Tensor
    clean: Callable[[], torch.Tensor]
    said: Mapping[str, float] = field(default_factory=dict)
    called: str = "loss"


class Answering(ABC):
    """Make the difference small between what a network answers, and what it should.

    Parameters
    ----------
    module
        All weights that learn.
    settings
        See `AnsweringSettings`.
    """

    def __init__(self, module: nn.Module, settings: AnsweringSettings) -> None:
        self._loss = get_loss(settings.answer_loss)
        self._weights = stain_weights(settings, next(module.parameters()).device)
        self.networks: Mapping[str, nn.Module] = {"generator": module}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "generator": make_optimiser(settings, module)
        }

    @abstractmethod
    def lesson(
        self,
        planes: torch.Tensor,
        stains: torch.Tensor,
        labels: torch.Tensor | None,
        moment: Moment,
    ) -> Lesson:
        """Return what a part of a batch teaches; see `generators.learning.Batch`."""

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        further, called = Further(batch), "loss"
        said: dict[str, float] = {}

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            nonlocal called
            for planes, stains, labels, share in batch.labelled_parts():
                lesson = self.lesson(planes, stains, labels, moment)
                loss, called = lesson.loss, lesson.called
                for name, value in lesson.said.items():
                    said[name] = said.get(name, 0.0) + value * share
                if further.wanted:
                    loss = loss + further(lesson.clean(), stains, share)
                yield loss, share

        total = moment.descend(self.optimisers["generator"], losses())
        return {called: total, **said, **further.said()}
