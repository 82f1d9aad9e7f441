"""What the training images were like, for the card: the yardstick for later doubts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import LazyArray
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.generators.card import PlaneRanges
from napari_virtualstain.preprocessing.likeness import (
    NUMBERS,
    SMALLEST,
    comparable_numbers,
    focus_in_windows,
)
from napari_virtualstain.preprocessing.quality import plane_quality
from napari_virtualstain.training.patches import middle

__all__ = ["FEATURES", "describe_fields", "field_features", "measure_ranges", "spread_over"]

_LARGEST = 2048
"""Largest edge of the part of a field that is described, in pixels."""
_MOST_FIELDS = 24
"""Fields whose ranges are measured: 5 % of them is about one, and each takes seconds."""
_WINDOW = 1024
"""Largest edge of the windows in which focus is measured, in pixels."""
_DIGITS = 5

FEATURES = ("contrast", "skewness", "gradient")
"""SD over mean; third standardised moment; mean gradient magnitude in SD a pixel."""


def field_features(planes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the features of each plane of (P, Y, X), as (P, features)."""
    rows = []
    for plane in np.asarray(planes, np.float64):
        spread = max(float(plane.std()), 1e-12)
        standard = (plane - plane.mean()) / spread
        dy, dx = np.gradient(standard)
        rows.append(
            (
                spread / max(abs(float(plane.mean())), 1e-12),
                float((standard**3).mean()),
                float(np.hypot(dy, dx).mean()),
            )
        )
    return np.array(rows)


def flat_planes(field: PairedField) -> LazyArray:
    """Return the planes of a field as (P, Y, X); of a volume, the one in its middle."""
    if len(field.shape) == 2:
        return field.planes
    flat: LazyArray = field.planes[:, field.shape[0] // 2]
    return flat


def describe_fields(fields: Sequence[PairedField]) -> dict[str, Any]:
    """Return mean and SD of the features over fields, by plane; of large fields, their middle."""
    table = np.stack(
        [
            field_features(np.asarray(planes[(slice(None), *middle(planes.shape[1:], _LARGEST))]))
            for planes in map(flat_planes, fields)
        ]
    )
    return {
        "features": list(FEATURES),
        "n_fields": len(fields),
        "mean": [[round(float(v), 6) for v in row] for row in table.mean(axis=0)],
        "std": [[round(float(v), 6) for v in row] for row in table.std(axis=0)],
    }


def spread_over(n: int) -> list[int]:
    """Return which of ``n`` fields are measured: all, or 24 spread evenly over them.

    Examples
    --------
    >>> spread_over(3), len(spread_over(240)), spread_over(240)[-1]
    ([0, 1, 2], 24, 239)
    """
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, _MOST_FIELDS))})


def measure_ranges(
    fields: Sequence[PairedField], *, on_field: Callable[[int, int], None] | None = None
) -> tuple[PlaneRanges | None, ...]:
    """Measure what the planes of training fields are like, on at most 24 of them.

    Parameters
    ----------
    fields
        All training fields, at least one; pixels as stored. Of large ones the middle is
        measured, one plane at a time.
    on_field
        Told of fields measured and fields in all, first of all with none done.

    Returns
    -------
    tuple
        By plane; `None` where no field is large enough, or has pixels, to be measured.
    """
    chosen = [fields[i] for i in spread_over(len(fields))]
    large = [p for p in map(flat_planes, chosen) if min(p.shape[1:]) >= SMALLEST]
    n_planes = chosen[0].planes.shape[0]
    if not large:
        return (None,) * n_planes
    # One size for all, so that their measures of focus can be compared.
    window = (
        min(_WINDOW, *(planes.shape[1] for planes in large)),
        min(_WINDOW, *(planes.shape[2] for planes in large)),
    )
    found: list[list[dict[str, float]]] = [[] for _ in range(n_planes)]
    for done, planes in enumerate(large):
        if on_field is not None:
            on_field(done, len(large))
        part = middle(planes.shape[1:], _LARGEST)
        for p, rows in enumerate(found):
            plane = np.asarray(planes[(p, *part)])
            rows.append(comparable_numbers(plane_quality(plane), focus_in_windows(plane, window)))
    if on_field is not None:
        on_field(len(large), len(large))
    return tuple(
        PlaneRanges(n_fields=len(large), window_px=window, numbers=_ranges(rows)) for rows in found
    )


def _ranges(rows: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return 5 % and 95 % of each number over fields; what a field lacks is left out."""
    ranges = {}
    for name in NUMBERS:
        values = [row[name] for row in rows if name in row]
        if values:
            low, high = (float(f"{v:.{_DIGITS}g}") for v in np.quantile(values, (0.05, 0.95)))
            ranges[name] = (low, high)
    return ranges
