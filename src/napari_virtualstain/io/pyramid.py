"""Coarser copies of a result, for viewers: each pixel the mean of 2 x 2.

What is missing (NaN) does not enter a mean. `io.coarser` builds the levels from
tiles in memory; what it could not is filled here from the level below, chunk by
chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["chunk_slices", "fill_chunk", "level_shapes", "levels_needed", "mean_2x2"]


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


def mean_2x2(block: NDArray[Any], missing: int | None = None) -> NDArray[Any]:
    """Return the mean of each 2 x 2 pixels of (Y, X), of those that are there.

    Parameters
    ----------
    block
        Pixels; NaN is missing.
    missing
        What stands for a missing pixel among integers, if something does.

    Examples
    --------
    >>> mean_2x2(np.array([[1.0, 3.0, np.nan], [np.nan, 5.0, np.nan]]))
    array([[ 3., nan]])
    """
    if missing is not None:
        mean = mean_2x2(np.where(block == missing, np.nan, block))
        return np.where(np.isnan(mean), missing, np.rint(mean)).astype(block.dtype)
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
    partly = np.isnan(mean)
    if partly.any():
        mean[partly] = _mean_of_those_there([corner[partly] for corner in corners])
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


def chunk_slices(length: int, chunk: int) -> Iterator[slice]:
    """Yield the parts of an axis that its chunks take."""
    return (slice(start, min(start + chunk, length)) for start in range(0, length, chunk))


def fill_chunk(
    fine: Any, coarse: Any, place: Sequence[int], missing: int | None = None
) -> NDArray[Any]:
    """Fill one chunk of a level from the level below it; return what was read there.

    Parameters
    ----------
    fine, coarse
        Zarr arrays (T, C, Z, Y, X) with chunks of one plane.
    place
        Time, channel, z, row and column of the chunk.
    missing
        As in `mean_2x2`.
    """
    (t, c, z, row, column), (height, width) = place, fine.shape[-2:]
    edge_y, edge_x = coarse.chunks[-2:]
    y = slice(row * edge_y, min((row + 1) * edge_y, coarse.shape[-2]))
    x = slice(column * edge_x, min((column + 1) * edge_x, coarse.shape[-1]))
    rows = slice(2 * y.start, min(2 * y.stop, height))
    columns = slice(2 * x.start, min(2 * x.stop, width))
    block: NDArray[Any] = fine[t, c, z, rows, columns]
    coarse[t, c, z, y, x] = mean_2x2(block, missing)
    return block
