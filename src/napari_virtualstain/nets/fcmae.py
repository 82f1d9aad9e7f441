"""FCMAE: a ConvNeXt V2 that was taught to fill gaps before it was taught to stain.

The network of Hirata-Miyasaki, Liu et al. (Cytoland), "VSCyto2D" and "VSCyto3D" of
Liu, Hirata-Miyasaki et al. 2024, "Robust virtual staining of landmark organelles",
doi:10.1101/2024.05.31.596901, after the fully convolutional masked autoencoder of
Woo et al. 2023, arXiv:2301.00808. State dicts published with VisCy load by name,
without their prefix ``model.``.

The planes of a stack go in together and come out as planes: the first convolution
folds z into channels, everything between is over planes, and the last step unfolds
channels into z, y and x. Masks are of the pretraining only and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from napari_virtualstain.nets.convnext import (
    ConvNeXtDecoder,
    ConvNeXtStage,
    blurred_shuffle,
    local_reach,
)

__all__ = ["FCMAE"]


class _Stem(nn.Module):
    """Fold (B, C, Z, Y, X) into (B, width, Y / stride, X / stride).

    Weights for a single plane and for several are in every published file; the depth of the
    stack decides which are used.
    """

    def __init__(
        self, in_channels: int, width: int, *, depth: int, kernel: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self._flat = depth == 1
        folded = width // (depth // kernel[0])
        self.conv3d = nn.Conv3d(in_channels, folded, kernel, stride=kernel)
        self.conv2d = nn.Conv2d(in_channels, width, kernel[1:], stride=kernel[1:])
        self.norm = nn.LayerNorm(width)
        (self.conv3d if self._flat else self.conv2d).requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # channels and z of the cells become channels, channels first
        x = self.conv2d(x[:, :, 0]) if self._flat else self.conv3d(x).flatten(1, 2)
        normal: torch.Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normal


class _Encoder(nn.Module):
    """Features of several resolutions, the finest first."""

    def __init__(
        self,
        in_channels: int,
        dims: Sequence[int],
        blocks: Sequence[int],
        *,
        depth: int,
        kernel: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.stem = _Stem(in_channels, dims[0], depth=depth, kernel=kernel)
        self.stages = nn.ModuleList(
            ConvNeXtStage(
                dims[max(0, level - 1)], dims[level], n, stride=1 if level == 0 else 2,
                names=("dwconv", "layernorm"), bias=False, eps=1e-5,
            )
            for level, n in enumerate(blocks)
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class FCMAE(nn.Module):
    """Map (B, in_channels, depth, Y, X) to (B, out_channels, depth, Y, X), linear at the end.

    Parameters
    ----------
    in_channels
        Kinds of light.
    out_channels
        Stains.
    depth
        Planes that go in and come out together.
    stem_depth, stem
        Planes, and pixels along y and x, that the first convolution makes one of.
    dims, blocks
        Channels and blocks of each resolution, the finest first.
    decoder_blocks
        Of each resolution on the way back.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = FCMAE(1, 2, depth=15)
    >>> sum(p.numel() for p in net.parameters())
    34979328
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int,
        stem_depth: int = 5,
        stem: int = 4,
        dims: Sequence[int] = (96, 192, 384, 768),
        blocks: Sequence[int] = (3, 3, 9, 3),
        decoder_blocks: int = 2,
    ) -> None:
        super().__init__()
        if depth % stem_depth or dims[0] % (depth // stem_depth):
            raise ValueError(f"{depth} planes cannot be folded by {stem_depth} into {dims[0]}")
        if len(dims) != len(blocks):
            raise ValueError("dims and blocks differ in length")
        self._out, self._depth, self._stem = out_channels, depth, stem
        self.approximate_reach = local_reach(stem, blocks, decoder_blocks)
        self.encoder = _Encoder(
            in_channels, dims, blocks, depth=depth, kernel=(stem_depth, stem, stem)
        )
        self.decoder = ConvNeXtDecoder(dims, out_channels * depth * stem**2, decoder_blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        x = blurred_shuffle(self.decoder(self.encoder(x)), self._stem)
        # (B, out_channels * depth, Y, X) -> (B, out_channels, depth, Y, X)
        return torch.unflatten(x, 1, (self._out, self._depth))
