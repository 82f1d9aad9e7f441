"""SPADE: stains drawn from coarse to fine, with the bright field in every normalisation.

A norm takes mean and variance out of an image, and with them much of what a network was told of
its input. SPADE (T. Park et al. 2019, "Semantic image synthesis with spatially-adaptive
normalization", arXiv:1903.07291) puts the input back there: a norm without parameters, then at
every pixel a scale and an offset that two convolutions read from the input at that place,

    Spade(x, m) = norm(x) * (1 + gamma(m)) + beta(m)        (equations 1 and 2)

In the paper m is a map of classes; here it is the normalised planes of bright field, as in X. Xing
et al., "Can generative AI replace immunofluorescent staining processes?", section 3.2.2, which
compares this generator with four others on Cell Painting.

Notes
-----
Where we depart from Park et al.:

- No style is drawn at random: the same planes always give the same stains. The coarsest block
  starts from a convolution of the smallest map instead of a latent vector (``start="map"``; the
  authors offer this too). Xing et al. write that they replace the norms of pix2pix by SPADE, which
  would be ``start="encoder"``: the planes through pix2pix's strided convolutions, and no skip
  connections, whose work SPADE does.
- The planes are made small by averaging (``resize="mean"``), once for all blocks. The paper picks
  the nearest pixel (``"nearest"``), right for classes; of a bright field it keeps the noise. Small
  networks of the four kinds, trained alike on a field of in-silico-labeling neurons with two seeds,
  correlated better with held-out stains by averaging (by .01 to .08), and alike from both starts.
- Linear at the end instead of tanh, as stains are z-scores.
- LeakyReLU of slope 0.2 in the blocks, and a shortcut of 1 x 1 convolution without activation:
  the authors' code, where their figure 4 has ReLU and 3 x 3.

Every operation is one that `napari_virtualstain.inference.operations` has a rule for, so that reach
and stride are read from the graph: sizes are fixed fractions of the image, never those of a tensor.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, cast

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Spade", "SpadeBlock", "SpadeGenerator", "SpadeNorm"]

SpadeNorm = Literal["batch", "instance"]
"""The norm without parameters: ``batch``, the paper's, which in prediction is a fixed scale and
offset, so that tiles are exact; or ``instance``."""

_NORMS = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}


class Spade(nn.Module):
    """Normalise (B, channels, Y, X) by what a map (B, map_channels, Y, X) says at each pixel.

    Parameters
    ----------
    channels
        Of what is normalised.
    map_channels
        Of the map.
    hidden
        Channels between the convolutions; 128 in the paper.
    norm
        See `SpadeNorm`; or a layer without parameters that normalises these channels.
    """

    def __init__(
        self,
        channels: int,
        map_channels: int,
        *,
        hidden: int = 128,
        norm: SpadeNorm | nn.Module = "batch",
    ) -> None:
        super().__init__()
        self.norm = norm if isinstance(norm, nn.Module) else _NORMS[norm](channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(map_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, map_: torch.Tensor) -> torch.Tensor:
        """Normalise; see the class for shapes."""
        hidden = self.mlp_shared(map_)
        scaled = self.norm(x) * (1 + self.mlp_gamma(hidden))
        return cast(torch.Tensor, scaled + self.mlp_beta(hidden))


class SpadeBlock(nn.Module):
    """Two convolutions, each behind SPADE and LeakyReLU, and a shortcut past them.

    Maps (B, in_channels, Y, X) to (B, out_channels, Y, X), given a map (B, map_channels, Y, X).

    Parameters
    ----------
    in_channels, out_channels
        Before and after; where they differ the shortcut is learned: SPADE, then 1 x 1.
    map_channels, hidden, norm
        See `Spade`.
    spectral
        Whether the convolutions are divided by their spectral norm (arXiv:1802.05957).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        map_channels: int,
        *,
        hidden: int = 128,
        norm: SpadeNorm = "batch",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)

        def spade(channels: int) -> Spade:
            return Spade(channels, map_channels, hidden=hidden, norm=norm)

        def convolution(before: int, after: int, kernel: int, *, bias: bool = True) -> nn.Module:
            conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias)
            return spectral_norm(conv) if spectral else conv

        self.spade_0 = spade(in_channels)
        self.conv_0 = convolution(in_channels, middle, 3)
        self.spade_1 = spade(middle)
        self.conv_1 = convolution(middle, out_channels, 3)
        self.activation = nn.LeakyReLU(0.2)
        self.learned = in_channels != out_channels
        if self.learned:
            self.spade_s = spade(in_channels)
            self.conv_s = convolution(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor, map_: torch.Tensor) -> torch.Tensor:
        """Convolve; see the class for shapes."""
        shortcut = self.conv_s(self.spade_s(x, map_)) if self.learned else x
        x = self.conv_0(self.activation(self.spade_0(x, map_)))
        x = self.conv_1(self.activation(self.spade_1(x, map_)))
        return cast(torch.Tensor, shortcut + x)


class SpadeGenerator(nn.Module):
    """Map planes (B, in_channels, Y, X) to stains (B, out_channels, Y, X), linear at the end.

    Parameters
    ----------
    in_channels
        Planes of the bright field, normalised.
    out_channels
        Stains.
    depth
        Number of resolutions, a block each; Y and X must be divisible by ``2 ** (depth - 1)``.
        7 in the paper, for 256 px.
    width
        Channels at full resolution, doubled at every step down, at most four times; 64 in the
        paper.
    hidden, norm
        See `Spade`.
    start
        What the coarsest block starts from: ``map`` or ``encoder``, see above.
    resize
        How the planes are made small: ``mean`` or ``nearest``, see above.
    spectral
        See `SpadeBlock`.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = SpadeGenerator(3, 5)
    >>> sum(p.numel() for p in net.parameters())
    92060741
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 7,
        width: int = 64,
        hidden: int = 128,
        norm: SpadeNorm = "batch",
        start: Literal["map", "encoder"] = "map",
        resize: Literal["mean", "nearest"] = "mean",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * 2 ** min(level, 4) for level in range(depth)]
        self.from_map = start == "map"
        self.start = (
            nn.Conv2d(in_channels, widths[-1], 3, padding=1)
            if self.from_map
            else _encoder([in_channels, *widths[1:]], norm)
        )
        # A window of one pixel and a stride: what interpolation to nearest picks.
        steps = [2**level for level in range(1, depth)]
        self.shrink = nn.ModuleList(
            nn.MaxPool2d(1, stride=s) if resize == "nearest" else nn.AvgPool2d(s) for s in steps
        )
        self.up = nn.Upsample(scale_factor=2)
        self.blocks = nn.ModuleList(
            SpadeBlock(before, after, in_channels, hidden=hidden, norm=norm, spectral=spectral)
            for before, after in zip([widths[-1], *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.activation = nn.LeakyReLU(0.2)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        maps = [planes, *(shrink(planes) for shrink in self.shrink)]
        x = self.start(maps[-1] if self.from_map else planes)
        for number, block in enumerate(self.blocks):
            if number:
                x = self.up(x)
            x = block(x, maps.pop())
        return cast(torch.Tensor, self.last(self.activation(x)))


def _encoder(widths: list[int], norm: SpadeNorm) -> nn.Sequential:
    """Halve with pix2pix's convolutions of 4 x 4, the first without a norm."""
    parts: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths)):
        parts.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
        if number:
            parts.append(_NORMS[norm](after, affine=True))
        parts.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*parts)
