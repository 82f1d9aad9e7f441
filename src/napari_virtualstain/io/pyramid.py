"""Coarser copies of a result, for viewers: each pixel the mean of 2 x 2.

Built level by level and chunk by chunk, so that memory holds four chunks,
however large the image is. What is missing (NaN) does not enter a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["halve", "level_shapes", "levels_needed", "windows_of"]

_SAMPLED = 4_000_000
"""Pixels of a channel that its display window is chosen from."""


def levels_needed(height: int, width: int, chunk: int) -> int:
    """Return how many levels there are when the coarsest fits one chunk.

    Examples
    --------
    >>> levels_needed(512, 512, 512), levels_needed(513, 100, 512), levels_needed(2048, 2048, 512)
    (1, 2, 3)
    """
    count = 1
    while max(height, width) > chunk:
        height, width, count = -(-height // 2), -(-width // 2), count + 1
    return count


def level_shapes(shape: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    """Return the shape of each level; odd edges are rounded up, no pixel is dropped."""
    shapes = [tuple(shape)]
    for _ in range(count - 1):
        *outer, height, width = shapes[-1]
        shapes.append((*outer, -(-height // 2), -(-width // 2)))
    return shapes


def mean_2x2(block: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of each 2 x 2 pixels of (Y, X), of those that are there.

    Examples
    --------
    >>> mean_2x2(np.array([[1.0, 3.0, np.nan], [np.nan, 5.0, np.nan]]))
    array([[ 3., nan]])
    """
    height, width = block.shape
    if height % 2 or width % 2:
        even = np.full((-(-height // 2) * 2, -(-width // 2) * 2), np.nan)
        even[:height, :width] = block
    else:
        even = block
    corners = [even[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        mean = np.add(corners[0], corners[1], dtype=np.float64)
        mean += corners[2]
        mean += corners[3]
    mean *= 0.25
    missing = np.isnan(mean)
    if missing.any():
        mean[missing] = _mean_of_those_there([corner[missing] for corner in corners])
    if np.issubdtype(block.dtype, np.integer):
        np.rint(mean, out=mean)
    return mean.astype(block.dtype)


def _mean_of_those_there(corners: list[NDArray[Any]]) -> NDArray[np.float64]:
    values = np.array(corners, dtype=np.float64)
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore"):
        total = np.where(there, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _chunks(length: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, length)) for start in range(0, length, chunk))


def halve(
    fine: Any, coarse: Any, see: Callable[[int, NDArray[Any]], None] = lambda _c, _pixels: None
) -> None:
    """Fill a level from the one below it.

    Parameters
    ----------
    fine, coarse
        Zarr arrays (T, C, Z, Y, X) with chunks of one plane.
    see
        Called with the channel and the pixels of each block that is read.
    """
    height, width = fine.shape[-2:]
    ys = list(_chunks(coarse.shape[-2], coarse.chunks[-2]))
    xs = list(_chunks(coarse.shape[-1], coarse.chunks[-1]))
    for t, c, z in product(*(range(n) for n in fine.shape[:3])):
        for y, x in product(ys, xs):
            block = fine[
                t, c, z, 2 * y.start : min(2 * y.stop, height), 2 * x.start : min(2 * x.stop, width)
            ]
            see(c, block)
            coarse[t, c, z, y, x] = mean_2x2(block)


def extrema(array: Any, see: Callable[[int, NDArray[Any]], None]) -> None:
    """Show every chunk of a level to `see`, without writing anything."""
    for t, c, z in product(*(range(n) for n in array.shape[:3])):
        for y, x in product(
            _chunks(array.shape[-2], array.chunks[-2]), _chunks(array.shape[-1], array.chunks[-1])
        ):
            see(c, array[t, c, z, y, x])


class Extent:
    """Smallest and largest finite value seen of each channel."""

    def __init__(self, n_channels: int) -> None:
        self.low = [np.inf] * n_channels
        self.high = [-np.inf] * n_channels

    def __call__(self, channel: int, pixels: NDArray[Any]) -> None:
        """Take the pixels of a channel into account."""
        finite = pixels[np.isfinite(pixels)]
        if finite.size:
            self.low[channel] = min(self.low[channel], float(finite.min()))
            self.high[channel] = max(self.high[channel], float(finite.max()))


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
        start, end = np.percentile(sample, (0.5, 99.8)) if sample.size else (low, high)
        if not start < end:
            start, end = (low, high) if low < high else (low, low + 1.0)
        windows.append({"min": low, "max": high, "start": float(start), "end": float(end)})
    return windows
