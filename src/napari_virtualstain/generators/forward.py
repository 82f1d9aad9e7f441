"""A generator that is one forward pass: the same stain every time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.generators.learning import LearningSettings, Regression
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.nets.building import ask

__all__ = ["ForwardGenerator"]


class ForwardGenerator:
    """Predict stains with a network that maps (B, P, *S) to (B, C, *S).

    Parameters
    ----------
    net
        The network.
    in_channels, out_channels
        Planes and stains.
    multiple_of
        Edges must be divisible by this (pixels).
    ndim
        Number of spatial axes.
    window
        Planes that it takes at a time, `None` for any number; see `generators.base.Generator`.
    """

    learning: ClassVar[type[LearningSettings]] = LearningSettings

    def __init__(
        self,
        net: nn.Module,
        *,
        in_channels: int,
        out_channels: int,
        multiple_of: int,
        ndim: int = 2,
        window: int | None = None,
    ) -> None:
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.multiple_of = multiple_of
        self.ndim = ndim
        self.window = window
        self._net = net

    def module(self) -> nn.Module:
        """Return the torch module."""
        return self._net

    def learner(self, settings: LearningSettings) -> Learner:
        """Return what makes the pixel loss smaller."""
        return Regression(self._net, settings)

    def predict(self, planes: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
        """Predict normalised stains; see `generators.base.Generator.predict`."""
        del seed  # the same planes always give the same stain
        return ask(self._net, planes)  # (B, P, *S) -> (B, C, *S)
