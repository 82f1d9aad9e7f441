"""What every encoder promises, whatever its method.

An encoder maps pictures to features, numpy in and numpy out; one that classifies maps them to
scores as well. `EncoderSpec` describes a method before any weights load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.losses.descent_settings import DescentSettings

__all__ = ["Classifier", "Encoder", "EncoderSpec", "PatchEncoder"]

Learns = Literal["views", "labelled views", "classes"]
"""What teaches an encoder: views of a picture, views of pictures with one label, or the label."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What the command line and the widgets need to know of a method.

    Parameters
    ----------
    name
        Registry key, typed on the command line and shown in menus.
    title
        For people.
    target
        ``"module:Class"``, imported when built, so that listing needs no torch.
    ndim
        Number of spatial axes.
    learns
        From what.
    source
        DOI or arXiv id of the method.
    presets
        Architecture settings by name; each spec has ``tiny``, which trains in about a second.
    """

    name: str
    title: str
    target: str
    ndim: int
    learns: Learns
    source: str
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@runtime_checkable
class Encoder(Protocol):
    """A network with weights, ready to see.

    Attributes
    ----------
    in_channels
        Channels that go in at once.
    classes
        It tells apart; 0 where it only gives features.
    dim
        Features of a picture.
    ndim
        Number of spatial axes.
    multiple_of
        Edges of what it is given must be divisible by this (pixels).
    smallest
        Edge that it can be given (pixels).
    learning
        Settings of how it learns.
    """

    in_channels: int
    classes: int
    dim: int
    ndim: int
    multiple_of: int
    smallest: int
    learning: type[DescentSettings]

    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        """Return what it sees.

        Parameters
        ----------
        pictures
            Normalised, (B, in_channels, *S) float32, edges divisible by `multiple_of`.

        Returns
        -------
        numpy.ndarray
            (B, dim) float32, as the network gives them; their length says little.
        """

    def module(self) -> nn.Module:
        """Return the torch module that the weights are of."""

    def learner(self, settings: DescentSettings) -> Learner:
        """Return what teaches it, which moves the weights of `module`.

        Parameters
        ----------
        settings
            Of the kind that `learning` names.
        """


@runtime_checkable
class Classifier(Encoder, Protocol):
    """An encoder that tells classes apart."""

    def scores(self, pictures: Pictures) -> NDArray[np.float32]:
        """Return the probability of each class, (B, classes), each row summing to 1."""

    def scales(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return features (B, C_n, *S_n) of each scale, from the finest; gradients pass."""


@runtime_checkable
class PatchEncoder(Encoder, Protocol):
    """An encoder that looks at patches, and can say at which.

    Attributes
    ----------
    patch
        Edge of a patch in pixels.
    depth, heads
        Blocks that attend, and ways in which each does.
    """

    patch: int
    depth: int
    heads: int

    def attention(
        self, pictures: Pictures, *, block: int = -1, rows: Sequence[int] = (0,)
    ) -> NDArray[np.float32]:
        """Return to what tokens attend in a block.

        Parameters
        ----------
        pictures
            As for `features`.
        block
            Which, from 0; negative from the last.
        rows
            Tokens that ask: 0 is the picture's own, 1 + n the n-th patch, row by row.

        Returns
        -------
        numpy.ndarray
            (B, heads, len(rows), 1 + patches) float32, each row summing to 1.
        """

    def rollout(self, pictures: Pictures, *, rows: Sequence[int] = (0,)) -> NDArray[np.float32]:
        """Return from which tokens of the picture some tokens come, through all blocks.

        Parameters
        ----------
        pictures, rows
            As for `attention`.

        Returns
        -------
        numpy.ndarray
            (B, len(rows), 1 + patches) float32, each row summing to 1.
        """
