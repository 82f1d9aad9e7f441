"""The value between the pixels: four neighbours and their weights, along one axis.

Cubic convolution with a = -1/2 [1]_: it passes through the samples, reproduces
parabolas, and looks at two samples to each side, so that a region depends on a
known margin and a missing sample reaches no further. B-splines resolve a little
more, but every value depends on the whole line.

References
----------
.. [1] Keys, "Cubic convolution interpolation for digital image processing",
   IEEE Trans. ASSP 29, 1153 (1981), doi:10.1109/TASSP.1981.1163711.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["between", "taps"]


def taps(
    position: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which samples make up a value, and with what weights.

    Parameters
    ----------
    position
        (n,) in samples; need not lie inside.

    Returns
    -------
    tuple
        The first of four consecutive samples (n,), and their weights (4, n).
    """
    below = np.floor(position)
    t = position - below
    weights = np.stack(
        [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ]
    )
    return below.astype(np.intp) - 1, weights


def between(values: NDArray[Any], position: NDArray[np.float64], *, axis: int) -> NDArray[Any]:
    """Interpolate along an axis; NaN where a sample that is needed is missing or outside.

    Parameters
    ----------
    values
        Floats of any shape.
    position
        (n,) in samples of the axis.
    axis
        Which becomes n long; counted from the front.

    Returns
    -------
    numpy.ndarray
        Of the type of the values. A value depends on its four samples alone and
        is added up in one order, so that a part has the bits of the whole.
    """
    first, weights = taps(position)
    length = values.shape[axis]
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    reached = position.size == 0 or (first.min() >= 0 and first.max() + 3 < length)
    whole = reached and not np.isnan(values).any()
    total = np.zeros((*values.shape[:axis], position.size, *values.shape[axis + 1 :]), values.dtype)
    for k in range(4):
        index = first + k
        weight = weights[k].astype(values.dtype).reshape(shape)
        if whole:
            total += np.take(values, index, axis) * weight
            continue
        inside = ((index >= 0) & (index < length)).reshape(shape)
        sample = np.where(inside, np.take(values, np.clip(index, 0, length - 1), axis), np.nan)
        # A weight of zero takes nothing: at whole samples the neighbours may be missing.
        total += np.where(weight == 0, 0, sample * weight)
    return total
