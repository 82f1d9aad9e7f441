"""How does a generator learn? Which networks take part, and what one step makes smaller.

The loop (`training.loop`) decides which patches a step sees, how long a training
goes on and what is kept. A learner, written beside its generator, decides what is
made smaller, and reads like the method section of its paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from napari_virtualstain.losses.pixel import get_loss

__all__ = [
    "Batch",
    "Learner",
    "LearningSettings",
    "Moment",
    "Regression",
    "make_optimiser",
    "stain_weights",
]

OptimiserName = Literal["adamw", "adam", "rmsprop"]


class LearningSettings(BaseModel):
    """What can be set about what is made smaller; methods add their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["l1", "l2"] = Field(default="l1", description="pixel loss")
    learning_rate: float = Field(default=1e-3, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay")
    optimiser: OptimiserName = Field(default="adamw", description="how weights are moved")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of adam: memory of the gradient")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="of adam: memory of its square")
    stain_weights: tuple[float, ...] = Field(
        default=(), description="what each stain counts in the pixel loss; alike if not given"
    )


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
    """

    planes: torch.Tensor
    stains: torch.Tensor
    at_once: int
    whole: int | None = None

    @property
    def share(self) -> float:
        """Which part of the whole batch this is."""
        return len(self.planes) / (self.whole or len(self.planes))

    def parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Yield planes, stains, and which share of the whole batch they are."""
        n = len(self.planes)
        for start in range(0, n, self.at_once):
            part = slice(start, min(start + self.at_once, n))
            yield self.planes[part], self.stains[part], (part.stop - start) / (self.whole or n)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a training a step is, and how its weights are moved.

    Parameters
    ----------
    step
        From 0.
    epoch
        How often, on average, a pixel of the training fields has been seen.
    device
        Kind of device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    precision
        Of forward passes: ``"fp32"`` or ``"bf16"``.
    clip
        Largest norm of the gradient of all weights of an optimiser, `None` for any.
    add_up
        Replaces gradients, in place, by their sum over all that learn from the batch; `None` where
        one does alone.
    """

    step: int
    epoch: float
    device: str = "cpu"
    precision: str = "fp32"
    clip: float | None = None
    add_up: Callable[[list[torch.Tensor]], None] | None = None

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes are computed."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def descend(
        self, optimiser: torch.optim.Optimizer, losses: Iterable[tuple[torch.Tensor, float]]
    ) -> float:
        """Move the weights of an optimiser once; return the loss of the batch, or its share of it.

        Parameters
        ----------
        optimiser
            Whose weights move.
        losses
            Of each part of the batch, with its share; computed one after the other.
        """
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for loss, share in losses:
            part = loss * share
            part.backward()  # type: ignore[no-untyped-call]
            total += float(part.detach())
        weights = [p for group in optimiser.param_groups for p in group["params"]]
        if self.add_up is not None:
            self.add_up([p.grad for p in weights if p.grad is not None])
        if self.clip is not None:
            nn.utils.clip_grad_norm_(weights, self.clip)
        optimiser.step()
        return total


class Learner(Protocol):
    """What the loop asks of a method.

    Attributes
    ----------
    networks
        All that has weights, by name; kept in checkpoints. ``"generator"`` is among them.
    optimisers
        By name; kept in checkpoints. Their first learning rates are scaled by the loop.
    """

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch.

        Returns
        -------
        dict
            What is worth logging, by name; ``"loss"`` is that of the generator, and may be
            missing from steps in which it does not learn. Of a part of a batch it is that part's
            share: over all parts it adds up.
        """


def make_optimiser(
    settings: LearningSettings, module: nn.Module, **changed: Any
) -> torch.optim.Optimizer:
    """Return what moves the weights of a network.

    Parameters
    ----------
    settings
        Which, and how fast.
    module
        Whose weights.
    changed
        Settings that are others for this network.
    """
    settings = settings.model_copy(update=changed)
    weights = [p for p in module.parameters() if p.requires_grad]
    lr, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(weights, lr=lr, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    betas = (settings.beta1, settings.beta2)
    return kind(weights, lr=lr, betas=betas, weight_decay=decay)


def stain_weights(settings: LearningSettings, device: torch.device) -> torch.Tensor | None:
    """Return what each stain counts, `None` for alike."""
    stated = settings.stain_weights
    return torch.tensor(stated, device=device) if stated else None


class Regression:
    """Make the pixel loss smaller, and nothing else.

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
        """Learn from a batch; see `Learner.step`."""

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, share in batch.parts():
                with moment.arithmetic():
                    predicted = self._module(planes)
                yield self._loss(predicted.float(), stains, self._weights), share

        return {"loss": moment.descend(self.optimisers["generator"], losses())}
