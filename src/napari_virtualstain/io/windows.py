"""Between which values a viewer shows each channel of a result, in stored numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.pyramid import chunk_slices

__all__ = ["Extent", "extrema", "windows_of"]

_SAMPLED = 4_000_000
"""Pixels of a channel that its display window is chosen from."""


class Extent:
    """Smallest and largest finite value seen of each channel, and how many pixels were none.

    Parameters
    ----------
    n_channels
        How many there are.
    missing
        Number that stands for a missing pixel, if one does.

    Attributes
    ----------
    low, high
        By channel; infinite, and the wrong way round, where nothing was seen.
    gaps
        Pixels by channel that are missing, NaN or infinite.
    """

    def __init__(self, n_channels: int, missing: int | None = None) -> None:
        self.missing = missing
        self.low = [np.inf] * n_channels
        self.high = [-np.inf] * n_channels
        self.gaps = [0] * n_channels

    def __call__(self, channel: int, pixels: NDArray[Any]) -> None:
        """Take the pixels of a channel into account."""
        values = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
        # NaN goes through both, so that one look at the pixels tells of all three.
        low, high = np.minimum.reduce(values, axis=None), np.maximum.reduce(values, axis=None)
        if not (np.isfinite(low) and np.isfinite(high)) or low == self.missing:
            there = values[np.isfinite(values)]
            there = there if self.missing is None else there[there != self.missing]
            self.gaps[channel] += values.size - there.size
            if not there.size:
                return
            low, high = there.min(), there.max()
        self.include(channel, float(low), float(high))

    def merge(self, other: Extent) -> None:
        """Take all that another extent has seen into account."""
        for channel, (low, high) in enumerate(zip(other.low, other.high, strict=True)):
            self.include(channel, low, high)
            self.gaps[channel] += other.gaps[channel]

    def include(self, channel: int, low: float, high: float) -> None:
        """Take the extremes of other pixels of a channel into account."""
        self.low[channel] = min(self.low[channel], low)
        self.high[channel] = max(self.high[channel], high)


def extrema(array: Any, see: Callable[[int, NDArray[Any]], None], step: Callable[[], None]) -> None:
    """Show every chunk of a level to `see`, and call `step` after each, writing nothing."""
    for t, c, z in product(*(range(n) for n in array.shape[:3])):
        for y, x in product(
            chunk_slices(array.shape[-2], array.chunks[-2]),
            chunk_slices(array.shape[-1], array.chunks[-1]),
        ):
            see(c, array[t, c, z, y, x])
            step()


def windows_of(coarsest: Any, extent: Extent) -> list[dict[str, float]]:
    """Return the display window of each channel.

    ``min`` and ``max`` are those of the data, ``start`` and ``end`` the 0.5 and 99.8 percentiles
    of the coarsest level: at most 16 of its planes, and of large ones every n-th pixel.
    """
    windows = []
    n_t, n_c, n_z = coarsest.shape[:3]
    planes = list(product(range(n_t), range(n_z)))
    planes = planes[:: max(1, len(planes) // 16)][:16]
    # The coarsest level is small unless somebody asked for few levels of a large image.
    every = max(1, int(np.sqrt(len(planes) * coarsest.shape[-2] * coarsest.shape[-1] / _SAMPLED)))
    part = slice(None, None, every)
    for channel in range(n_c):
        low, high = extent.low[channel], extent.high[channel]
        if not np.isfinite(low):
            low, high = 0.0, 1.0  # nothing was written
        sample = np.concatenate([np.ravel(coarsest[t, channel, z, part, part]) for t, z in planes])
        sample = sample[np.isfinite(sample)]
        if extent.missing is not None:
            sample = sample[sample != extent.missing]
        if sample.dtype == np.float16:  # the interpolation between two of them would overflow
            sample = sample.astype(np.float32)
        start, end = np.percentile(sample, (0.5, 99.8)) if sample.size else (low, high)
        if not start < end:
            start, end = (low, high) if low < high else (low, low + 1.0)
        windows.append({"min": low, "max": high, "start": float(start), "end": float(end)})
    return windows
