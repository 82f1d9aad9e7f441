"""Which of 256 intensities does a pixel have, and how sure is that: the in-silico-labeling head.

A network that is made to answer with one number answers with a mean or a median and is silent about
the rest. E. M. Christiansen et al. 2018, "In silico labeling: predicting fluorescent labels in
unlabeled images", doi:10.1016/j.cell.2018.03.040 (read through section 1 of Venieri's thesis, see
`nets.critic3d`), let it answer with a distribution instead: 256 bins of intensity for each stain
and pixel, learned by cross-entropy against the bin of the truth, for stains that were measured
only; the image is the median. Other quantiles of the same distribution are an uncertainty that
needs no second run.

Notes
-----
Where we depart: their classes are the grey values 0 to 255 of images scaled to 0 to 1, and their
median is one of these. Ours are bins of equal width over a range that is stated for each stain
in its normalised units, and a quantile lies where the distribution, flat within a bin, reaches it:
a read-out in steps of a bin would band where the truth is smooth. Truth outside of the range counts
to the bin at its end. Stains are weighed as in `losses.pixel`: by pixel, not by head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.losses.pixel import masked_mean

__all__ = ["IntensityBins", "bin_loss", "expectation", "median", "quantiles"]


@dataclass(frozen=True, slots=True)
class IntensityBins:
    """Bins of equal width, for each stain over a range of its own.

    The logits of a network with this head are (B, stains * count, *S): all bins of the first stain,
    from the darkest, then those of the second.

    Parameters
    ----------
    low, high
        Ends of the ranges by stain, in normalised units.
    count
        Bins a stain.

    Raises
    ------
    SettingsError
        If the ranges cannot be divided.

    Examples
    --------
    >>> IntensityBins(low=(0.0,), high=(1.0,), count=4).edges()
    tensor([[0.0000, 0.2500, 0.5000, 0.7500, 1.0000]])
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    count: int = 256

    def __post_init__(self) -> None:
        if not self.low or len(self.low) != len(self.high) or self.count < 2:
            raise SettingsError(
                "Intensity bins need a lower and an upper end for each stain and at least 2 bins, "
                f"got {len(self.low)} lower and {len(self.high)} upper ends and {self.count} bins. "
                "Give as many of both."
            )
        for stain, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not float("-inf") < low < high < float("inf"):
                raise SettingsError(
                    f"The range of intensities of stain {stain + 1} goes from {low:g} to {high:g}. "
                    "Give two finite numbers, the smaller one first."
                )

    @property
    def stains(self) -> int:
        """Number of stains."""
        return len(self.low)

    def edges(self) -> torch.Tensor:
        """Return the edges of the bins, (stains, count + 1)."""
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        return low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, self.count + 1)

    def index(self, values: torch.Tensor) -> torch.Tensor:
        """Return the bin of each value of (B, stains, *S), from 0; -1 where it is missing."""
        low, width = _scale(self, values)
        known = torch.isfinite(values)
        at = ((torch.where(known, values, 0.0) - low) / width).floor()
        return torch.where(known, at.clamp(0, self.count - 1).long(), -1)


def _scale(bins: IntensityBins, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lower ends of the ranges and the widths of a bin, for (B, stains, *S)."""
    shape = (-1, *(1,) * (like.ndim - 2))
    low, high = like.new_tensor(bins.low), like.new_tensor(bins.high)
    return low.reshape(shape), ((high - low) / bins.count).reshape(shape)


def bin_loss(
    logits: torch.Tensor,
    truth: torch.Tensor,
    bins: IntensityBins,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy in nats of what was stained; log(count) for a flat guess.

    Parameters
    ----------
    logits
        (B, stains * count, *S).
    truth
        (B, stains, *S) normalised, NaN where missing.
    bins
        Of the logits.
    weights
        By stain (stains,), as in `napari_virtualstain.losses.pixel.masked_mean`.
    """
    index = bins.index(truth)
    apart = logits.reshape(-1, bins.count, *logits.shape[2:])  # (B * stains, count, *S)
    each = functional.cross_entropy(
        apart, index.flatten(0, 1), ignore_index=-1, reduction="none"
    ).reshape(index.shape)
    return masked_mean(each, index >= 0, weights)


def quantiles(logits: torch.Tensor, bins: IntensityBins, levels: Sequence[float]) -> torch.Tensor:
    """Return the intensities that the truth is below with given probabilities.

    Parameters
    ----------
    logits
        (B, stains * count, *S).
    bins
        Of the logits.
    levels
        Probabilities between 0 and 1; (0.05, 0.95) for an interval of 90 %.

    Returns
    -------
    torch.Tensor
        (levels, B, stains, *S) in normalised units.

    Raises
    ------
    SettingsError
        If a level is not between 0 and 1.
    """
    for level in levels:
        if not 0 < level < 1:
            raise SettingsError(
                f"A quantile is asked for by a probability between 0 and 1, got {level:g}. "
                "Use 0.5 for the median."
            )
    apart = logits.reshape(-1, bins.stains, bins.count, *logits.shape[2:])
    # (B, stains, count, *S); in float32, as sums of 256 shares lose digits in half precision.
    share = apart.float().softmax(dim=2)
    below = share.cumsum(dim=2)
    low, width = _scale(bins, share[:, :, 0])
    found = []
    for level in levels:
        # The first bin at whose upper edge the level is reached.
        at = (below < level).sum(dim=2, keepdim=True).clamp(max=bins.count - 1)
        inside, reached = share.gather(2, at), below.gather(2, at)
        part = (1 - (reached - level) / inside.clamp(min=torch.finfo(share.dtype).tiny)).clamp(0, 1)
        found.append(low + width * (at + part).squeeze(2))
    return torch.stack(found)


def expectation(logits: torch.Tensor, bins: IntensityBins) -> torch.Tensor:
    """Return the mean of what the logits say, (B, stains, *S), in normalised units."""
    apart = logits.reshape(-1, bins.stains, bins.count, *logits.shape[2:])
    share = apart.float().softmax(dim=2)
    middles = torch.arange(bins.count, device=share.device, dtype=share.dtype) + 0.5
    place = (share * middles.reshape(-1, *(1,) * (share.ndim - 3))).sum(dim=2)
    low, width = _scale(bins, place)
    return low + width * place


def median(logits: torch.Tensor, bins: IntensityBins) -> torch.Tensor:
    """Return the median of what the logits say, (B, stains, *S): the predicted image."""
    return quantiles(logits, bins, (0.5,))[0]
