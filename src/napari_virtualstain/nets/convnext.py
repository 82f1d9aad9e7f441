"""ConvNeXt V2: wide depthwise kernels, and channels that compete with each other.

The blocks of Woo et al. 2023, "ConvNeXt V2: Co-designing and Scaling ConvNets with
Masked Autoencoders", arXiv:2301.00808, and the decoder that VisCy puts behind them
(Liu, Hirata-Miyasaki et al. 2024, doi:10.1101/2024.05.31.596901), with the names of
their published parameters. Used by `nets.fcmae` and `nets.unext2`.

`GlobalResponse` weighs a channel by its norm over the *whole* image it is given, so
that no tile of these networks is exactly the whole image. Both networks say how far
their kernels look in ``approximate_reach``, which `inference.scan` takes as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "ConvNeXtBlock",
    "ConvNeXtDecoder",
    "ConvNeXtStage",
    "GlobalResponse",
    "LayerNorm2d",
    "blurred_shuffle",
    "local_reach",
]

_KERNEL = 7
_FAR = 256
"""Pixels around a tile that are looked at at most. The published networks were trained on patches
of a few hundred pixels: from further away they have learnt nothing."""


class LayerNorm2d(nn.LayerNorm):
    """Normalise each pixel of (B, C, Y, X) over its channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponse(nn.Module):
    """Weigh each channel of (B, Y, X, C) by its norm among those of all channels.

    ``x + bias + weight * x * |x_c| / mean_c |x_c|``, with norms over Y and X.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)  # (B, 1, 1, C)
        share = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        return x + torch.addcmul(self.bias, self.weight, x * share)


class _Mlp(nn.Module):
    """Two layers a pixel, on (B, Y, X, C); ``conv`` names their weights as 1 x 1 convolutions."""

    def __init__(self, channels: int, *, conv: bool) -> None:
        super().__init__()
        wide = 4 * channels
        self.fc1 = nn.Conv2d(channels, wide, 1) if conv else nn.Linear(channels, wide)
        self.grn = GlobalResponse(wide)
        self.fc2 = nn.Conv2d(wide, channels, 1) if conv else nn.Linear(wide, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.linear(x, self.fc1.weight.flatten(1), self.fc1.bias)
        x = self.grn(functional.gelu(x))
        return functional.linear(x, self.fc2.weight.flatten(1), self.fc2.bias)


class ConvNeXtBlock(nn.Module):
    """Add to (B, C, Y, X) what a depthwise kernel of 7 px and a small network a pixel make of it.

    Parameters
    ----------
    channels
        C.
    conv
        Whether the small network's weights have the shapes of convolutions.
    names
        Of kernel and norm: published networks differ.
    bias
        Whether the kernel has one.
    eps
        Of the norm.
    """

    def __init__(
        self,
        channels: int,
        *,
        conv: bool = False,
        names: tuple[str, str] = ("conv_dw", "norm"),
        bias: bool = True,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self._kernel, self._norm = names
        self.add_module(
            names[0],
            nn.Conv2d(
                channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels, bias=bias
            ),
        )
        self.add_module(names[1], nn.LayerNorm(channels, eps=eps))
        self.mlp = _Mlp(channels, conv=conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add."""
        y = self.get_submodule(self._kernel)(x).permute(0, 2, 3, 1)
        y = self.mlp(self.get_submodule(self._norm)(y))
        return x + cast(torch.Tensor, y.permute(0, 3, 1, 2))


class ConvNeXtStage(nn.Module):
    """Change channels and resolution of (B, C, Y, X) if asked to, then blocks.

    Parameters
    ----------
    in_channels, out_channels
        Before and behind.
    blocks
        How many.
    stride
        By which the resolution shrinks, 1 to keep it.
    conv, names, bias, eps
        Of `ConvNeXtBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: int,
        *,
        stride: int = 1,
        conv: bool = False,
        names: tuple[str, str] = ("conv_dw", "norm"),
        bias: bool = True,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                LayerNorm2d(in_channels, eps=1e-6),
                nn.Conv2d(in_channels, out_channels, stride, stride=stride),
            )
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(out_channels, conv=conv, names=names, bias=bias, eps=eps)
                for _ in range(blocks)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, Y, X) to (B, out_channels, Y / stride, X / stride)."""
        return cast(torch.Tensor, self.blocks(self.downsample(x)))


class _UpStage(nn.Module):
    """Double the size, join the skip connection, a stage."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, blocks: int):
        super().__init__()
        self.conv = ConvNeXtStage(in_channels // 4 + skip_channels, out_channels, blocks, conv=True)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        # (B, C, Y, X) -> (B, C / 4, 2Y, 2X), then cat with (B, C', 2Y, 2X)
        return cast(
            torch.Tensor, self.conv(torch.cat([functional.pixel_shuffle(x, 2), skip], dim=1))
        )


class ConvNeXtDecoder(nn.Module):
    """From the coarsest features back to the finest.

    Parameters
    ----------
    dims
        Channels of the features, the finest first.
    out_channels
        At the resolution of the finest.
    blocks
        A stage.
    """

    def __init__(self, dims: Sequence[int], out_channels: int, blocks: int) -> None:
        super().__init__()
        skips = [*reversed(dims[:-1])]
        widths = [dims[-1], *skips[:-1], out_channels]
        self.decoder_stages = nn.ModuleList(
            _UpStage(before, skip, after, blocks)
            for (before, after), skip in zip(pairwise(widths), skips, strict=True)
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map features, the finest first, to (B, out_channels, Y, X) of the finest."""
        *skips, x = features
        for stage, skip in zip(self.decoder_stages, reversed(skips), strict=True):
            x = stage(x, skip)
        return x


def blurred_shuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Spread channels over pixels, then take means so wide that no grid of the factor remains.

    (B, C, Y, X) to (B, C / factor², factor Y, factor X); means look up and to the left only,
    with zeros beyond the border (Sugawara et al. 2018, doi:10.1007/978-3-030-11021-5_28).
    """
    x = functional.pixel_shuffle(x, factor)
    before = factor - 1
    return functional.avg_pool2d(functional.pad(x, (before, 0, before, 0)), factor, stride=1)


def local_reach(stem: int, blocks: Sequence[int], decoder_blocks: int) -> tuple[int, int]:
    """Return how far the kernels look in y and x, and the total stride, in pixels.

    Parameters
    ----------
    stem
        Pixels that the first convolution makes one of.
    blocks
        Of the stages of the encoder, the finest first.
    decoder_blocks
        Of each stage of the decoder.

    Examples
    --------
    >>> local_reach(4, (1, 1), 1)
    (64, 8)
    """
    strides = [stem * 2**level for level in range(len(blocks))]
    reach = _KERNEL // 2
    down = sum(reach * n * stride for n, stride in zip(blocks, strides, strict=True))
    up = sum(reach * decoder_blocks * stride for stride in strides[:-1])
    # Where a pixel lies in its cell, and the head, add less than a cell and two of the stem.
    return min(down + up + strides[-1] + 2 * stem, _FAR), strides[-1]
