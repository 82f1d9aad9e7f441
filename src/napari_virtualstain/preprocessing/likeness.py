"""Which numbers of a plane can be compared from image to image, and how they are taken.

Noise, light, saturation, bits and emptiness are those of the whole plane. The
measures of focus change with the size of what is measured, so they are taken in
windows of one size, the same for all planes that are compared.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.preprocessing.focus import MEASURES
from napari_virtualstain.preprocessing.quality import PlaneQuality

__all__ = ["NUMBERS", "SMALLEST", "comparable_numbers", "focus_in_windows"]

SMALLEST = 32
"""Edge in pixels of the smallest plane that can be measured."""

NUMBERS = (
    "noise_percent", "unevenness_percent", "saturated_fraction", "bits_used", "empty_fraction",
    *MEASURES,
)  # fmt: skip
"""Names of the numbers that are compared: fields of `PlaneQuality`, and measures of focus."""
_MOST_WINDOWS = 3
"""Windows along an edge; more would take longer and change the median little."""


def comparable_numbers(
    quality: PlaneQuality, focus: dict[str, float] | None = None
) -> dict[str, float]:
    """Return those of `NUMBERS` that a plane has; what could not be measured is left out.

    Parameters
    ----------
    quality
        Of the plane.
    focus
        Measures in windows, in place of those of the whole plane.
    """
    found = {name: getattr(quality, name) for name in NUMBERS if name not in MEASURES}
    found.update(quality.focus if focus is None else focus)
    return {name: float(n) for name, n in found.items() if n is not None and isfinite(n)}


def focus_in_windows(plane: NDArray[Any], window: tuple[int, int]) -> dict[str, float]:
    """Return the measures of focus as the median of windows spread over a plane.

    Parameters
    ----------
    plane
        (Y, X), at least 32 x 32 px; NaN is missing.
    window
        Edges in pixels. A plane with a smaller edge is measured along its whole edge,
        and then without the slope, which depends on the size.
    """
    starts = [_starts(n, w) for n, w in zip(plane.shape, window, strict=True)]
    edges = [min(n, w) for n, w in zip(plane.shape, window, strict=True)]
    parts = [plane[y : y + edges[0], x : x + edges[1]] for y in starts[0] for x in starts[1]]
    parts = [part for part in parts if np.isfinite(part).any()]
    wanted = [n for n in MEASURES if n != "power_log_log_slope" or tuple(edges) == tuple(window)]
    lines = {name: np.array([MEASURES[name](part) for part in parts]) for name in wanted}
    return {
        name: float(np.median(line[np.isfinite(line)])) if np.isfinite(line).any() else float("nan")
        for name, line in lines.items()
    }


def _starts(length: int, window: int) -> list[int]:
    """Return where windows begin, so that they lie evenly between both ends."""
    count = min(_MOST_WINDOWS, max(1, length // window))
    if count == 1:
        return [max(0, (length - window) // 2)]
    return [round(i * (length - window) / (count - 1)) for i in range(count)]
