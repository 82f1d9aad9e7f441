"""How do pictures become codes that a diffusion can walk among? An autoencoder and a scale.

The codes of a `nets.autoencoder_kl.AutoencoderKL` have whatever mean and spread its training left
them with, and the schedule of a diffusion or a bridge assumes 0 and 1. So each number of a code is
shifted and scaled, once the autoencoder is as it stays: latent diffusion has one factor for all
numbers, measured on the first batch (R. Rombach et al. 2022, arXiv:2112.10752, appendix G); BBDM's
code a mean and a factor for each channel, as here.

Both halves, and what lies between them, can be had as networks of their own that share the
weights: `inference` reads how far they look and what their norms see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL
from napari_virtualstain.nets.guided_parts import check_size

__all__ = ["Beside", "CodeScale", "Coder", "LatentStep"]

_SMALLEST = 0.01
"""Part of the largest SD of a channel that one is taken to have at least: what hardly differs from
picture to picture is not blown up."""


class CodeScale(nn.Module):
    """Mean and SD of each channel of a code.

    Parameters
    ----------
    channels
        Of the code.

    Attributes
    ----------
    mean, sd
        (1, channels, 1, 1), which no gradient moves: 0 and 1 until they are measured.
    measured
        Whether they are, a truth value.
    """

    measured: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        shape = (1, channels, 1, 1)
        self.mean = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.sd = nn.Parameter(torch.ones(shape), requires_grad=False)
        self.register_buffer("measured", torch.tensor(data=False))

    def forget(self) -> None:
        """Take 0 and 1 again."""
        self.mean.zero_()
        self.sd.fill_(1.0)
        self.measured.fill_(value=False)

    def measure(
        self,
        codes: Iterable[torch.Tensor],
        add_up: Callable[[list[torch.Tensor]], None] | None = None,
    ) -> None:
        """Take those of codes (B, channels, Y, X).

        Parameters
        ----------
        codes
            One or more.
        add_up
            See `losses.descent.Moment`: where several devices have seen a part each.
        """
        sums = torch.zeros(3, self.mean.numel(), dtype=torch.float64)
        for code in codes:
            flat = code.detach().cpu().double().transpose(0, 1).flatten(1)
            ones = torch.full((len(flat),), flat.shape[1], dtype=torch.float64)
            sums += torch.stack([ones, flat.sum(1), flat.square().sum(1)])
        if add_up is not None:
            add_up([sums])
        count, first, second = sums
        mean = first / count
        sd = (second / count - mean.square()).clamp(min=0).sqrt()
        sd = sd.clamp(min=max(_SMALLEST * float(sd.max()), 1e-6))
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.sd.copy_(sd.reshape(self.sd.shape))
        self.measured.fill_(value=True)


class _Times(nn.Module):
    pointwise = True

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self._factor


class _Scaled(nn.Module):
    """Of what is believed of a code, the mean, scaled."""

    pointwise = True

    def __init__(self, scale: CodeScale) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, : self.scale.mean.shape[1]] - self.scale.mean) / self.scale.sd


class _Unscaled(_Scaled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale.sd + self.scale.mean


class Coder(nn.Module):
    """Map pictures (B, C, Y, X) to codes of mean 0 and SD 1, and these to pictures.

    Parameters
    ----------
    autoencoder
        Of the pictures. It learns by itself; the most probable code is taken.
    """

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.scale = CodeScale(autoencoder.latent)
        self.autoencoder = autoencoder

    def encoder(self) -> nn.Module:
        """Return the network of `code`, without a check of sizes."""
        net = self.autoencoder
        return nn.Sequential(_Times(net.unit), net.encoder, net.quant_conv, _Scaled(self.scale))

    def decoder(self) -> nn.Module:
        """Return the network of `paint`."""
        net = self.autoencoder
        return nn.Sequential(
            _Unscaled(self.scale), net.post_quant_conv, net.decoder, _Times(1 / net.unit)
        )

    def code(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the codes of pictures, (B, latent, Y / multiple_of, X / multiple_of).

        Raises
        ------
        PixelDataError
            If an edge is no multiple of the autoencoder's ``multiple_of``.
        """
        check_size(pictures, self.autoencoder.multiple_of)
        found: torch.Tensor = self.encoder()(pictures)
        return found

    def paint(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the pictures that codes mean."""
        found: torch.Tensor = self.decoder()(codes)
        return found


class Beside(nn.Module):
    """Codes of pictures, and behind them the pictures: each block of pixels as channels.

    Parameters
    ----------
    coder
        Of the pictures.
    """

    def __init__(self, coder: Coder) -> None:
        super().__init__()
        self.encoder = coder.encoder()
        self.folded = nn.PixelUnshuffle(coder.autoencoder.multiple_of)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return both; see the class."""
        return torch.cat([self.encoder(pictures), self.folded(pictures)], dim=1)


class LatentStep(nn.Module):
    """A picture to its code, a step among codes, and what that means as a picture.

    What is read for tiles and memory of a walk among codes, in pixels of the pictures.

    Parameters
    ----------
    given
        Maps pictures to what steps are given: `Coder.encoder`, or `Beside`.
    step
        Maps what is given, and behind it x, to (B, latent, Y, X).
    coders
        Of the pictures at both ends.
    reach, multiple_of
        Of the step, in numbers of the code, attention aside.
    """

    def __init__(
        self,
        given: nn.Module,
        step: nn.Module,
        coders: tuple[Coder, Coder],
        *,
        reach: int,
        multiple_of: int,
    ) -> None:
        super().__init__()
        first, last = (coder.autoencoder for coder in coders)
        self.first, self.step, self.last = given, step, coders[1].decoder()
        self.begin = _Leading(first.latent)
        self.in_channels, self.spatial_axes = first.in_channels, 2
        parts = (first, step, last)
        attends = any(getattr(part, "approximate_reach", None) is not None for part in parts)
        shrink = first.multiple_of
        far = first.margins[0] + shrink * reach + last.margins[1]
        self.approximate_reach = (far, shrink * multiple_of) if attends else None

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Paint; see the class for shapes."""
        given = self.first(pictures)
        found: torch.Tensor = self.last(self.step(torch.cat([given, self.begin(given)], dim=1)))
        return found


class _Leading(nn.Module):
    pointwise = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, : self._channels]
