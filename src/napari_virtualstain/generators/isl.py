"""In-silico labeling's answer as a generator: a distribution of intensities, not one.

Christiansen et al. 2018, "In silico labeling: predicting fluorescent labels in
unlabeled images", Cell 173, 792, doi:10.1016/j.cell.2018.03.040, as L. Venieri's thesis
describes it (section 1): 256 bins of intensity a stain and pixel, learnt by cross-entropy
from the stains that a field has; the image is the median. Other quantiles say how sure
the network is, without a second run.

Where we depart
---------------
The body is our U-Net, which sees a field at once, where theirs gives 8 x 8 px for each
250 x 250 px; bins and median are `losses.bins`'s.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import nn

from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.learning import Batch, Further, LearningSettings, stain_weights
from napari_virtualstain.losses.bins import IntensityBins, bin_loss, expectation, quantiles
from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.nets.unet import UNet, UNetNorm

__all__ = ["IslGenerator"]

_AT_ONCE = 1 << 24
"""Logits that are held at once when medians are read."""


class _Head(nn.Module):
    """Read medians (B, stains, Y, X), and other levels if wanted, a few rows at a time.

    From features (B, hidden, Y, X). All 256 bins of all stains of a tile would take more memory
    than the network.
    """

    pointwise = True

    def __init__(self, hidden: int, bins: IntensityBins) -> None:
        super().__init__()
        self.bins = bins
        self.levels: tuple[float, ...] = (0.5,)
        self.logits = nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, bins.stains * bins.count, 1))

    def read(self, features: torch.Tensor, levels: Sequence[float]) -> torch.Tensor:
        """Return quantiles (levels, B, stains, Y, X)."""
        if torch.compiler.is_compiling():  # an exported graph has no loops, and more memory
            return quantiles(self.logits(features), self.bins, levels)
        columns = len(features) * features.shape[3] * self.bins.stains * self.bins.count
        rows = max(1, _AT_ONCE // columns)
        parts = [
            quantiles(self.logits(features[:, :, at : at + rows]), self.bins, levels)
            for at in range(0, features.shape[2], rows)
        ]
        return torch.cat(parts, dim=3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        read = self.read(features, self.levels).to(features.dtype)
        return read.transpose(0, 1).flatten(1, 2)  # (levels, B, C, ...) -> (B, levels * C, ...)

    def reading(self, levels: Sequence[float]) -> _Head:
        """Return a head with the same weights that gives the medians, then these levels."""
        other = copy.copy(self)
        other.levels = (0.5, *levels)
        return other


class _Binned(nn.Module):
    """A U-Net and the head that reads it."""

    def __init__(self, body: UNet, head: _Head) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.head(self.body(planes)))


class _BinLearner:
    """Make the cross-entropy of the bins small; a further term is of the mean of what they say."""

    def __init__(self, net: _Binned, settings: LearningSettings) -> None:
        self._net = net
        self._weights = stain_weights(settings, next(net.parameters()).device)
        self.networks: Mapping[str, nn.Module] = {"generator": net}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "generator": make_optimiser(settings, net)
        }

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        bins, further = self._net.head.bins, Further(batch)

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, share in batch.parts():
                with moment.arithmetic():
                    logits = self._net.head.logits(self._net.body(planes))
                logits = logits.float()
                loss = bin_loss(logits, stains, bins, self._weights)
                if further.wanted:  # the median, which is the image, has no gradient to speak of
                    loss = loss + further(expectation(logits, bins), stains, share)
                yield loss, share

        return {"loss": moment.descend(self.optimisers["generator"], losses()), **further.said()}


class IslGenerator(ForwardGenerator):
    """Predict the median intensity of each stain, and quantiles on request.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    depth, width, norm
        See `napari_virtualstain.nets.unet.UNet`.
    hidden
        Features that the bins of all stains are read from.
    bins
        Bins a stain.
    low, high
        Range of the bins in normalised units; what is beyond falls into the last bin.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int = 5,
        width: int = 32,
        norm: UNetNorm = "batch",
        hidden: int = 64,
        bins: int = 256,
        low: float = -3.0,
        high: float = 12.0,
    ) -> None:
        ranges = IntensityBins((low,) * out_channels, (high,) * out_channels, bins)
        self._binned = _Binned(
            UNet(in_channels, hidden, depth=depth, width=width, norm=norm), _Head(hidden, ranges)
        )
        super().__init__(
            self._binned, in_channels=in_channels, out_channels=out_channels,
            multiple_of=2 ** (depth - 1),
        )  # fmt: skip

    def learner(self, settings: LearningSettings) -> _BinLearner:
        """Return what makes the cross-entropy small; ``--loss`` only decides the examination."""
        return _BinLearner(self._binned, settings)

    def reading(self, levels: Sequence[float]) -> ForwardGenerator:
        """Return what predicts the medians of all stains, then each level of all stains.

        Parameters
        ----------
        levels
            Probabilities between 0 and 1; what the truth is below with that probability.
        """
        read = _Binned(self._binned.body, self._binned.head.reading(levels))
        return ForwardGenerator(
            read.eval(), in_channels=self.in_channels,
            out_channels=self.out_channels * (1 + len(levels)), multiple_of=self.multiple_of,
        )  # fmt: skip
