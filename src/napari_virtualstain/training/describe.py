"""What the training images were like, for the card: the yardstick for later doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.training.patches import middle

__all__ = ["FEATURES", "describe_fields", "field_features"]

_LARGEST = 2048
"""Largest edge of the part of a field that is described, in pixels."""

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


def describe_fields(fields: Sequence[PairedField]) -> dict[str, Any]:
    """Return mean and SD of the features over fields, by plane; of large fields, their middle."""
    table = np.stack(
        [
            field_features(np.asarray(field.planes[(slice(None), *middle(field.shape, _LARGEST))]))
            for field in fields
        ]
    )
    return {
        "features": list(FEATURES),
        "n_fields": len(fields),
        "mean": [[round(float(v), 6) for v in row] for row in table.mean(axis=0)],
        "std": [[round(float(v), 6) for v in row] for row in table.std(axis=0)],
    }
