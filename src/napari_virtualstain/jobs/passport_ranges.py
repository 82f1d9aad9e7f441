"""How far a number of a picture lies outside what a model was trained on, and what that means."""

from __future__ import annotations

from collections.abc import Iterable
from math import log

from napari_virtualstain.generators.card import PlaneRanges
from napari_virtualstain.jobs.passport import Status

__all__ = ["FAR", "FARTHEST", "RANK", "SCALES", "above", "beyond", "distance", "worst"]

SCALES = {
    "noise_percent": (True, log(1.5)),
    "unevenness_percent": (False, 10.0),
    "empty_fraction": (False, 0.25),
    "power_log_log_slope": (False, 0.4),
    "brenner": (True, log(2)),
    "normalised_variance": (True, log(2)),
    "laplacian_energy": (True, log(2)),
}
"""Whether factors count and not differences, and the smallest width that is taken for a range."""
FAR, FARTHEST = 0.75, 2.0
"""Widths of the range beyond it that are amber and red."""
FEW = 8
"""Fields below which the smallest width is twice as large: so few do not show the range."""
RANK: dict[Status, int] = {"green": 0, "amber": 1, "red": 2}


def distance(value: float, limits: tuple[float, float], *, factors: bool, smallest: float) -> float:
    """Return by how many widths of a range a value lies above (positive) or below it.

    Examples
    --------
    >>> distance(16, (2.0, 4.0), factors=True, smallest=0.1)
    2.0
    """
    low, high = limits
    if factors:
        tiny = 1e-12
        value, low, high = (log(max(number, tiny)) for number in (value, low, high))
    width = max(high - low, smallest)
    return (value - high) / width if value > high else min(0.0, (value - low) / width)


def beyond(ranges: PlaneRanges, number: str, value: float) -> float:
    """Return `distance` for a number of a plane; few fields make for a wider range."""
    factors, smallest = SCALES[number]
    smallest *= 2 if ranges.n_fields < FEW else 1
    return distance(value, ranges.numbers[number], factors=factors, smallest=smallest)


def above(value: float, amber: float, red: float) -> Status:
    """Return the status of a value by the limits above which it is amber or red."""
    return "red" if value > red else "amber" if value > amber else "green"


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of several."""
    return max(statuses, key=lambda status: RANK[status], default="green")
