"""How alike two pictures are in their local structure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.pixel import data_range

__all__ = ["SSIM_WINDOW", "local_ssim", "similarity_terms", "ssim"]

SSIM_WINDOW = 7
"""Edge of the windows that are compared, in pixels."""


def ssim(prediction: NDArray[Any], truth: NDArray[Any], *, range_: float | None = None) -> float:
    """Return the mean structural similarity of two planes, -1 to 1.

    Parameters
    ----------
    prediction, truth
        (Y, X), same unit, at least 7 x 7 pixels; NaN is missing.
    range_
        Of the values; largest minus smallest of the truth if `None`. SSIM
        depends on it, so state it beside the number.

    Raises
    ------
    PixelDataError
        If the planes are smaller than the window.

    Notes
    -----
    Uniform 7 x 7 windows and constants 0.01 and 0.03, as scikit-image has them. Missing pixels take
    the truth's mean in both planes and are left out of the mean of the map.

    References
    ----------
    Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    if min(truth.shape) < SSIM_WINDOW:
        raise PixelDataError(
            f"SSIM compares windows of {SSIM_WINDOW} x {SSIM_WINDOW} px, got a plane of "
            f"{' x '.join(map(str, truth.shape))}. Use PCC and MAE for planes this small."
        )
    peak = data_range(truth) if range_ is None else range_
    if not peak > 0:
        return float("nan")
    both = np.isfinite(prediction) & np.isfinite(truth)
    fill = float(np.asarray(truth, np.float64)[both].mean())
    return float(local_ssim(prediction, truth, range_=peak, fill=fill)[both].mean())


def local_ssim(
    prediction: NDArray[Any], truth: NDArray[Any], *, range_: float, fill: float
) -> NDArray[np.float64]:
    """Return the structural similarity around each pixel, NaN where either is missing.

    Parameters
    ----------
    prediction, truth
        (Y, X), at least 7 x 7 pixels. A strip of a larger plane gives the values
        of the whole for pixels at least 3 away from its cut edges.
    range_
        Of the values, positive.
    fill
        Taken by missing pixels; the mean of the truth.
    """
    p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    both = np.isfinite(p) & np.isfinite(t)
    if not both.all():
        p, t = np.where(both, p, fill), np.where(both, t, fill)
    luminance, contrast = similarity_terms(p, t, range_=range_)
    luminance *= contrast
    return luminance if both.all() else np.where(both, luminance, np.nan)


def similarity_terms(
    prediction: NDArray[Any], truth: NDArray[Any], *, range_: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return luminance, and contrast with structure, around each pixel; their product is the SSIM.

    Parameters
    ----------
    prediction, truth
        (Y, X), nothing missing. Beyond the edges they are mirrored.
    range_
        Of the values, positive.

    Notes
    -----
    The sums of squares are needed only together, so that four pictures are averaged, not five; in
    strips that the caches hold, by adding shifted rows, which a processor does many at a time.
    """
    out = np.empty(truth.shape), np.empty(truth.shape)
    half, n = SSIM_WINDOW // 2, SSIM_WINDOW**2
    # Of sums over a window, not of means: one division by n**2 less for each picture.
    first, second = (0.01 * range_ * n) ** 2, (0.03 * range_) ** 2 * n * (n - 1)
    rows = np.pad(np.arange(truth.shape[0]), half, mode="symmetric")
    for top in range(0, truth.shape[0], _ROWS):
        taken = rows[top : top + _ROWS + 2 * half]
        p, t = (
            np.pad(own[taken], ((0, 0), (half, half)), "symmetric") for own in (prediction, truth)
        )
        squares = p * p
        squares += t * t
        t_sum, p_sum, squares, product = (_sums(part) for part in (t, p, squares, p * t))
        place = slice(top, top + len(t_sum))
        both = p_sum * p_sum
        both += t_sum * t_sum
        p_sum *= t_sum
        product *= n
        product -= p_sum
        product *= 2
        product += second
        squares *= n
        squares -= both
        squares += second
        np.divide(product, squares, out=out[1][place])
        p_sum *= 2
        p_sum += first
        both += first
        np.divide(p_sum, both, out=out[0][place])
    return out


_ROWS = 32
"""Rows that are computed at a time."""


def _sums(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over windows of 7 x 7 pixels, of those that lie inside."""
    for _ in range(2):
        two = picture[:-1] + picture[1:]
        four = two[:-2] + two[2:]
        seven = four[:-3] + two[4:-1]
        seven += picture[6:]
        picture = seven.T
    return picture
