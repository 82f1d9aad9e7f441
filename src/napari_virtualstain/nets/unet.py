"""The U-Net: what a pixel's neighbourhood, near and far, says about its stain.

The module follows the network of Cross-Zamirski et al. 2022, "Label-free
prediction of Cell Painting from brightfield images", Sci. Rep. 12, 10001,
doi:10.1038/s41598-022-12914-x, down to the names of its parameters
(``down_path.0.block.0.weight``), so that weights published with it load.

Notes
-----
The paper's text puts BatchNorm behind every ReLU; its published weights have
none. Both are offered (``norm="none"`` is the published network). Our own
presets normalise between convolution and ReLU, where BatchNorm can be folded
into the convolution.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

__all__ = ["UNet", "UNetNorm"]

UNetNorm = Literal["none", "batch", "batch-after", "instance"]
"""``batch``: conv, BatchNorm, ReLU. ``batch-after``: conv, ReLU, BatchNorm (the paper's text).
``instance``: conv, InstanceNorm with weights, ReLU."""


class _DoubleConv(nn.Module):
    """Two 3 x 3 convolutions that keep the size, each with ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: UNetNorm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            # A bias in front of a norm would be subtracted again.
            biased = norm not in {"batch", "instance"}
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=biased))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(out_channels))
            elif norm == "instance":
                layers.append(nn.InstanceNorm2d(out_channels, affine=True))
            layers.append(nn.ReLU(inplace=True))
            if norm == "batch-after":
                layers.append(nn.BatchNorm2d(out_channels))
        self.block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.block(x))


class _UpBlock(nn.Module):
    """Double the size, join the skip connection, convolve twice."""

    def __init__(self, in_channels: int, out_channels: int, norm: UNetNorm) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.conv_block = _DoubleConv(in_channels, out_channels, norm)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        # (B, 2C, Y, X) -> (B, C, 2Y, 2X), then cat with (B, C, 2Y, 2X)
        joined = torch.cat([self.up(x), skip], dim=1)
        return cast(torch.Tensor, self.conv_block(joined))


class UNet(nn.Module):
    """Map (B, in_channels, Y, X) to (B, out_channels, Y, X), linear at the end.

    Parameters
    ----------
    in_channels
        Planes of the input, for example three z planes of bright field.
    out_channels
        Stains.
    depth
        Number of resolutions; Y and X must be divisible by ``2 ** (depth - 1)``.
    width
        Channels at full resolution, doubled at every step down.
    norm
        See `UNetNorm`.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = UNet(3, 5, depth=6, width=32)
    >>> sum(p.numel() for p in net.parameters())
    31094629
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 5,
        width: int = 32,
        norm: UNetNorm = "none",
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.down_path = nn.ModuleList(
            _DoubleConv(before, after, norm)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self._depth = depth
        self.up_path = nn.ModuleList(
            _UpBlock(widths[level + 1], widths[level], norm) for level in reversed(range(depth - 1))
        )
        self.last = nn.Conv2d(width, out_channels, 1)

    @property
    def multiple_of(self) -> int:
        """What both edges of a picture are multiples of."""
        return 1 << (self._depth - 1)

    @property
    def local_reach(self) -> int:
        """How far it looks in pixels: what `inference.scan` reads."""
        steps = [1 << level for level in range(self._depth)]
        return 2 * sum(steps) + 2 * sum(steps[:-1]) + steps[-1] - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down_path):
            if level:
                x = self.pool(x)
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up_path:
            x = block(x, skips.pop())
        return cast(torch.Tensor, self.last(x))
