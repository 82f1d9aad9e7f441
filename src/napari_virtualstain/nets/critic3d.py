"""The critic over volumes: how well a stack of stains belongs to its bright field, by patch.

The critic of L. Venieri, "Generative adversarial networks for three-dimensional multi-channel
virtual fluorescent staining", master thesis, Università di Bologna, section 3.1.2: convolutions of
4 x 4 x 4 with stride 2 to 64, 128 and 256 channels, then of 3 x 3 x 3 to 512 and to one score,
InstanceNorm without weights, LeakyReLU of slope 0.05. For bright field and six stains it has the
6.2 million parameters (6,203,841) and the receptive field of 54 px that the text states. No code
was published.

Notes
-----
Where we depart: the text puts InstanceNorm and LeakyReLU behind every convolution but the first,
InstanceNorm missing there alone. Behind the last, the map of scores, InstanceNorm would fix the
mean of the scores at zero, which is what the critic is asked for; so it ends with its convolution.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Critic3d"]

_SMALLEST = 16
"""Edge in px from which InstanceNorm behind three halvings has more than one position."""


class Critic3d(nn.Module):
    """Map stains (B, C, Z, Y, X) and planes (B, P, Z, Y, X) to scores (B, 1, Z', Y', X').

    A score sees 54 px along every axis, and scores lie 8 px apart. Edges may be any number: below
    16 px the volume is padded with zeros, as every convolution pads it.

    Parameters
    ----------
    in_channels
        Planes and stains together; 1 + 6 in the thesis.
    width
        Channels behind the first convolution, doubled by the next three.
    slope
        Of LeakyReLU below zero.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = Critic3d()
    >>> sum(p.numel() for p in net.parameters())
    6203841
    """

    def __init__(self, in_channels: int = 7, *, width: int = 64, slope: float = 0.05) -> None:
        super().__init__()

        def block(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
            convolution = nn.Conv3d(before, after, kernel, stride=stride, padding=1)
            return [convolution, nn.InstanceNorm3d(after), nn.LeakyReLU(slope, inplace=True)]

        self.model = nn.Sequential(
            nn.Conv3d(in_channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(slope, inplace=True),
            *block(width, 2 * width, 4, 2),
            *block(2 * width, 4 * width, 4, 2),
            *block(4 * width, 8 * width, 3, 1),
            nn.Conv3d(8 * width, 1, 3, padding=1),
        )

    def forward(self, stains: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
        """Score; see the class for shapes. The planes come first, as the thesis writes (x, y)."""
        joined = torch.cat([planes, stains], dim=1)
        short = [max(0, _SMALLEST - n) for n in joined.shape[:1:-1]]  # X, Y, Z
        if any(short):
            # In the middle of the padded volume.
            joined = functional.pad(joined, [n for s in short for n in (s // 2, s - s // 2)])
        return cast(torch.Tensor, self.model(joined))
