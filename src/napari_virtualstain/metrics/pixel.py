"""How alike two pictures are, pixel by pixel.

Every function takes the prediction first and the truth second, in the same
units; pixels where either is NaN are missing and are left out. Nothing is
rescaled on the way: only `pearson` and `spearman` are blind to gain and offset, by definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from napari_virtualstain.errors import PixelDataError

__all__ = ["data_range", "mae", "mse", "pearson", "present", "psnr", "spearman"]


def present(
    prediction: NDArray[Any], truth: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels that both pictures have, as two flat float64 arrays.

    Raises
    ------
    PixelDataError
        If shapes differ or no pixel is left.
    """
    if prediction.shape != truth.shape:
        raise PixelDataError(
            f"The prediction is {prediction.shape} and the truth {truth.shape}. "
            "Compare pictures of the same field and size."
        )
    p, t = np.asarray(prediction, np.float64).ravel(), np.asarray(truth, np.float64).ravel()
    both = np.isfinite(p) & np.isfinite(t)
    if not both.any():
        raise PixelDataError(
            "Prediction and truth have no pixel in common: all are missing (NaN). "
            "Check that the run was finished."
        )
    return p[both], t[both]


def pearson(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the Pearson correlation, -1 to 1; NaN if either picture is constant.

    Blind to gain and offset: it says whether bright is bright, not how bright.

    Examples
    --------
    >>> x = np.arange(6.0)
    >>> round(pearson(2 * x + 7, x), 6)
    1.0
    """
    p, t = present(prediction, truth)
    p, t = p - p.mean(), t - t.mean()
    spread = float(np.sqrt((p @ p) * (t @ t)))
    return float(p @ t) / spread if spread > 0 else float("nan")


def spearman(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the correlation of ranks, -1 to 1; NaN if either picture is constant.

    Blind to any curve that grows: 1 means that what is brighter in one is brighter in the other.

    Examples
    --------
    >>> x = np.arange(6.0)
    >>> round(spearman(x**3, x), 6)
    1.0
    """
    p, t = present(prediction, truth)
    return pearson(rankdata(p), rankdata(t))


def mae(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the mean absolute difference, in the unit of the pictures."""
    p, t = present(prediction, truth)
    return float(np.abs(p - t).mean())


def mse(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the mean squared difference, in the squared unit of the pictures."""
    p, t = present(prediction, truth)
    return float(np.square(p - t).mean())


def data_range(truth: NDArray[Any]) -> float:
    """Return largest minus smallest value of the truth.

    PSNR and SSIM are relative to it. It is taken from the truth alone: a range
    that depends on the prediction would reward outliers.
    """
    _, t = present(truth, truth)
    return float(t.max() - t.min())


def psnr(prediction: NDArray[Any], truth: NDArray[Any], *, range_: float | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal pictures.

    Parameters
    ----------
    prediction, truth
        Same shape, same unit.
    range_
        Peak value; that of `data_range` if `None`. If it is 0 there is no ratio: NaN.

    Notes
    -----
    ``10 log10(range**2 / mse)``. Published values for Cell Painting divide
    z-scored images by 255 and cannot be compared with these.
    """
    peak = data_range(truth) if range_ is None else range_
    error = mse(prediction, truth)
    if not peak > 0:
        return float("nan")
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))
