"""The U-Net over volumes: a stack in, as many stained stacks out, one plane for one plane.

The generator of L. Venieri, "Generative adversarial networks for three-dimensional multi-channel
virtual fluorescent staining", master thesis, Università di Bologna, sections 3.1 and 3.2, as far as
the text describes it: 64, 128 and 256 channels and 512 at the bottom, two convolutions of
3 x 3 x 3 a level, convolutions of 2 x 2 x 2 with stride 2 down, transposed ones up, InstanceNorm
without weights, and a last convolution of 3 x 3 x 3. With one channel in and six stains out it has
the 23.1 million parameters that the text states (23,092,678). No code was published.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

__all__ = ["UNet3d", "UNet3dNorm"]

UNet3dNorm = Literal["instance", "batch"]
"""``instance``: without weights, as in the thesis. It makes every field as lively as any other, and
so sees cells in a field that has none. ``batch``: BatchNorm, which does not, and whose tiles are
exact."""


_NORMS = {"instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}
_SLOPE = 0.05
"""Of LeakyReLU below zero, as of the thesis's critic."""


class _DoubleConv(nn.Sequential):
    """Two 3 x 3 x 3 convolutions that keep the size, each with a norm and LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: UNet3dNorm) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv3d(channels, out_channels, 3, padding=1),
                _NORMS[norm](out_channels),
                nn.LeakyReLU(_SLOPE, inplace=True),
            ]
        super().__init__(*layers)


class UNet3d(nn.Module):
    """Map (B, in_channels, Z, Y, X) to (B, out_channels, Z, Y, X), linear at the end.

    Parameters
    ----------
    in_channels
        Of the volume, 1 for one kind of light.
    out_channels
        Stains.
    depth
        Number of resolutions; Z, Y and X must be divisible by ``2 ** (depth - 1)``.
    width
        Channels at full resolution, doubled at every step down.
    norm
        See `UNet3dNorm`.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = UNet3d(1, 6)
    >>> sum(p.numel() for p in net.parameters())
    23092678
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 4,
        width: int = 64,
        norm: UNet3dNorm = "instance",
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.down_path = nn.ModuleList(
            _DoubleConv(before, after, norm)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv3d(n, n, 2, stride=2) for n in widths[:-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(2 * n, n, 2, stride=2) for n in reversed(widths[:-1])
        )
        self.up_path = nn.ModuleList(_DoubleConv(2 * n, n, norm) for n in reversed(widths[:-1]))
        self.last = nn.Conv3d(width, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        skips: list[torch.Tensor] = []
        for block, down in zip(self.down_path, self.down, strict=False):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.down_path[-1](x)
        for up, block in zip(self.up, self.up_path, strict=True):
            # (B, 2C, Z, Y, X) -> (B, C, 2Z, 2Y, 2X), then cat with the skip of that size
            x = block(torch.cat([up(x), skips.pop()], dim=1))
        return cast(torch.Tensor, self.last(x))
