"""How far may the truth lie from a stain? Intervals from a spread, and whether they hold.

A spread (of draws, of views) is larger where a model is less sure, and says nothing of how large an
error is: all views may share a mistake. What it is worth is measured on held-out pairs. There the
errors of pixels with about the same spread are looked at, and the half-width that a share ``level``
of them stays below is the interval of that spread (split conformal prediction, a bin at a time:
Vovk et al. 2003, *Mondrian confidence machine*; Romano et al. 2019, arXiv:1905.03222, who scale one
number by the spread instead). That it holds on fields that were not used for it is measured, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Retention",
    "SpreadInterval",
    "coverage",
    "coverage_by_spread",
    "ends",
    "fit_interval",
    "retention",
]

_BINS = 20
_LEAST = 50
"""Pixels of a bin."""
_STEPS = 20
Floats = NDArray[np.float64]


class SpreadInterval(BaseModel):
    """Half-width of the interval that holds the truth, by spread; both in the stain's units.

    Parameters
    ----------
    level
        Share of the truth that lies within.
    spreads, widths
        Knots; linear in between, the first width below, and beyond the last one in proportion to
        the spread.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(gt=0, lt=1)
    spreads: tuple[float, ...] = Field(min_length=1)
    widths: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rises(self) -> SpreadInterval:
        if len(self.spreads) != len(self.widths):
            raise ValueError("has as many spreads as widths")
        if any(np.diff(self.spreads) <= 0) or any(np.diff(self.widths) < 0) or self.widths[0] < 0:
            raise ValueError("spreads rise, and widths do not fall")
        return self

    def half_width(self, spread: ArrayLike) -> NDArray[np.float32]:
        """Return the half-width for spreads, NaN where they are NaN.

        Examples
        --------
        >>> interval = SpreadInterval(level=0.9, spreads=(1, 2), widths=(4, 6))
        >>> interval.half_width([0, 1.5, 4]).tolist()
        [4.0, 5.0, 12.0]
        """
        given = np.asarray(spread, np.float64)
        found = np.interp(given, self.spreads, self.widths)
        last, width = self.spreads[-1], self.widths[-1]
        if last > 0:
            found = np.where(given > last, width * given / last, found)
        return np.asarray(found, np.float32)


def fit_interval(spread: ArrayLike, error: ArrayLike, level: float = 0.9) -> SpreadInterval:
    """Return the interval that so large a share of the truth lies in, for every spread.

    Parameters
    ----------
    spread, error
        (pixels,): what the model says of its doubt, and prediction less truth.
    level
        Share of pixels, 0 to 1, both ends excluded.

    Raises
    ------
    ValueError
        If there are fewer than 50 pixels.
    """
    doubt, off = _pairs(spread, np.abs(np.asarray(error, np.float64)))
    if len(doubt) < _LEAST:
        raise ValueError(f"an interval needs {_LEAST} pixels")
    order = np.argsort(doubt, kind="stable")
    parts = np.array_split(order, min(_BINS, len(doubt) // _LEAST))
    knots: dict[float, float] = {}
    for part in parts:
        # Of n pixels the ceil(level (n + 1))th error: with it the share is at least the level.
        rank = min(int(np.ceil(level * (len(part) + 1))), len(part)) - 1
        width = float(np.partition(off[part], rank)[rank])
        at = float(np.median(doubt[part]))
        knots[at] = max(width, knots.get(at, 0.0))
    spreads = sorted(knots)
    widths = np.maximum.accumulate([knots[at] for at in spreads])
    return SpreadInterval(level=level, spreads=tuple(spreads), widths=tuple(map(float, widths)))


def coverage(interval: SpreadInterval, spread: ArrayLike, error: ArrayLike) -> float:
    """Return the share of pixels whose truth lies within; NaN without pixels."""
    doubt, off = _pairs(spread, np.abs(np.asarray(error, np.float64)))
    return float(np.mean(off <= interval.half_width(doubt))) if len(doubt) else float("nan")


def coverage_by_spread(
    interval: SpreadInterval, spread: ArrayLike, error: ArrayLike, parts: int = 10
) -> list[float]:
    """Return the same for each tenth of the pixels, from the surest to the least sure."""
    doubt, off = _pairs(spread, np.abs(np.asarray(error, np.float64)))
    inside = off <= interval.half_width(doubt)
    order = np.argsort(doubt, kind="stable")
    return [float(inside[part].mean()) if len(part) else float("nan")
            for part in np.array_split(order, parts)]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is left of the error when the doubtful pixels are left out.

    Parameters
    ----------
    kept
        Shares of the pixels, 1 down to 0.05.
    error
        Mean absolute error of so many, the surest first.
    area
        Mean of the curve over that of leaving pixels out at random: 1 is no better than that.
    """

    kept: tuple[float, ...]
    error: tuple[float, ...]
    area: float


def retention(doubt: ArrayLike, error: ArrayLike) -> Retention:
    """Return the error-retention curve of a measure of doubt.

    Parameters
    ----------
    doubt
        (pixels,): anything that is larger where an error is expected; a constant says nothing.
    error
        (pixels,): prediction less truth.

    Raises
    ------
    ValueError
        If there are no pixels.

    References
    ----------
    Lakshminarayanan et al. 2017, arXiv:1612.01474, and Malinin et al. 2021, arXiv:2107.07455.
    """
    known, off = _pairs(doubt, np.abs(np.asarray(error, np.float64)))
    if not len(known):
        raise ValueError("there are no pixels")
    order = np.argsort(known, kind="stable")
    # Pixels of one doubt have no order: each counts as the mean of all of them.
    _, place, many = np.unique(known[order], return_inverse=True, return_counts=True)
    level = np.bincount(place, off[order]) / many
    means = np.cumsum(level[place]) / np.arange(1, len(off) + 1)
    kept = tuple(np.linspace(1, 1 / _STEPS, _STEPS))
    curve = tuple(float(means[max(round(share * len(off)), 1) - 1]) for share in kept)
    whole = float(off.mean())
    area = float(np.mean(curve)) / whole if whole else 1.0
    return Retention(kept=kept, error=curve, area=area)


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    """Return what both know."""
    a, b = np.ravel(np.asarray(first, np.float64)), np.ravel(np.asarray(second, np.float64))
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def ends(grey: NDArray[np.float32], intervals: Sequence[SpreadInterval]) -> NDArray[np.float32]:
    """Return means and the ends of their intervals, of means and spreads.

    Parameters
    ----------
    grey
        (2 N, *S): N means, then N spreads, in the units of the intervals.
    intervals
        Of each; where there are fewer than N, several planes of one stain follow each other.

    Returns
    -------
    array
        (3 N, *S): the means, their lower ends, their upper ends.
    """
    n = len(grey) // 2
    mean = grey[:n]
    each = n // len(intervals)
    widths = np.stack([intervals[i // each].half_width(grey[n + i]) for i in range(n)])
    return np.concatenate([mean, mean - widths, mean + widths])
