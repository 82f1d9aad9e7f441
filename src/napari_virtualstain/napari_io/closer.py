"""What do the pixels in view say? Numbers, a profile along a line, and which grey goes with which.

All of it is of a `Pair`, which has been read already: nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import SSIM_WINDOW, ssim
from napari_virtualstain.napari_io.mixed import Pair

__all__ = [
    "Joint",
    "Profile",
    "ViewNumbers",
    "joint_histogram",
    "numbers_in_view",
    "profile_along",
    "values_at",
]

_BINS = 64
_SHOWN = 0.999
"""Share of the pixels that a joint histogram shows."""
Point = Sequence[float]
"""(y, x) in pixels of the finest level; the middle of the first pixel is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewNumbers:
    """How alike the pixels in view are.

    Parameters
    ----------
    pcc, ssim, mae, gain
        As `metrics` defines them; NaN where they are not defined (a constant truth, a view smaller
        than a window of SSIM, only missing pixels).
    pixels
        That were compared.
    every
        One of so many pixels along each axis was compared, or their mean: 1 is full resolution.
    """

    pcc: float
    ssim: float
    mae: float
    gain: float
    pixels: int
    every: float


def numbers_in_view(pair: Pair, range_: float | None = None) -> ViewNumbers:
    """Compare what is in view.

    Parameters
    ----------
    pair
        That is in view.
    range_
        To which SSIM is relative: that of the whole field, so that views can be compared. That of
        the view if `None`.
    """
    compared = Comparison()
    compared.add(pair.predicted, pair.true)
    alike = float("nan")
    if compared.count and min(pair.true.shape) >= SSIM_WINDOW:
        alike = ssim(pair.predicted, pair.true, range_=range_)
    return ViewNumbers(
        pcc=compared.pearson,
        ssim=alike,
        mae=compared.mae,
        gain=compared.gain,
        pixels=compared.count,
        every=max(pair.step),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """How often a predicted grey value goes with a true one.

    Parameters
    ----------
    counts
        (predicted, true), the darkest first.
    low, high
        Of both axes, which are the same, so that what is right lies on the diagonal.
    """

    counts: NDArray[np.int64]
    low: float
    high: float


def joint_histogram(pair: Pair, bins: int = _BINS) -> Joint | None:
    """Count pairs of grey values; `None` if nothing is known in view.

    Both axes reach over 99.9 % of the pixels of either picture; what is beyond counts at the edge.
    """
    known = np.isfinite(pair.predicted) & np.isfinite(pair.true)
    if not known.any():
        return None
    both = np.stack([pair.predicted[known], pair.true[known]]).astype(np.float64)
    out = (1 - _SHOWN) / 2
    low = float(np.quantile(both, out, axis=1).min())
    high = float(np.quantile(both, 1 - out, axis=1).max())
    if not high > low:
        low, high = low - 0.5, low + 0.5
    at = np.clip(((both - low) * (bins / (high - low))).astype(np.int64), 0, bins - 1)
    counts = np.bincount(at[0] * bins + at[1], minlength=bins * bins)
    return Joint(counts=counts.reshape(bins, bins), low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """Grey values along a line.

    Parameters
    ----------
    distance
        (N,) from the start, in pixels of the finest level.
    predicted, true
        (N,) between pixels by straight lines; NaN beyond what was read.
    """

    distance: NDArray[np.float64]
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]


def profile_along(pair: Pair, start: Point, end: Point) -> Profile:
    """Return what lies along a line, a value for each pixel that was read or so.

    Parameters
    ----------
    pair
        That is in view.
    start, end
        (y, x).
    """
    a, b = np.asarray(start, float), np.asarray(end, float)
    length = float(np.hypot(*(b - a)))
    share = np.linspace(0, 1, max(2, round(length / min(pair.step)) + 1))
    line = a[:, None] + (b - a)[:, None] * share
    found = []
    for pixels in (pair.predicted, pair.true):
        places = [_index(pair, axis, line[axis]) for axis in (0, 1)]
        found.append(map_coordinates(pixels.astype(float), places, order=1, cval=np.nan))
    return Profile(distance=share * length, predicted=found[0], true=found[1])


def values_at(pair: Pair, point: Point) -> tuple[float, float] | None:
    """Return the predicted and the true value of a pixel, `None` outside of what was read."""
    row, column = (round(float(_index(pair, axis, point[axis]))) for axis in (0, 1))
    height, width = pair.true.shape
    if not (0 <= row < height and 0 <= column < width):
        return None
    return float(pair.predicted[row, column]), float(pair.true[row, column])


def _index(pair: Pair, axis: int, places: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return which of the pixels that were read lies at a place."""
    return (np.asarray(places, float) - pair.first[axis]) / pair.step[axis]
