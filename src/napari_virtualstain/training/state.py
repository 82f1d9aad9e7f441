"""What a training knows of itself between two steps, and how that outlives a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.training.checkpoint import load_checkpoint, save_checkpoint
from napari_virtualstain.training.settings import LoopSettings

__all__ = ["State", "Weights", "snapshot"]

Weights = dict[str, torch.Tensor]


def snapshot(module: nn.Module) -> Weights:
    """Return a copy of the weights of a network."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@dataclass(slots=True)
class State:
    """All that changes in a training but the weights themselves.

    Parameters
    ----------
    step
        Steps done.
    average
        Exponential moving average of the generator's weights.
    best, best_loss, best_scores
        The averaged weights that did best, and how; `None` before the first examination.
    stale
        Examinations since.
    rows
        Of the log.
    running
        What steps said since the last row, by name.
    total
        Number of steps that a time budget came to, `None` while it is not known.
    """

    step: int
    average: Weights
    best: Weights | None = None
    best_loss: float = float("inf")
    best_scores: list[float] = field(default_factory=list)
    stale: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, list[float]] = field(default_factory=dict)
    total: int | None = None

    @classmethod
    def fresh(cls, module: nn.Module) -> State:
        """Return the state before the first step."""
        return cls(step=0, average=snapshot(module))

    @property
    def kept(self) -> Weights:
        """The weights that a training would end with now."""
        return self.best or self.average

    def take(self, said: Mapping[str, float], module: nn.Module, settings: LoopSettings) -> None:
        """Note what a step said, and let the average follow its weights."""
        for name, value in said.items():
            self.running.setdefault(name, []).append(value)
        if settings.ema:
            _follow(self.average, module, settings.ema, self.step)
        else:
            self.average = snapshot(module)
        self.step += 1

    def save(
        self, path: Path, learner: Learner, stains: tuple[str, ...], settings: dict[str, Any]
    ) -> None:
        """Write everything that the training needs to go on, whole or not at all."""
        own = {name: getattr(self, name) for name in self.__slots__}
        save_checkpoint(
            path,
            {
                **own,
                "stains": list(stains),
                "networks": {n: net.state_dict() for n, net in learner.networks.items()},
                "optimisers": {n: o.state_dict() for n, o in learner.optimisers.items()},
            },
            settings=settings,
        )

    @classmethod
    def resumed(
        cls,
        path: Path,
        learner: Learner,
        stains: tuple[str, ...],
        settings: dict[str, Any],
        *,
        device: str,
    ) -> State:
        """Read a checkpoint, and give networks and optimisers what they had.

        Raises
        ------
        ModelPackageError, SettingsError
            If it is damaged, or of other settings, networks or stains.
        """
        stored = load_checkpoint(path, settings=settings)
        try:
            for name, network in learner.networks.items():
                network.load_state_dict(stored["networks"][name])
            for name, optimiser in learner.optimisers.items():
                optimiser.load_state_dict(stored["optimisers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"The checkpoint in '{path.parent}' is of another network: its preset, planes or "
                "number of stains differ. Use the same settings, or train again without --resume."
            ) from error
        if tuple(stored["stains"]) != stains:
            raise SettingsError(
                f"The checkpoint was made for {', '.join(stored['stains'])}, this training is for "
                f"{', '.join(stains)}. Name the same --stains in the same order."
            )
        state = cls(**{name: stored[name] for name in cls.__slots__})
        state.average = {k: v.to(device) for k, v in state.average.items()}
        return state


def _follow(average: Weights, module: nn.Module, decay: float, step: int) -> None:
    # Early on the average would be made of random weights: let it follow faster.
    keep = min(decay, (1 + step) / (10 + step))
    # What others rely on as it is has no average: it was measured, or has learnt before.
    settled = {name for name, weight in module.named_parameters() if not weight.requires_grad}
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and name not in settled:
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)
