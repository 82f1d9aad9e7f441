"""Pixels that lie inside polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

__all__ = ["Polygon", "inside"]

Polygon = Sequence[tuple[float, float]]
"""Corners (y, x) in pixels; the middle of the first pixel is 0."""


def inside(shape: tuple[int, int], polygons: Iterable[Polygon]) -> NDArray[np.bool_]:
    """Return (Y, X), true inside any polygon; what lies beyond the image is cut off.

    Parameters
    ----------
    shape
        Rows and columns.
    polygons
        Any number, also none.

    Examples
    --------
    >>> inside((3, 4), [[(0, 0), (0, 2), (2, 2), (2, 0)]]).astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 0],
           [1, 1, 1, 0]])
    """
    found = np.zeros(shape, bool)
    for corners in polygons:
        found |= polygon2mask(shape, np.asarray(corners, float))
    return found
