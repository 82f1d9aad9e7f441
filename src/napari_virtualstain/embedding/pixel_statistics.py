"""What do grey values alone tell of a picture? Statistics of each channel, without a network.

The baseline that an encoder has to beat: brightness, contrast and coarse sharpness of each
channel. It knows nothing of shapes, and a brighter lamp changes it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "pixel_statistics"]

_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
STATISTICS: Final = (
    "mean", "sd", *(f"q{100 * q:02.0f}" for q in _QUANTILES), "gradient", "gradient_sd",
    "gradient_q95",
)  # fmt: skip
"""What is measured of each channel: of grey values, then of the length of their gradient."""


def pixel_statistics(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Return the statistics of each channel of a picture (C, *S), channel by channel.

    Parameters
    ----------
    picture
        (C, Y, X) or (C, Z, Y, X); at least 2 px along each axis that has a gradient. A channel
        with a NaN pixel has NaN statistics.

    Returns
    -------
    numpy.ndarray
        (C * 12,), see `STATISTICS`; in grey values, gradients in grey values a pixel.
    """
    return np.concatenate([_of_channel(np.asarray(one, np.float64)) for one in picture])


def _of_channel(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(pixels).all():
        return np.full(len(STATISTICS), np.nan)
    slopes = [np.gradient(pixels, axis=axis) for axis, n in enumerate(pixels.shape) if n > 1]
    length = np.sqrt(np.sum(np.square(slopes), axis=0)) if slopes else np.zeros(1)
    return np.array(
        [
            pixels.mean(), pixels.std(), *np.quantile(pixels, _QUANTILES), length.mean(),
            length.std(), np.quantile(length, 0.95),
        ]
    )  # fmt: skip
