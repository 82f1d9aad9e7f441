"""How alike two pictures are in their local structure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.pixel import data_range

__all__ = ["SSIM_WINDOW", "local_ssim", "ssim"]

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
    Uniform 7 x 7 window, scikit-image. Missing pixels take the truth's mean in
    both planes and are left out of the mean of the map.

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
    p, t = np.where(both, p, fill), np.where(both, t, fill)
    _, local = structural_similarity(p, t, win_size=SSIM_WINDOW, data_range=range_, full=True)
    return np.where(both, local, np.nan)
