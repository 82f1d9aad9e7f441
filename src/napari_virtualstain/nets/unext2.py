"""UNeXt2: a ConvNeXt V2 with a decoder, from a few z planes to as many.

The network of Liu, Hirata-Miyasaki et al. 2024, "Robust virtual staining of landmark
organelles", doi:10.1101/2024.05.31.596901 ("VSCyto3D" of 2024, "VSNeuromast"). State
dicts published with VisCy load by name, without their prefix ``model.``.

As in `nets.fcmae`, the first convolution folds z into channels and everything between
is over planes. The head unfolds the channels into planes, two more than are wanted,
which one convolution over volumes takes away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.nets.convnext import (
    ConvNeXtDecoder,
    ConvNeXtStage,
    LayerNorm2d,
    blurred_shuffle,
    local_reach,
)

__all__ = ["UNeXt2"]

_STEM = 4
"""Pixels along y and x that the first convolution makes one of; the head doubles twice."""


class _Stem(nn.Module):
    """Fold (B, C, Z, Y, X) into (B, width, Y / 4, X / 4)."""

    def __init__(self, in_channels: int, width: int, *, depth: int, stem_depth: int) -> None:
        super().__init__()
        kernel = (stem_depth, _STEM, _STEM)
        self.conv = nn.Conv3d(in_channels, width // (depth // stem_depth), kernel, stride=kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.conv(x).flatten(1, 2))


class _Act(nn.Module):
    """Normalise each channel over the volume, then PReLU (the names are those of MONAI)."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.A(functional.instance_norm(x)))


class _ConvAct(nn.Module):
    """A convolution over volumes that takes away the first and the last plane."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=(0, 1, 1))
        self.adn = _Act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.adn(self.conv(x)))


class _Head(nn.Module):
    """Unfold (B, C, Y, X) into (B, out_channels, depth, 4Y, 4X)."""

    def __init__(self, out_channels: int, *, depth: int, expansion: int) -> None:
        super().__init__()
        self._depth = depth + 2
        within = out_channels * expansion
        self.conv = nn.Sequential(
            _ConvAct(within, 4 * within), nn.Conv3d(4 * within, 4 * out_channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = blurred_shuffle(x, 2)
        x = self.conv(torch.unflatten(x, 1, (-1, self._depth)))
        # (B, 4C, Z, 2Y, 2X) -> (B, C, Z, 4Y, 4X)
        return functional.pixel_shuffle(x.transpose(1, 2), 2).transpose(1, 2)


class UNeXt2(nn.Module):
    """Map (B, in_channels, depth, Y, X) to (B, out_channels, depth, Y, X), linear at the end.

    Parameters
    ----------
    in_channels
        Kinds of light.
    out_channels
        Stains.
    depth
        Planes that go in and come out together.
    stem_depth
        Planes that the first convolution makes one of.
    dims, blocks
        Channels and blocks of each resolution, the finest first.
    decoder_blocks
        Of each resolution on the way back.
    expansion
        Of the channels in the head.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = UNeXt2(1, 2, depth=5)
    >>> sum(p.numel() for p in net.parameters())
    32042729
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int,
        stem_depth: int = 5,
        dims: Sequence[int] = (96, 192, 384, 768),
        blocks: Sequence[int] = (3, 3, 9, 3),
        decoder_blocks: int = 2,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        if depth % stem_depth or dims[0] % (depth // stem_depth):
            raise ValueError(f"{depth} planes cannot be folded by {stem_depth} into {dims[0]}")
        if len(dims) != len(blocks):
            raise ValueError("dims and blocks differ in length")
        self.approximate_reach = local_reach(_STEM, blocks, decoder_blocks)
        # First, since it says how many axes there are.
        self.stem = _Stem(in_channels, dims[0], depth=depth, stem_depth=stem_depth)
        self.encoder_stages = nn.ModuleDict(
            {"stem_1": LayerNorm2d(dims[0], eps=1e-6)}
            | {
                f"stages_{level}": ConvNeXtStage(
                    dims[max(0, level - 1)], dims[level], n, stride=1 if level == 0 else 2
                )
                for level, n in enumerate(blocks)
            }
        )
        self.decoder = ConvNeXtDecoder(
            dims, (depth + 2) * 4 * out_channels * expansion, decoder_blocks
        )
        self.head = _Head(out_channels, depth=depth, expansion=expansion)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        x = self.stem(x)
        features = []
        for part in self.encoder_stages.values():
            x = part(x)
            features.append(x)
        return cast(torch.Tensor, self.head(self.decoder(features[1:])))
