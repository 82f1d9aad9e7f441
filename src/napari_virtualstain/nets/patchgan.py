"""PatchGAN: how well a patch of stains belongs to its bright field.

A few convolutions give every patch of the image a score of its own, so that only structure of the
patch's size is judged (P. Isola et al. 2017, "Image-to-image translation with conditional
adversarial networks", arXiv:1611.07004, section 3.2 and appendix 6.1.2). The parameters are named
as in the critic that Cross-Zamirski et al. 2022 published, doi:10.1038/s41598-022-12914-x
(``model.0.weight``), so that its weights load with ``norm="batch"``.

Notes
-----
Scores are plain numbers. A Wasserstein critic takes them as they are, pix2pix's discriminator as
logits: the body is the same, and the losses decide (`napari_virtualstain.losses.adversarial`).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

__all__ = ["PatchGan", "PatchGanNorm"]

PatchGanNorm = Literal["none", "batch", "instance"]
"""Behind the middle convolutions. ``batch`` is the published critic and pix2pix's discriminator; it
mixes the samples of a batch, so that a gradient penalty has no meaning for one of them: a
Wasserstein critic has ``none`` or ``instance`` (without weights), as arXiv:1704.00028, section 4,
asks."""


class PatchGan(nn.Module):
    """Map stains (B, C, Y, X) and planes (B, P, Y, X) to scores (B, 1, Y', X'), one a patch.

    With n = ``layers`` strided convolutions a score sees ``9 * 2 ** n - 2`` px, 70 for three, and
    scores lie ``2 ** n`` px apart. Y and X may be any number from ``3 * 2 ** n`` on, 24 for three;
    256 px give 30 x 30 scores.

    Parameters
    ----------
    in_channels
        Stains and planes together.
    width
        Channels behind the first convolution, doubled by each that follows, at most three times.
    layers
        Convolutions of 4 x 4 with stride 2; two more with stride 1 follow.
    norm
        See `PatchGanNorm`.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = PatchGan(8, norm="batch")
    >>> sum(p.numel() for p in net.parameters())
    2771649
    """

    def __init__(
        self, in_channels: int, *, width: int = 64, layers: int = 3, norm: PatchGanNorm = "none"
    ) -> None:
        super().__init__()
        widths = [width * 2 ** min(level, 3) for level in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), _leaky()]
        for level in range(1, layers + 1):
            before, after = widths[level - 1], widths[level]
            stride = 2 if level < layers else 1
            # With its bias, which a norm subtracts again: the published weights have it.
            parts.append(nn.Conv2d(before, after, 4, stride=stride, padding=1))
            # Identity keeps the numbers of the layers, and so the names of their weights.
            parts += [_norm(norm, after), _leaky()]
        parts.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.model = nn.Sequential(*parts)

    def forward(self, stains: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
        """Score; see the class for shapes. The stains come first, as published."""
        return cast(torch.Tensor, self.model(torch.cat([stains, planes], dim=1)))

    def look(
        self, stains: torch.Tensor, planes: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score, and return what is seen on the way: each layer's features, (B, width, Y', X')."""
        x, seen = torch.cat([stains, planes], dim=1), []
        for part in self.model:
            x = part(x)
            if isinstance(part, nn.LeakyReLU):
                seen.append(x)
        return x, seen


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _norm(norm: PatchGanNorm, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.Identity()
