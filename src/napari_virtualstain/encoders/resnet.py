"""A ResNet that tells treatments, or structures, apart.

Trained on real pictures and asked of predicted ones: whether a prediction shows what a treatment
does (Fróes, "Exploring Image-to-Image Translation Techniques for Microscopy Images", UFRGS), or
which structure it is (Venieri, master thesis, Università di Bologna, section 4.3). Its features
are a measure of how alike pictures are (`losses.perceptual`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional

from napari_virtualstain.encoders.learning import Labelled
from napari_virtualstain.losses.descent import DescentSettings, Moment, make_optimiser
from napari_virtualstain.nets.building import ask
from napari_virtualstain.nets.resnet import ResNet

__all__ = ["Classification", "ClassifierSettings", "ResNetClassifier"]

_FEW = 2
"""Classes that can be told apart at least."""


class ClassifierSettings(DescentSettings):
    """What can be set about a classifier."""

    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="part of a label that is shared by all classes"
    )


class ResNetClassifier:
    """A classifier whose features can be asked for, of each scale.

    Parameters
    ----------
    in_channels
        That go in at once.
    classes
        To tell apart.
    ndim, blocks, width, bottleneck
        See `nets.resnet.ResNet`.
    """

    learning: ClassVar[type[DescentSettings]] = ClassifierSettings
    multiple_of = 1
    smallest = 16

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        ndim: Literal[2, 3] = 2,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        bottleneck: bool = True,
    ) -> None:
        if classes < _FEW:
            raise ValueError(f"a classifier needs at least {_FEW} classes, and there are {classes}")
        self.in_channels, self.classes, self.ndim = in_channels, classes, ndim
        self._net = ResNet(
            in_channels, classes, ndim=ndim, blocks=blocks, width=width, bottleneck=bottleneck
        )
        self.dim = self._net.fc.in_features

    def module(self) -> nn.Module:
        """Return the torch module."""
        return self._net

    def learner(self, settings: DescentSettings) -> Classification:
        """Return what makes its mistakes fewer."""
        return Classification(self._net, cast(ClassifierSettings, settings))

    def features(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of the coarsest scale; see `encoders.base.Encoder`."""
        return ask(self._net, pictures, self._net.features)

    def scores(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities; see `encoders.base.Classifier`."""
        return ask(self._net, pictures, lambda x: self._net(x).softmax(dim=1))

    def scales(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return features of each scale; see `encoders.base.Classifier`."""
        return self._net.scales(pictures)


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
