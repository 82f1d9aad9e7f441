"""The same numbers for a picture that is too large to be held: strip by strip.

`Comparison` gathers what `metrics.pixel` computes of whole pictures, in the
memory of one strip; moments are merged pairwise, so that large offsets cost no
digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison"]

_AT_ONCE = 1 << 14


class Comparison:
    """Compare two pictures of which strips are handed in, in any order.

    Examples
    --------
    >>> compared = Comparison()
    >>> compared.add(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    >>> compared.add(np.array([[3.0]]), np.array([[np.nan]]))
    >>> compared.pearson, compared.mae, compared.mse, compared.count
    (1.0, 1.0, 2.0, 2)
    """

    def __init__(self) -> None:
        self._pixels = 0
        self._n = 0
        self._means = np.zeros(2)
        self._moments = np.zeros((2, 2))
        self._absolute = 0.0
        self._squared = 0.0
        self._low, self._high = np.inf, -np.inf

    def add(self, prediction: NDArray[Any], truth: NDArray[Any]) -> None:
        """Take in a strip of both pictures; NaN is missing."""
        p, t = np.asarray(prediction).ravel(), np.asarray(truth).ravel()
        self._pixels += t.size
        for start in range(0, t.size, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._add(p[part].astype(np.float64), t[part].astype(np.float64))

    def _add(self, p: NDArray[np.float64], t: NDArray[np.float64]) -> None:
        """Take in so many pixels that the caches hold them, whatever is computed of them."""
        low, high = float(t.min()), float(t.max())
        sums = float(p.sum())
        if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(sums)):
            known = np.isfinite(t)
            if not known.any():
                return
            low, high = float(t[known].min()), float(t[known].max())
            both = known & np.isfinite(p)
            p, t = p[both], t[both]
            sums = float(p.sum())
        self._low, self._high = min(self._low, low), max(self._high, high)
        n = len(t)
        if n == 0:
            return
        apart = p - t
        self._squared += float(apart @ apart)
        self._absolute += float(np.abs(apart, out=apart).sum())
        means = np.array([sums / n, float(t.sum()) / n])
        p -= means[0]
        t -= means[1]
        away = means - self._means
        total = self._n + n
        both_ways = float(p @ t)
        moments = np.array([[float(p @ p), both_ways], [both_ways, float(t @ t)]])
        self._moments += moments + np.outer(away, away) * (self._n * n / total)
        self._means += away * (n / total)
        self._n = total

    @property
    def count(self) -> int:
        """Pixels that both pictures have."""
        return self._n

    @property
    def missing(self) -> float:
        """Share of the pixels that one of the pictures lacks."""
        return 1 - self._n / self._pixels if self._pixels else 0.0

    @property
    def truth_mean(self) -> float:
        """Mean of the truth where both are known."""
        return float(self._means[1])

    @property
    def data_range(self) -> float:
        """See `metrics.pixel.data_range`."""
        return float(self._high - self._low) if self._high >= self._low else float("nan")

    @property
    def pearson(self) -> float:
        """See `metrics.pixel.pearson`; NaN if either picture is constant."""
        spread = float(np.sqrt(self._moments[0, 0] * self._moments[1, 1]))
        return float(self._moments[0, 1]) / spread if spread > 0 else float("nan")

    @property
    def gain(self) -> float:
        """By how much the prediction changes for each unit of the truth; NaN of a constant truth.

        The slope of the least-squares line through prediction over truth: 1 is right, 2 is a stain
        twice as bright, and less than 1 also what noise of the prediction's cause looks like: a
        blurred prediction does not reach the brightest of the truth.
        """
        return float(self._moments[0, 1] / self._moments[1, 1]) if self._varies else float("nan")

    @property
    def offset(self) -> float:
        """What the prediction has where the truth is 0, by the same line, in its unit."""
        return float(self._means[0] - self.gain * self._means[1])

    @property
    def truth_variance(self) -> float:
        """Mean squared error of a constant picture at the mean of the truth."""
        return float(self._moments[1, 1] / self._n) if self._n else float("nan")

    @property
    def _varies(self) -> bool:
        return bool(self._moments[1, 1] > 0)

    @property
    def mae(self) -> float:
        """See `metrics.pixel.mae`."""
        return self._absolute / self._n if self._n else float("nan")

    @property
    def mse(self) -> float:
        """See `metrics.pixel.mse`."""
        return self._squared / self._n if self._n else float("nan")

    @property
    def psnr(self) -> float:
        """See `metrics.pixel.psnr`, with the range of the truth."""
        if not self._n or not self.data_range > 0:
            return float("nan")
        ratio = self.data_range**2
        return float("inf") if self.mse == 0 else float(10 * np.log10(ratio / self.mse))
