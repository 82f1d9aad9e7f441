"""What do classifiers share, whatever their network? How they are asked, and how they learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional

from napari_virtualstain.encoders.learning import Labelled
from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.descent_settings import DescentSettings
from napari_virtualstain.nets.building import ask

__all__ = ["Classification", "ClassifierSettings", "NetworkClassifier", "check_classes"]

_FEW = 2
"""Classes that can be told apart at least."""


class ClassifierSettings(DescentSettings):
    """What can be set about a classifier."""

    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="part of a label that is shared by all classes"
    )


def check_classes(classes: int) -> None:
    """Refuse fewer classes than can be told apart."""
    if classes < _FEW:
        raise ValueError(f"a classifier needs at least {_FEW} classes, and there are {classes}")


class _Network(Protocol):
    """A torch module with features."""

    def features(self, x: torch.Tensor) -> torch.Tensor: ...

    def scales(self, x: torch.Tensor) -> list[torch.Tensor]: ...


class NetworkClassifier:
    """A network whose features can be asked for, of each scale, and whose classes can.

    Parameters
    ----------
    network
        Maps pictures to scores before the softmax; has ``features`` and ``scales``.
    in_channels, classes, ndim, dim
        See `encoders.base.Encoder`.
    """

    learning: ClassVar[type[DescentSettings]] = ClassifierSettings
    multiple_of = 1
    smallest = 16

    def __init__(
        self, network: nn.Module, *, in_channels: int, classes: int, ndim: int, dim: int
    ) -> None:
        self.in_channels, self.classes, self.ndim, self.dim = in_channels, classes, ndim, dim
        self._net = network

    def module(self) -> nn.Module:
        """Return the torch module."""
        return self._net

    def learner(self, settings: DescentSettings) -> Classification:
        """Return what makes its mistakes fewer."""
        return Classification(self._net, cast(ClassifierSettings, settings))

    def features(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of the coarsest scale; see `encoders.base.Encoder`."""
        return ask(self._net, pictures, cast(_Network, self._net).features)

    def scores(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities; see `encoders.base.Classifier`."""
        return ask(self._net, pictures, lambda x: self._net(x).softmax(dim=1))

    def scales(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return features of each scale; see `encoders.base.Classifier`."""
        return cast(_Network, self._net).scales(pictures)


class Classification:
    """Make the cross-entropy smaller.

    Parameters
    ----------
    module
        Maps pictures (B, C, *S) to scores (B, K).
    settings
        Of the method.
    """

    def __init__(self, module: nn.Module, settings: ClassifierSettings) -> None:
        self._module, self._smoothing = module, settings.smoothing
        self.networks: Mapping[str, nn.Module] = {"encoder": module}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "encoder": make_optimiser(settings, module)
        }

    def step(self, batch: Labelled, moment: Moment) -> dict[str, float]:
        """Learn from pictures; see `losses.descent.Learner.step`."""
        with moment.arithmetic():
            scores = self._module(batch.pictures)
        loss = functional.cross_entropy(
            scores.float(), batch.classes, label_smoothing=self._smoothing
        )
        right = (scores.detach().argmax(dim=1) == batch.classes).float().mean()
        said = moment.descend(self.optimisers["encoder"], [(loss, 1.0)])
        return {"loss": said, "accuracy": float(right)}
