"""What could be had without any network: the floor that a model must beat.

The floor is the best linear combination of the bright-field planes in a small
neighbourhood, fitted by least squares to the truth of the very field on which
it is judged. It has seen the answer, which no model has; a model below it has
learnt nothing that a sharpening filter would not have found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LinearFloor", "linear_floor", "linear_prediction"]

_ROWS = 1 << 14
"""Pixels whose neighbourhoods are held at a time."""
_ONE_THREAD = 1 << 18
"""Multiplications up to which OpenBLAS stays in the calling thread."""
_RCOND = 1e-12
"""Directions with less than this share of the largest variance are left out."""


def _columns(
    planes: NDArray[Any], reach: int, *, above: int = 0, below: int = 0
) -> NDArray[np.float64]:
    """Return the neighbourhoods of all pixels but the margins: (P * size**2, y * x).

    Rows beyond the margins that are there, and columns, are mirrored at the border.
    """
    p, _, width = planes.shape
    padded = np.asarray(planes, np.float64)
    rows = padded.shape[1] - above - below
    for axis, before, after in ((1, reach - above, reach - below), (2, reach, reach)):
        mode: Any = "reflect" if padded.shape[axis] > reach else "edge"
        sides = [(0, 0), (0, 0), (0, 0)]
        sides[axis] = (before, after)
        padded = np.pad(padded, sides, mode=mode)
    size = 2 * reach + 1
    return np.stack(
        [
            padded[plane, dy : dy + rows, dx : dx + width].ravel()
            for plane in range(p)
            for dy in range(size)
            for dx in range(size)
        ]
    )


def _products(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``rows @ rows.T``, as a sum of products too small to be given to several threads.

    Threads that wait for each other on a busy machine made one product of a flat and wide
    matrix up to a hundred times slower; this way costs no more than one thread does.
    """
    m, n = rows.shape
    length = max(8, _ONE_THREAD // (m * m))
    whole = n // length * length
    # (m, n) -> (n / length, m, length)
    parts = rows[:, :whole].reshape(m, -1, length).swapaxes(0, 1)
    rest = rows[:, whole:]
    result: NDArray[np.float64] = (parts @ parts.swapaxes(1, 2)).sum(axis=0) + rest @ rest.T
    return result


class LinearFloor:
    """Fit the floor strip by strip: only sums of products are kept.

    Parameters
    ----------
    reach
        Pixels to each side that enter: 1 for 3 x 3 neighbourhoods.

    Notes
    -----
    Least squares by the normal equations of the standardised columns, which are
    solved by their singular values: a plane that is given twice does no harm.
    """

    def __init__(self, reach: int = 1) -> None:
        self.reach = reach
        self._n = 0
        self._means: NDArray[np.float64] | None = None
        self._moments: NDArray[np.float64] | None = None

    def add(
        self, planes: NDArray[Any], truth: NDArray[Any], *, above: int = 0, below: int = 0
    ) -> None:
        """Take in a strip.

        Parameters
        ----------
        planes
            (P, above + Y + below, X) bright field.
        truth
            (Y, X); NaN is missing.
        above, below
            Rows of the planes beyond the strip, at most `reach`: 0 only at the
            border of the picture.
        """
        height, width = truth.shape
        step = max(1, _ROWS // width)
        for start in range(0, height, step):
            stop = min(start + step, height)
            # With its neighbours, as far as they are there.
            first, last = max(0, start + above - self.reach), stop + above + self.reach
            piece = planes[:, first : min(last, planes.shape[1])]
            up = start + above - first
            columns = _columns(
                piece, self.reach, above=up, below=piece.shape[1] - up - (stop - start)
            )
            rows = np.concatenate([columns, truth[start:stop].reshape(1, -1)])
            known = np.isfinite(rows).all(axis=0)
            self._merge(rows if known.all() else rows[:, known])

    def _merge(self, rows: NDArray[np.float64]) -> None:
        n = rows.shape[1]
        if n == 0:
            return
        means = rows.mean(axis=1)
        centred = rows - means[:, None]
        moments = _products(centred)
        if self._means is None or self._moments is None:
            self._n, self._means, self._moments = n, means, moments
            return
        apart, total = means - self._means, self._n + n
        self._moments = self._moments + moments + np.outer(apart, apart) * (self._n * n / total)
        self._means = self._means + apart * (n / total)
        self._n = total

    @property
    def pearson(self) -> float:
        """Correlation of the best linear prediction with the truth, NaN if there is none."""
        if self._moments is None:
            return float("nan")
        spread = np.sqrt(np.diag(self._moments))
        if not spread[-1] > 0:
            return float("nan")
        scale = np.where(spread > 0, spread, 1.0)
        alike = self._moments / np.outer(scale, scale)
        weights, *_ = np.linalg.lstsq(alike[:-1, :-1], alike[:-1, -1], rcond=_RCOND)
        explained = float(weights @ alike[:-1, -1])
        return float(np.sqrt(min(explained, 1.0))) if explained > 0 else float("nan")


def linear_prediction(
    planes: NDArray[Any], truth: NDArray[Any], *, reach: int = 1
) -> NDArray[np.float64]:
    """Return the least-squares prediction of the truth from the planes.

    Parameters
    ----------
    planes
        (P, Y, X) bright field; all neighbourhoods are held in memory.
    truth
        (Y, X); NaN is missing.
    reach
        Pixels to each side that enter: 1 for 3 x 3 neighbourhoods.

    Returns
    -------
    numpy.ndarray
        (Y, X), in the unit of the truth; NaN where a plane is.
    """
    _, height, width = planes.shape
    centred = np.asarray(planes, np.float64)
    centred = centred - np.nanmean(centred, axis=(1, 2), keepdims=True)
    design = np.concatenate([_columns(centred, reach), np.ones((1, height * width))]).T
    target = np.asarray(truth, np.float64).ravel()
    known = np.isfinite(target) & np.isfinite(design).all(axis=1)
    weights, *_ = np.linalg.lstsq(design[known], target[known], rcond=None)
    predicted: NDArray[np.float64] = (design @ weights).reshape(height, width)
    return predicted


def linear_floor(planes: NDArray[Any], truth: NDArray[Any], *, reach: int = 1) -> float:
    """Return the Pearson correlation of `linear_prediction` with the truth."""
    floor = LinearFloor(reach)
    floor.add(planes, truth)
    return floor.pearson
