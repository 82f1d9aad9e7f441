"""The same picture on a grid of another pixel size, region by region.

Pixel ``i`` of a grid whose pixels are ``ratio`` times as large lies at
``(i + 0.5) * ratio - 0.5`` of the source grid. Interpolation is linear, behind a
Gaussian of SD ``(ratio - 1) / 2`` source pixels where the new grid is coarser
(the anti-aliasing of scikit-image). Every output pixel depends on a fixed
neighbourhood of the source, so that regions agree with the whole image.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.axes import Region

__all__ = ["resample_region", "resampled_length", "source_region"]

_TRUNCATE = 4.0


def resampled_length(length: int, ratio: float) -> int:
    """Return the number of pixels of a grid with pixels ``ratio`` times as large."""
    return max(1, round(length / ratio))


def _sigma(ratio: float) -> float:
    return max(0.0, (ratio - 1) / 2)


def source_region(region: Region, ratios: tuple[float, ...], shape: tuple[int, ...]) -> Region:
    """Return what must be read of the source to resample a region.

    Parameters
    ----------
    region
        Of the new grid.
    ratios
        New pixel size over source pixel size, one an axis.
    shape
        Of the source.
    """
    parts = []
    for part, ratio, length in zip(region, ratios, shape, strict=True):
        margin = ceil(_TRUNCATE * _sigma(ratio) + 0.5) + 1
        start = floor((part.start + 0.5) * ratio - 0.5) - margin
        stop = ceil((part.stop - 0.5) * ratio - 0.5) + 1 + margin
        start = min(max(0, start), length - 1)
        parts.append(slice(start, max(start + 1, min(length, stop))))
    return tuple(parts)


def resample_region(
    pixels: NDArray[np.float32],
    read: Region,
    region: Region,
    ratios: tuple[float, ...],
) -> NDArray[np.float32]:
    """Resample what was read to a region of the new grid.

    Parameters
    ----------
    pixels
        (..., *S) float32, the source in ``read``; edge values continue outside.
    read
        As `source_region` returns it for ``region``.
    region
        Of the new grid.
    ratios
        New pixel size over source pixel size, one an axis of S.

    Returns
    -------
    numpy.ndarray
        (..., *region) float32.
    """
    first = pixels.ndim - len(ratios)
    for axis, (origin, part, ratio) in enumerate(
        zip(read, region, ratios, strict=True), start=first
    ):
        if sigma := _sigma(ratio):
            pixels = ndimage.gaussian_filter1d(
                pixels, sigma, axis=axis, mode="nearest", truncate=_TRUNCATE
            )
        position = (np.arange(part.start, part.stop) + 0.5) * ratio - 0.5 - origin.start
        position = np.clip(position, 0, pixels.shape[axis] - 1)
        below = np.floor(position).astype(np.intp)
        above = np.minimum(below + 1, pixels.shape[axis] - 1)
        share = (position - below).astype(np.float32)
        share = share.reshape([-1 if a == axis else 1 for a in range(pixels.ndim)])
        pixels = np.take(pixels, below, axis) * (1 - share) + np.take(pixels, above, axis) * share
    return pixels
