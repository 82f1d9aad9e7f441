"""What a plane looks like when everything small is smoothed away: a median or mean over discs.

A filter as wide as a quarter of the field is smooth over many pixels, so that it
is computed exactly at nodes a quarter of a disc apart and interpolated between
them: under a second instead of minutes, and some ten kilobytes to keep.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.preprocessing.cubic import between

__all__ = ["Smoothing", "interpolated", "node_positions", "smoothed_at_nodes"]

Smoothing = Literal["median", "gaussian"]

_NODES_A_RADIUS = 4
_LARGEST_RADIUS = 128
"""Radius in pixels up to which the median is of pixels; beyond, of means of small blocks."""
_TRUNCATE = 4.0


def node_positions(length: int, spacing: float) -> NDArray[np.float64]:
    """Return evenly spaced positions in pixels, the first and last pixel among them."""
    count = max(2, int(np.ceil((length - 1) / spacing)) + 1) if length > 1 else 1
    return np.linspace(0.0, length - 1.0, count)


def smoothed_at_nodes(
    plane: NDArray[Any], *, sigma: float, smoothing: Smoothing = "median"
) -> NDArray[np.float64]:
    """Return a plane after a wide filter, at nodes only.

    Parameters
    ----------
    plane
        (Y, X); what is not finite is missing.
    sigma
        In pixels: the SD of the Gaussian, or the radius of the disc whose median
        is taken. Both are cut off at the border of the plane.
    smoothing
        Which of the two.

    Returns
    -------
    numpy.ndarray
        At the `node_positions` of both axes for a spacing of a quarter of sigma;
        NaN where no pixel of the disc is known.
    """
    pixels = np.asarray(plane, np.float64)
    ys, xs = (node_positions(n, max(1.0, sigma / _NODES_A_RADIUS)) for n in pixels.shape)
    if smoothing == "gaussian":
        return _gaussian_at(pixels, ys, xs, sigma)
    block = int(np.ceil(sigma / _LARGEST_RADIUS))
    return _median_at(_block_means(pixels, block), ys, xs, sigma, block)


def interpolated(
    nodes: NDArray[np.float64], shape: tuple[int, int], region: tuple[slice, slice]
) -> NDArray[np.float64]:
    """Return the surface of a region (Y, X); the bits are those of the whole plane.

    Parameters
    ----------
    nodes
        As `smoothed_at_nodes` returns them, without NaN.
    shape
        (Y, X) of the plane.
    region
        Of the plane.
    """
    surface = nodes
    for axis, (length, part) in enumerate(zip(shape, region, strict=True)):
        count = nodes.shape[axis]
        scale = (count - 1) / (length - 1) if length > 1 else 0.0
        # One node more on each side, straight on, for the four neighbours of the last value.
        widened = _extended(surface, axis)
        position = np.arange(part.start, part.stop) * scale + 1.0
        surface = between(widened, position, axis=axis)
    return surface


def _extended(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    n = values.shape[axis]
    first, last = values.take([0], axis), values.take([n - 1], axis)
    if n == 1:
        return np.concatenate([first, values, last, last], axis)
    before = 2 * first - values.take([1], axis)
    after = 2 * last - values.take([n - 2], axis)
    return np.concatenate([before, values, after, 2 * after - last], axis)


def _block_means(pixels: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Return means over squares, incomplete ones at the far border too; NaN without pixels."""
    if block == 1:
        return pixels
    known = np.isfinite(pixels)
    sums, counts = np.where(known, pixels, 0.0), known.astype(np.float64)
    for axis in (0, 1):
        at = np.arange(0, pixels.shape[axis], block)
        sums, counts = np.add.reduceat(sums, at, axis), np.add.reduceat(counts, at, axis)
    result = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=result, where=counts > 0)
    return result


def _median_at(
    pixels: NDArray[np.float64],
    ys: NDArray[np.float64],
    xs: NDArray[np.float64],
    radius: float,
    block: int,
) -> NDArray[np.float64]:
    """Return the median over the disc at each node; positions and radius in unblocked pixels."""
    height, width = pixels.shape
    # Where the middle of each block lies.
    rows, columns = (np.arange(n) * block + (block - 1) / 2 for n in (height, width))
    complete = bool(np.isfinite(pixels).all())
    result = np.full((ys.size, xs.size), np.nan)
    for i, y in enumerate(ys):
        near_y = np.flatnonzero(np.abs(rows - y) <= radius + block)
        for j, x in enumerate(xs):
            near_x = np.flatnonzero(np.abs(columns - x) <= radius + block)
            part = (
                slice(near_y[0], near_y[-1] + 1),
                slice(near_x[0], near_x[-1] + 1),
            )
            away = (rows[part[0]] - y)[:, None] ** 2 + (columns[part[1]] - x)[None, :] ** 2
            inside = pixels[part][away <= max(radius, block) ** 2]
            if not complete:
                inside = inside[np.isfinite(inside)]
            if inside.size:
                result[i, j] = np.median(inside)
    return result


def _gaussian_at(
    pixels: NDArray[np.float64],
    ys: NDArray[np.float64],
    xs: NDArray[np.float64],
    sigma: float,
) -> NDArray[np.float64]:
    """Return the mean under a Gaussian of what is known, at each node."""
    known = np.isfinite(pixels)
    weights = []
    for at, length in ((ys, pixels.shape[0]), (xs, pixels.shape[1])):
        away = np.subtract.outer(at, np.arange(length)) / sigma
        weights.append(np.where(np.abs(away) <= _TRUNCATE, np.exp(-0.5 * away**2), 0.0))
    # (nodes, Y) @ (Y, X) @ (X, nodes)
    total = weights[0] @ np.where(known, pixels, 0.0) @ weights[1].T
    weight = weights[0] @ known.astype(np.float64) @ weights[1].T
    result = np.full(total.shape, np.nan)
    np.divide(total, weight, out=result, where=weight > 0)
    return result
