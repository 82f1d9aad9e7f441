"""How a picture is said in 1/48 of its numbers, and painted again from these.

The autoencoder of latent diffusion (R. Rombach et al. 2022, arXiv:2112.10752, appendix G), with a
Gaussian of each number of the code. With the default arguments it is the published "KL-f8": 512 x
512 px become 4 x 64 x 64, 83,653,863 weights for three channels. Names of weights are those of its
code (CompVis/latent-diffusion, MIT), so that its state dicts load with ``strict=True`` once
``loss.*`` is left out; other numbers of channels by `nets.widening`.

It codes stains or planes for diffusion among codes (LBBDM), and it is a generator by itself
(VAE-GAN: planes in, stains out).

Notes
-----
On the way down the picture is padded right and below only, as published, so that a code's number
lies half a step off. Tiles: all but the attention in the middle of each half looks as far as its
kernels do (`AutoencoderKL.approximate_reach`), and group norms by the whole picture; attention
looks at everything. ``attention=False`` makes a network without (no published weights), whose tiles
are those of the whole picture once its norms have the statistics of the whole.

Published networks take and paint pictures from -1 to 1. Ours may be in other units: ``unit`` says
what one of them is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.nets.guided_attention import Asked, GroupNorm32, SelfAttention
from napari_virtualstain.nets.guided_parts import check_size, check_widths

__all__ = ["AutoencoderKL", "Posterior"]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is believed of a code: a normal distribution for each number.

    Parameters
    ----------
    mean, logvar
        (B, z, Y, X); the logarithm of the variance is between -30 and 20.
    """

    mean: torch.Tensor
    logvar: torch.Tensor

    def mode(self) -> torch.Tensor:
        """Return the most probable code."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw a code, through which gradients go to mean and variance."""
        noise = torch.randn(
            self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        return self.mean + (0.5 * self.logvar).exp() * noise


def _norm(groups: int, channels: int) -> GroupNorm32:
    return GroupNorm32(groups, channels, eps=1e-6)


class _Block(nn.Module):
    """Add to what comes in what two convolutions make of it."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = _norm(groups, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return cast(torch.Tensor, h + (x if self.nin_shortcut is None else self.nin_shortcut(x)))


class _Attention(SelfAttention):
    """Add to each pixel what all others answer it, in one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(groups, channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def asked(self, x: torch.Tensor) -> Asked:
        calm = self.norm(x)
        query, key, value = (
            part(calm).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v)
        )
        return query, key, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = functional.scaled_dot_product_attention(*self.asked(x))[:, 0]  # (B, N, C)
        found = found.transpose(1, 2).reshape(x.shape)
        return cast(torch.Tensor, x + self.proj_out(found))


class _Mean(nn.Module):
    """The first half of the channels: of what is believed of a code, the mean."""

    pointwise = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, : x.shape[1] // 2]


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.block_1 = _Block(channels, channels, groups, dropout)
        self.attn_1 = _Attention(channels, groups) if attention else nn.Identity()
        self.block_2 = _Block(channels, channels, groups, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.block_2(self.attn_1(self.block_1(x))))


class _Down(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.conv(functional.pad(x, (0, 1, 0, 1))))


class _Up(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.conv(functional.interpolate(x, scale_factor=2.0)))


class _Size(nn.Module):
    """The blocks of one size, and what leads to or comes from the next."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block:
            x = block(x)
        for step in (self.downsample, self.upsample):
            x = x if step is None else step(x)
        return x


class _Encoder(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, widths: Sequence[int], blocks: int, groups: int,
        dropout: float, attention: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = widths[0]
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            made = [_Block(width if n else inner, width, groups, dropout) for n in range(blocks)]
            size, inner = _Size(made), width
            if level < len(widths) - 1:
                size.downsample = _Down(width)
            self.down.append(size)
        self.mid = _Middle(inner, groups, dropout, attention)
        self.norm_out = _norm(groups, inner)
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_in(x)
        for size in self.down:
            x = size(x)
        return cast(torch.Tensor, self.conv_out(functional.silu(self.norm_out(self.mid(x)))))


class _Decoder(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, widths: Sequence[int], blocks: int, groups: int,
        dropout: float, attention: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = widths[-1]
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.mid = _Middle(inner, groups, dropout, attention)
        sizes: list[_Size] = []
        for level, width in reversed(list(enumerate(widths))):
            made = [
                _Block(width if n else inner, width, groups, dropout) for n in range(blocks + 1)
            ]
            size, inner = _Size(made), width
            if level:
                size.upsample = _Up(width)
            sizes.append(size)
        self.up = nn.ModuleList(reversed(sizes))  # from the finest, as published
        self.norm_out = _norm(groups, inner)
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.mid(self.conv_in(x))
        for size in reversed(self.up):
            x = size(x)
        return cast(torch.Tensor, self.conv_out(functional.silu(self.norm_out(x))))


class AutoencoderKL(nn.Module):
    """Map (B, in_channels, Y, X) to a code, and a code to (B, out_channels, Y, X).

    Parameters
    ----------
    in_channels
        Of the pictures; from -1 to 1 for published weights.
    out_channels
        Of what is painted; as many as go in if `None`.
    width
        Channels of the finest size.
    multipliers
        Of the width, at each size from the finest; Y and X must be multiples of
        ``2 ** (len(multipliers) - 1)``.
    blocks
        Residual blocks of each size on the way down; one more on the way up.
    latent
        Channels of the code.
    attention
        Whether there is one in the middle of either half.
    dropout
        In all blocks, in training.
    groups
        Of norms (eps 1e-6); 32 in published weights.
    unit
        What 1 in pictures is in the network, whose own range is about -1 to 1; what is painted is
        divided by it again.

    Raises
    ------
    SettingsError
        If channels are not made of groups.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = AutoencoderKL(3)
    >>> sum(p.numel() for p in net.parameters()), net.multiple_of
    (83653863, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 4),
        blocks: int = 2,
        latent: int = 4,
        attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        unit: float = 1.0,
    ) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in multipliers]
        check_widths(widths, groups=groups, head_channels=1)
        self.in_channels, self.out_channels = in_channels, out_channels or in_channels
        self.latent, self._sizes, self._blocks = latent, len(widths), blocks
        self._attention, self.unit = attention, unit
        self.encoder = _Encoder(in_channels, 2 * latent, widths, blocks, groups, dropout, attention)
        self.quant_conv, self._mean = nn.Conv2d(2 * latent, 2 * latent, 1), _Mean()
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)
        self.decoder = _Decoder(
            latent, self.out_channels, widths, blocks, groups, dropout, attention
        )

    @property
    def multiple_of(self) -> int:
        """What both edges of a picture are multiples of."""
        return 1 << (self._sizes - 1)

    @property
    def approximate_reach(self) -> tuple[int, int] | None:
        """How far it looks in pixels, attention and statistics of norms aside, and its stride.

        `None` without attention: its graph says so exactly.
        """
        if not self._attention:
            return None
        deepest = self.multiple_of
        # Where they meet, one rounding to the grid of codes is in both margins.
        return sum(self.margins) - (deepest - 1), deepest

    @property
    def margins(self) -> tuple[int, int]:
        """How far encoder and decoder look in pixels, attention and statistics of norms aside."""
        steps = [1 << level for level in range(self._sizes)]
        deepest = steps[-1]
        blocks = 2 * sum(steps) * self._blocks
        above = 2 * sum(steps) * (self._blocks + 1)
        # Two blocks in the middle and a convolution at the code.
        middle = 5 * deepest
        # Down, a convolution sees one of its own size behind it, as it pads there; up, one beside
        # it, and all of the coarser pixel in which that lies.
        down, up = sum(2 * step for step in steps[:-1]), sum(steps[:-1])
        return 1 + blocks + middle + down, 1 + above + middle + up + deepest - 1

    @property
    def last_layer(self) -> torch.nn.Parameter:
        """The weights of the last convolution, for `losses.autoencoder.adaptive_weight`."""
        return cast(nn.Parameter, self.decoder.conv_out.weight)

    def encode(self, x: torch.Tensor) -> Posterior:
        """Return what is believed of the code of pictures.

        Raises
        ------
        PixelDataError
            If an edge is no multiple of `multiple_of`.
        """
        check_size(x, self.multiple_of)
        mean, logvar = self.quant_conv(self.encoder(x * self.unit)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """Paint codes (B, latent, Y / multiple_of, X / multiple_of)."""
        return cast(torch.Tensor, self.decoder(self.post_quant_conv(code)) * (1 / self.unit))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Paint the most probable code of pictures.

        Edges are multiples of `multiple_of`: as its graph is read, it does not ask.
        """
        return self.decode(self._mean(self.quant_conv(self.encoder(x * self.unit))))
