"""fnet: the U-Net that learns one structure from transmitted light, in 2-D and 3-D.

The network of C. Ounkomol et al. 2018, "Label-free prediction of three-dimensional fluorescence
images from transmitted-light microscopy", Nat. Methods 15, 917, doi:10.1038/s41592-018-0111-2,
down to the names of its parameters (``net_recurse.sub_2conv_more.conv1.weight``), so that the
``nn_state`` of its ``fnet_nn_3d`` and ``fnet_nn_2d`` loads. A level is two convolutions, a strided
one down, all the levels below it, a transposed one up, and two convolutions over both; BatchNorm
and ReLU follow each.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

__all__ = ["FNet"]

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class _TwoConvolutions(nn.Module):
    """Two convolutions of 3 pixels that keep the size."""

    def __init__(self, in_channels: int, out_channels: int, ndim: int) -> None:
        super().__init__()
        self.conv1 = _CONV[ndim](in_channels, out_channels, 3, padding=1)
        self.bn1 = _NORM[ndim](out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = _CONV[ndim](out_channels, out_channels, 3, padding=1)
        self.bn2 = _NORM[ndim](out_channels)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        return cast(torch.Tensor, self.relu2(self.bn2(self.conv2(x))))


class _Bottom(nn.Module):
    """The lowest level: nothing below it."""

    def __init__(self, in_channels: int, width: int, ndim: int) -> None:
        super().__init__()
        self.sub_2conv_more = _TwoConvolutions(in_channels, width, ndim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.sub_2conv_more(x))


class _Level(nn.Module):
    """A level with ``depth`` levels below it."""

    def __init__(self, in_channels: int, width: int, depth: int, ndim: int) -> None:
        super().__init__()
        self.sub_2conv_more = _TwoConvolutions(in_channels, width, ndim)
        self.sub_2conv_less = _TwoConvolutions(2 * width, width, ndim)
        self.conv_down = _CONV[ndim](width, width, 2, stride=2)
        self.bn0 = _NORM[ndim](width)
        self.relu0 = nn.ReLU(inplace=True)
        self.convt = _UP[ndim](2 * width, width, 2, stride=2)
        self.bn1 = _NORM[ndim](width)
        self.relu1 = nn.ReLU(inplace=True)
        self.sub_u = _levels(width, 2 * width, depth - 1, ndim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.sub_2conv_more(x)
        below = self.sub_u(self.relu0(self.bn0(self.conv_down(skip))))
        # (B, 2C, *S / 2) -> (B, C, *S); the skip comes first
        joined = torch.cat([skip, self.relu1(self.bn1(self.convt(below)))], dim=1)
        return cast(torch.Tensor, self.sub_2conv_less(joined))


def _levels(in_channels: int, width: int, depth: int, ndim: int) -> nn.Module:
    if depth == 0:
        return _Bottom(in_channels, width, ndim)
    return _Level(in_channels, width, depth, ndim)


class FNet(nn.Module):
    """Map (B, in_channels, *S) to (B, out_channels, *S), linear at the end.

    Parameters
    ----------
    in_channels
        Of the image; 1 as published, for one kind of light.
    out_channels
        Stains; 1 as published, a network for each structure.
    ndim
        Number of spatial axes.
    depth
        Number of halvings; each edge must be divisible by ``2 ** depth``.
    width
        Channels at full resolution, doubled at every step down. fnet's code multiplies it by the
        channels of the image; for the one channel of every published network this is the same.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = FNet()
    >>> sum(p.numel() for p in net.parameters())
    23280769
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        ndim: Literal[2, 3] = 3,
        depth: int = 4,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.net_recurse = _levels(in_channels, width, depth, ndim)
        self.conv_out = _CONV[ndim](width, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        return cast(torch.Tensor, self.conv_out(self.net_recurse(x)))
