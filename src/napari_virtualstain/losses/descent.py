"""How the weights of a network are moved to make a loss small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from napari_virtualstain.losses.descent_settings import DescentSettings

__all__ = ["Learner", "Moment", "make_optimiser"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a training a step is, and how its weights are moved.

    Parameters
    ----------
    step
        From 0.
    epoch
        How often, on average, a pixel (of pictures: a picture) of the training has been seen.
    done
        Which part of the training is over, from 0 to 1.
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
    done: float = 0.0
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
        All that has weights, by name; kept in checkpoints.
    optimisers
        By name; kept in checkpoints. Their first learning rates are scaled by the loop.
    """

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    def step(self, batch: Any, moment: Moment) -> dict[str, float]:
        """Learn from a batch.

        Parameters
        ----------
        batch
            What the task (`training.loop.Task`) makes of what it drew.
        moment
            Where in the training this is.

        Returns
        -------
        dict
            What is worth logging, by name; ``"loss"`` is that of the network that is kept, and
            may be missing from steps in which it does not learn. Of a part of a batch it is that
            part's share: over all parts it adds up.
        """


def make_optimiser(
    settings: DescentSettings, module: nn.Module, **changed: Any
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
