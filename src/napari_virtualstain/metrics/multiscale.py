"""How alike two pictures are in their structure at several sizes, strip by strip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.metrics.structure import SSIM_WINDOW, similarity_terms

__all__ = ["SCALE_WEIGHTS", "MultiScale"]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, from full size to a sixteenth of it."""


class MultiScale:
    """Gather the multi-scale structural similarity of two pictures.

    Parameters
    ----------
    range_
        Of the values, positive; see `metrics.pixel.data_range`.
    fill
        Taken by missing pixels; the mean of the truth.

    Notes
    -----
    ``prod_j mean(cs_j)^w_j * mean(ssim_5)^w_5``, with the contrast and structure terms ``cs`` of
    scales 1 to 4 and the whole similarity of the last. Means are over windows that lie in the
    picture and whose middle is not missing; a mean below 0 counts as 0. Each scale halves the one
    before by means of 2 x 2 pixels. We take uniform windows of 7 px, as `metrics.structure`, where
    the paper has Gaussian ones of 11.

    References
    ----------
    Wang, Simoncelli and Bovik 2003, doi:10.1109/ACSSC.2003.1292216, eq. 7.

    Examples
    --------
    >>> truth = np.random.default_rng(0).normal(size=(128, 128))
    >>> found = MultiScale(range_=float(np.ptp(truth)), fill=float(truth.mean()))
    >>> found.add(truth[:50], truth[:50])
    >>> found.add(truth[50:], truth[50:])
    >>> round(found.value, 12)
    1.0
    """

    def __init__(self, *, range_: float, fill: float) -> None:
        self._levels = [_Level(range_, fill) for _ in SCALE_WEIGHTS]

    def add(self, prediction: NDArray[Any], truth: NDArray[Any]) -> None:
        """Take in the next rows of both pictures, from top to bottom; NaN is missing."""
        p, t = (np.asarray(own, np.float64) for own in (prediction, truth))
        missing = ~(np.isfinite(p) & np.isfinite(t))
        rows = np.stack([np.where(missing, np.nan, p), np.where(missing, np.nan, t)])
        for level in self._levels:
            if not rows.shape[1]:
                return
            rows = level.add(rows)

    @property
    def value(self) -> float:
        """The similarity, 0 to 1; NaN where a picture is too small to be halved four times."""
        if any(level.count == 0 for level in self._levels):
            return float("nan")
        means = [level.structure / level.count for level in self._levels[:-1]]
        means.append(self._levels[-1].similarity / self._levels[-1].count)
        return float(np.prod([max(m, 0.0) ** w for m, w in zip(means, SCALE_WEIGHTS, strict=True)]))


class _Level:
    """One scale: what its windows sum to, and the rows that wait for their neighbours."""

    def __init__(self, range_: float, fill: float) -> None:
        self._range, self._fill = range_, fill
        self._above: NDArray[np.float64] | None = None
        self._odd: NDArray[np.float64] | None = None
        self.structure, self.similarity, self.count = 0.0, 0.0, 0

    def add(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in (2, y, X) rows; return those of the next scale that are complete with them."""
        seen = rows if self._above is None else np.concatenate([self._above, rows], axis=1)
        margin = SSIM_WINDOW - 1
        if min(seen.shape[1:]) > margin:
            filled = np.where(np.isfinite(seen), seen, self._fill)
            luminance, contrast = similarity_terms(filled[0], filled[1], range_=self._range)
            half = SSIM_WINDOW // 2
            inside = (slice(half, -half), slice(half, -half))
            known = np.isfinite(seen[0])[inside]
            contrast = contrast[inside]
            self.structure += float(contrast[known].sum())
            self.similarity += float((luminance[inside] * contrast)[known].sum())
            self.count += int(known.sum())
            self._above = seen[:, -margin:]
        else:
            self._above = seen
        pairs = rows if self._odd is None else np.concatenate([self._odd, rows], axis=1)
        whole = pairs.shape[1] // 2 * 2
        self._odd = pairs[:, whole:]
        columns = pairs.shape[2] // 2 * 2
        cut = pairs[:, :whole, :columns].reshape(2, whole // 2, 2, columns // 2, 2)
        halved: NDArray[np.float64] = cut.mean(axis=(2, 4))
        return halved
