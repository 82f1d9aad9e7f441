"""How much does a prediction change if the picture is turned? Test-time augmentation.

A microscope's picture has no up and no left: turned or mirrored it is as good a picture of the same
field. A network that is sure of a place says the same of it in every view; where views differ, it
guesses. The mean of the views is the stain, and their standard deviation is its *spread*.

Each tile is turned by itself, halo and all, and its predictions are turned back. Tiles begin at
multiples of the network's stride and are multiples of it long, turned or not, so that the result is
that of turning the whole image, without seams. What it costs is one forward pass a view.

References
----------
Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103 (aleatoric uncertainty by test-time augmentation;
they draw transformations at random, here are all of the square's, so that a run is repeatable).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import lcm

import torch
from torch import nn

from napari_virtualstain.inference.network import Network
from napari_virtualstain.inference.scan import Reach

__all__ = ["Views", "seen_from_all_sides"]


class Views(nn.Module):
    """Map planes (B, C, *S) to mean and spread (B, 2 C', *S) of what a network says of all views.

    Parameters
    ----------
    inner
        Maps (B, C, *S) to (B, C', *S). Only the last two axes, y and x, are turned.
    number
        Of views: 2 (as it is, and mirrored left to right), 4 (mirrored both ways) or 8 (all of them
        turned by a quarter as well).
    """

    def __init__(self, inner: nn.Module, number: int) -> None:
        super().__init__()
        self.inner, self.number = inner, number

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Predict; the spread is the standard deviation over the views (n - 1)."""
        mean = square = torch.zeros(())
        for view in range(self.number):
            said = _back(self.inner(_turned(planes, view)), view).float()
            if view == 0:
                mean, square = said.clone(), torch.zeros_like(said)
                continue
            apart = said - mean  # Welford's sums, which lose no digits
            mean += apart / (view + 1)
            square += apart * (said - mean)
        return torch.cat([mean, (square / (self.number - 1)).sqrt()], dim=1)


def _turned(pixels: torch.Tensor, view: int) -> torch.Tensor:
    """Return one of the eight views of a square: bits say what is mirrored, and whether turned."""
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if view & bit]
    seen = torch.flip(pixels, axes) if axes else pixels
    if view & 4:
        seen = seen.transpose(-1, -2)
    layout = torch.channels_last if pixels.ndim == 4 else torch.channels_last_3d
    return seen.contiguous(memory_format=layout) if pixels.ndim in (4, 5) else seen


def _back(pixels: torch.Tensor, view: int) -> torch.Tensor:
    if view & 4:
        pixels = pixels.transpose(-1, -2)
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if view & bit]
    return torch.flip(pixels, axes) if axes else pixels


def seen_from_all_sides(network: Network, number: int) -> Network:
    """Return a network that predicts mean and spread of several views.

    Parameters
    ----------
    network
        Ready to run.
    number
        Of views; 1 returns the network itself.

    Notes
    -----
    It is not computed row by row, as a turned picture has no first row.
    """
    if number == 1:
        return network

    def viewed(module: nn.Module) -> nn.Module:
        views = Views(module, number).eval()
        return views.requires_grad_(requires_grad=False)

    blank = network.blank if network.outline is None else network.outline.graph
    return replace(
        network, module=viewed(network.module), traced=None, outline=None,
        blank=None if blank is None else viewed(blank), reach=_square(network.reach),
    )  # fmt: skip


def _square(reach: Reach) -> Reach:
    """Return how far a network looks whose y may be x."""

    def alike(lengths: tuple[int, ...], join: Callable[..., int]) -> tuple[int, ...]:
        *deep, height, width = lengths
        return (*deep, join(height, width), join(height, width))

    return replace(reach, halo=alike(reach.halo, max), multiple_of=alike(reach.multiple_of, lcm))
