"""Which class a noisy picture is of, so that the gradient can lead a diffusion there.

The way down of guided diffusion's U-Net with a pooling on top (arXiv:2105.05233, section 4; see
`nets.guided_parts` for parts and names of weights). With the 8 channels of class-guided
image-to-image (three planes of bright field, clean, then five noisy stains) and 59 classes it has
the 107,518,139 weights of that system's code.

Notes
-----
``pool="attention"``, as published, learns a position of every pixel of the coarsest image and so
takes pictures of one size only (512 px there, of which its positions alone are 4.2 M weights).
``pool="mean"``, which the same code offers as "adaptive", takes the mean: any size, and what our
own trainings use. The time is embedded as it is given, so that a classifier can be told the noise
level of the diffusion that it leads; the published one was told steps of another schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

import torch
from torch import nn

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.nets.guided_attention import Attention, AttentionPool, GroupNorm32
from napari_virtualstain.nets.guided_parts import (
    Init,
    ResBlock,
    check_size,
    check_widths,
    embedded,
    embedder,
    encoder,
    initialise,
    run,
)

__all__ = ["GuidedClassifier"]


class GuidedClassifier(nn.Module):
    """Map noisy pictures (B, in_channels, Y, X) to scores (B, classes), before the softmax.

    Parameters
    ----------
    in_channels, classes
        Of the pictures, and to choose from.
    width, multipliers, blocks, attention, dropout, groups, init
        As of `nets.guided_unet.GuidedUNet`.
    head_channels
        Of a head of attention.
    pool
        See above.
    image
        Edge of the pictures in pixels, a multiple of `multiple_of`; for ``pool="attention"``.

    Raises
    ------
    SettingsError
        If channels are not made of groups and heads.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = GuidedClassifier(8, 59)
    >>> sum(p.numel() for p in net.parameters())
    107518139
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 2,
        attention: Sequence[int] = (),
        head_channels: int = 64,
        pool: Literal["attention", "mean"] = "attention",
        image: int = 512,
        dropout: float = 0.0,
        groups: int = 32,
        init: Init = "zero",
    ) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in multipliers]
        check_widths(widths, groups=groups, head_channels=head_channels)
        self._halved = len(widths) - 1
        self._image = image if pool == "attention" else None
        self.time_embed = embedder(width)
        block = partial(ResBlock, embedding=4 * width, groups=groups, dropout=dropout)

        def attend(channels: int) -> Attention:
            return Attention(channels, channels // head_channels, groups=groups)

        self.input_blocks, _ = encoder(
            in_channels, widths, blocks, block=block, attend=attend, attention=attention
        )
        inner = widths[-1]
        self.middle_block = nn.ModuleList([block(inner, inner), attend(inner), block(inner, inner)])
        top: list[nn.Module] = [GroupNorm32(groups, inner), nn.SiLU()]
        last: list[nn.Module] = []
        if pool == "attention":
            edge, heads = image // self.multiple_of, inner // head_channels
            top.append(AttentionPool(inner, classes, heads=heads, edge=edge))
        else:
            last = [nn.Conv2d(inner, classes, 1)]
            top += [nn.AdaptiveAvgPool2d(1), *last, nn.Flatten()]
        self.out = nn.Sequential(*top)
        initialise(self, last, init)

    @property
    def multiple_of(self) -> int:
        """What both edges of a picture are multiples of."""
        return 1 << self._halved

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Score.

        Parameters
        ----------
        x
            See the class.
        time
            (B,), noise level gamma or step t, whichever the network is trained with.

        Raises
        ------
        PixelDataError
            If an edge is no multiple of `multiple_of`, or positions of another size are learnt.
        """
        check_size(x, self.multiple_of)
        if self._image is not None and tuple(x.shape[2:]) != (self._image, self._image):
            raise PixelDataError(
                f"The classifier has learnt positions of pictures of {self._image} px, got "
                f"{x.shape[2]} x {x.shape[3]} px. Crop them, or train one with pool='mean'."
            )
        embedding = embedded(self.time_embed, time)
        for stage in self.input_blocks:
            x = run(cast(nn.ModuleList, stage), x, embedding)
        return cast(torch.Tensor, self.out(run(self.middle_block, x, embedding)))
