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

from napari_virtualstain.metrics.pixel import pearson

__all__ = ["linear_floor", "linear_prediction"]


def linear_prediction(
    planes: NDArray[Any], truth: NDArray[Any], *, reach: int = 1
) -> NDArray[np.float64]:
    """Return the least-squares prediction of the truth from the planes.

    Parameters
    ----------
    planes
        (P, Y, X) bright field.
    truth
        (Y, X); NaN is missing.
    reach
        Pixels to each side that enter: 1 for 3 x 3 neighbourhoods.

    Returns
    -------
    numpy.ndarray
        (Y, X), in the unit of the truth.
    """
    p, height, width = planes.shape
    centred = np.asarray(planes, np.float64)
    centred = centred - centred.mean(axis=(1, 2), keepdims=True)
    padded = np.pad(
        centred,
        [(0, 0), (reach, reach), (reach, reach)],
        mode="reflect" if min(height, width) > reach else "edge",
    )
    size = 2 * reach + 1
    columns = [
        padded[plane, dy : dy + height, dx : dx + width].ravel()
        for plane in range(p)
        for dy in range(size)
        for dx in range(size)
    ]
    design = np.stack([*columns, np.ones(height * width)], axis=1)
    target = np.asarray(truth, np.float64).ravel()
    known = np.isfinite(target)
    weights, *_ = np.linalg.lstsq(design[known], target[known], rcond=None)
    predicted: NDArray[np.float64] = (design @ weights).reshape(height, width)
    return predicted


def linear_floor(planes: NDArray[Any], truth: NDArray[Any], *, reach: int = 1) -> float:
    """Return the Pearson correlation of `linear_prediction` with the truth."""
    return pearson(linear_prediction(planes, truth, reach=reach), truth)
