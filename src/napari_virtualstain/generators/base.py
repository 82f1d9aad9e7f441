"""What every generator promises, whatever its method.

A generator maps normalised bright-field planes to normalised stains, numpy in
and numpy out, so that tiling, engine and jobs never see torch. `GeneratorSpec`
describes a method before any weights load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from napari_virtualstain.generators.learning import LearningSettings
    from napari_virtualstain.losses.descent import Learner

__all__ = ["Generator", "GeneratorSpec", "Graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSpec:
    """What the command line, the widgets and the tiler need to know of a method.

    Parameters
    ----------
    name
        Registry key, typed on the command line and shown in menus.
    title
        For people.
    target
        ``"module:Class"``, imported when built, so that listing needs no torch.
    ndim
        Numbers of spatial axes that it accepts.
    stochastic
        Whether another seed gives another stain.
    source
        DOI or arXiv id of the method.
    exactness
        What tiles of its small presets have in common with the whole image: ``"exact"``
        everything, ``"statistics"`` everything once normalisation has the statistics of the whole
        image, ``"approximate"`` not all (attention, pooling to one pixel). A network is scanned
        before it runs; this is for whoever chooses one.
    presets
        Architecture settings by name. Each spec of a method has ``tiny``, which trains in
        about a second and is what the contract tests build.
    conditioned
        Whether it can be told labels of an image beside its planes.
    weights
        Name of the file beside the card that the weights lie in.
    """

    name: str
    title: str
    target: str
    ndim: tuple[int, ...]
    stochastic: bool
    source: str
    exactness: Literal["exact", "statistics", "approximate"] = "exact"
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conditioned: bool = False
    weights: str = "weights.safetensors"


@runtime_checkable
class Generator(Protocol):
    """A network with weights, ready to predict.

    Attributes
    ----------
    in_channels, out_channels
        Planes that go in, stains that come out.
    multiple_of
        Edges of what `predict` is given must be divisible by this (pixels).
    ndim
        Number of spatial axes.
    window
        Planes that a generator over volumes takes and gives at a time, the only number it
        takes; `None` for any that is divisible. A deeper stack goes through it window by window.
    learning
        Settings of how it learns.
    """

    in_channels: int
    out_channels: int
    multiple_of: int
    ndim: int
    window: int | None
    learning: type[LearningSettings]

    def predict(self, planes: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
        """Predict normalised stains.

        Parameters
        ----------
        planes
            Normalised bright field, (B, in_channels, *S) float32, with every
            edge of S divisible by `multiple_of`; along z, `window` planes where there is one.
        seed
            Decides the draw of a stochastic generator; others ignore it.

        Returns
        -------
        numpy.ndarray
            (B, out_channels, *S) float32.
        """

    def module(self) -> nn.Module:
        """Return the torch module, for training, scanning and export."""

    def learner(self, settings: LearningSettings) -> Learner:
        """Return what teaches this generator, which moves the weights of `module`.

        Parameters
        ----------
        settings
            Of the kind that `learning` names.
        """


@runtime_checkable
class Graph(Protocol):
    """What a generator whose network came as a file of its own has beside.

    Attributes
    ----------
    content
        Of the file.
    """

    content: bytes

    def open_graph(self, content: bytes) -> None:
        """Take the file that the network is in."""
