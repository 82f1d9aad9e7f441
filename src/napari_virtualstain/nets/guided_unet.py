"""What is noise in a picture, given how much there is, what it is drawn from and its labels.

One network for all diffusion systems of this package: the U-Net of guided diffusion (see
`nets.guided_parts`), with the names of weights that each system's published code has.

=============================  ==============================================================
system                         arguments
=============================  ==============================================================
Palette (arXiv:2111.05826)     ``GuidedUNet(8, 5, dropout=0.2)``: 62,643,653 weights
class-guided image-to-image    ``GuidedUNet(8, 5, dropout=0.2, classes=(118,))``: 62,673,861
SDM (arXiv:2207.00050)         ``GuidedUNet(5, 5, map_channels=3, embed="time_embed",
                               multipliers=.., attention=.., head_channels=64, learn_sigma=True)``
BBDM (arXiv:2205.07680)        ``GuidedUNet(c, c, width=128, multipliers=(1, 4, 8),
                               embed="time_embed", head_channels=64)``: 237.1 M
=============================  ==============================================================

Palette and class-guided image-to-image join the planes of the condition and the noisy stains as
channels, the condition first (``torch.cat([planes, noisy], 1)``); latent diffusion and BBDM, where
they join at all, the other way round. SDM gives the condition as a map to its norms instead.

Notes
-----
Where papers and published code disagree, and what is done here:

- The configurations of Palette, class-guided image-to-image and BBDM name attention at 16 or 32,
  and compare these with *how many pixels are one* (1, 2, 4, 8), so that no attention is built but
  the one in the middle. ``attention`` is that number here too, and empty by default: the published
  weights have no other. SDM divides the size of its images by it first, and has attention.
- Zero-initialised layers: see `nets.guided_parts.Init`.
- Labels: the published code must be given one, and adds its embedding to that of the noise level.
  Here `UNKNOWN` adds nothing, so that a network that is trained with labels dropped at random
  learns a class "unknown"; one that is not can still be asked without a label, of which it has
  learnt nothing. Several labels (treatment, batch, ...) each have an embedding, and these are
  added: ``label_emb``, as published, of the first, ``label_emb_2`` of the second, and so on. That a
  compound acts otherwise in one cell line than in another is for the layers behind the sum.

Tiles: convolutions, resampling and SPADE look as far as their kernels do, so that tiles with halos
are the whole image once the group norms have its statistics, which change from step to step.
Attention looks at everything: with it tiles are an approximation, and ``middle_attention=False``
makes a network without (no published weights). `inference.scan` reads `nets.guided_step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

import torch
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.nets.guided_attention import Attention, GroupNorm32
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

__all__ = ["UNKNOWN", "GuidedUNet"]

UNKNOWN = -1
"""The label of what has none: it adds nothing to the embedding."""


class GuidedUNet(nn.Module):
    """Map noisy pictures (B, in_channels, Y, X) to predictions (B, out_channels, Y, X).

    Parameters
    ----------
    in_channels
        Of what is convolved: noisy stains and, where they are joined, the planes.
    out_channels
        Of what is predicted.
    width
        Channels of the finest size.
    multipliers
        Of the width, at each size from the finest; Y and X must be multiples of
        ``2 ** (len(multipliers) - 1)``.
    blocks
        Residual blocks of each size on the way down; one more on the way up.
    attention
        Behind the blocks of which sizes, as how many pixels are one there: 8 for the size halved
        three times.
    middle_attention
        Whether there is one between the two blocks of the middle.
    head_channels
        Of a head of attention. 32 in Palette, 64 in SDM and BBDM.
    embed
        Name of the layers that embed the time, ``cond_embed`` where this is a noise level gamma and
        ``time_embed`` where it is a step t. Nothing else depends on it.
    classes
        How many there are of each label; none by default.
    map_channels
        Of a map for SPADE in the middle and on the way up; `None` for none.
    map_hidden
        Channels between map and norms; 128 in the paper.
    learn_sigma
        Whether another ``out_channels`` are predicted behind the first, from -1 to 1 between the
        smallest and the largest log-variance of a step (arXiv:2102.09672, equation 15).
    dropout
        In all blocks, in training.
    groups
        Of norms; 32 in all published weights.
    init
        See `nets.guided_parts.Init`.

    Raises
    ------
    SettingsError
        If channels are not made of groups and heads.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     palette = GuidedUNet(8, 5, dropout=0.2)
    >>> sum(p.numel() for p in palette.parameters()), palette.multiple_of
    (62643653, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 2,
        attention: Sequence[int] = (),
        middle_attention: bool = True,
        head_channels: int = 32,
        embed: Literal["cond_embed", "time_embed"] = "cond_embed",
        classes: Sequence[int] = (),
        map_channels: int | None = None,
        map_hidden: int = 128,
        learn_sigma: bool = False,
        dropout: float = 0.0,
        groups: int = 32,
        init: Init = "zero",
    ) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in multipliers]
        check_widths(widths, groups=groups, head_channels=head_channels)
        size = 4 * width
        self.in_channels, self.out_channels = in_channels, out_channels
        self.map_channels, self.classes = map_channels, tuple(classes)
        self._embed, self._halved, self._blocks = embed, len(widths) - 1, blocks
        self.told_levels, self.learn_sigma = embed == "cond_embed", learn_sigma
        self.add_module(embed, embedder(width))
        self._labels = [f"label_emb_{n + 1}" if n else "label_emb" for n in range(len(classes))]
        for name, count in zip(self._labels, classes, strict=True):
            self.add_module(name, nn.Embedding(count, size))
        plain = partial(ResBlock, embedding=size, groups=groups, dropout=dropout)
        told = partial(plain, map_channels=map_channels, map_hidden=map_hidden)

        def attend(channels: int) -> Attention:
            return Attention(channels, channels // head_channels, groups=groups)

        self.input_blocks, joined = encoder(
            in_channels, widths, blocks, block=plain, attend=attend, attention=attention
        )
        deepest, inner = self._halved, widths[-1]
        self.middle_block = nn.ModuleList(
            [
                told(inner, inner, level=deepest),
                attend(inner) if middle_attention else nn.Identity(),
                told(inner, inner, level=deepest),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for number in range(blocks + 1):
                stage = nn.ModuleList([told(inner + joined.pop(), widths[level], level=level)])
                inner = widths[level]
                if 2**level in attention:
                    stage.append(attend(inner))
                if level and number == blocks:
                    stage.append(told(inner, inner, level=level, step="up"))
                self.output_blocks.append(stage)
        last = nn.Conv2d(inner, (1 + learn_sigma) * out_channels, 3, padding=1)
        self.out = nn.Sequential(GroupNorm32(groups, inner), nn.SiLU(), last)
        # A window of one pixel and a stride: what interpolation to nearest picks.
        steps = [2**level for level in range(1, len(widths) if map_channels else 1)]
        self.shrink = nn.ModuleList(nn.MaxPool2d(1, stride=step) for step in steps)
        initialise(self, [last], init)

    @property
    def multiple_of(self) -> int:
        """What both edges of a picture are multiples of."""
        return 1 << self._halved

    @property
    def local_reach(self) -> int:
        """How far it looks in pixels, attention aside: what `inference.scan` reads without it."""
        steps = [1 << level for level in range(self._halved + 1)]
        blocks = sum(2 * step * (2 * self._blocks + 1) for step in steps)
        between = sum(2 * step for step in steps[1:]) + sum(2 * step for step in steps[:-1])
        # The last: a pixel sees all of the one at the coarsest size in which it lies.
        return 1 + blocks + between + 4 * steps[-1] + 1 + steps[-1] - 1

    def embed(self, time: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return what all blocks are told, (B, 4 width).

        Parameters
        ----------
        time
            (B,), noise level gamma or step t, whichever the network is trained with.
        labels
            (B, number of labels) whole numbers from 0, or `UNKNOWN`; `None` if all are.

        Raises
        ------
        SettingsError
            If there are labels of another number than the network has.
        IndexError
            On a processor, if a label is none of its classes. A graphics card cannot say so: who
            turns names into labels has to.
        """
        found = embedded(cast(nn.Sequential, self.get_submodule(self._embed)), time)
        if labels is None:
            return found
        if labels.ndim != 2 or labels.shape[1] != len(self._labels):
            raise SettingsError(
                f"The network has {len(self._labels)} labels a picture, got an array of "
                f"{tuple(labels.shape)}. Give one row a picture and one column a label."
            )
        for name, column in zip(self._labels, labels.unbind(1), strict=True):
            known = column != UNKNOWN
            added = self.get_submodule(name)(torch.where(known, column, 0))
            found = found + known[:, None] * added
        return found

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        labels: torch.Tensor | None = None,
        map_: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict.

        Parameters
        ----------
        x
            See the class.
        time, labels
            See `embed`.
        map_
            (B, map_channels, Y, X), for SPADE.

        Raises
        ------
        PixelDataError
            If an edge is no multiple of `multiple_of`.
        SettingsError
            If there is a map and the network takes none, or the reverse.
        """
        check_size(x, self.multiple_of)
        if (map_ is None) != (self.map_channels is None):
            raise SettingsError(
                "The network takes no map. Join the planes to the channels of x."
                if map_ is not None
                else f"The network takes a map of {self.map_channels} channels. Give it."
            )
        return self.through(x, self.embed(time, labels), map_)

    def through(
        self, x: torch.Tensor, embedding: torch.Tensor | None, map_: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what `forward` does, from an embedding, without checks."""
        maps = [] if map_ is None else [map_, *(shrink(map_) for shrink in self.shrink)]
        skips: list[torch.Tensor] = []
        for stage in self.input_blocks:
            x = run(cast(nn.ModuleList, stage), x, embedding)
            skips.append(x)
        x = run(self.middle_block, x, embedding, maps)
        for stage in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            x = run(cast(nn.ModuleList, stage), x, embedding, maps)
        return cast(torch.Tensor, self.out(x))
