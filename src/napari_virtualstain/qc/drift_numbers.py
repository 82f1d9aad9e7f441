"""What of a field is compared over a plate, and how each number is called and written.

Numbers are those of the middle plane of the bright field, and of the predicted stains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_virtualstain.preprocessing.likeness import focus_in_windows
from napari_virtualstain.qc.field import QcField, middle_part, softened

__all__ = ["DriftMeasure", "drift_measure", "drift_numbers"]

_WINDOW = (512, 512)


@dataclass(frozen=True, slots=True)
class DriftMeasure:
    """What a number is.

    Parameters
    ----------
    title
        For people.
    of
        ``"input"`` or ``"output"``.
    shown
        How it is written.
    """

    title: str
    of: Literal["input", "output"]
    shown: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"


def _number(value: float) -> str:
    return f"{value:.4g}"


_MEASURES = {
    "focus": DriftMeasure("Focus of the bright field", "input", _number),
    "exposure": DriftMeasure("Exposure of the bright field", "input", _number),
    "noise": DriftMeasure("Noise of the bright field", "input", _percent),
    "unevenness": DriftMeasure("Unevenness of the light", "input", _percent),
    "distance": DriftMeasure(
        "Distance from the training data", "input", lambda value: f"{value:.2f} times the limit"
    ),
    "nuclei": DriftMeasure("Number of predicted nuclei", "output", _number),
}


def drift_measure(name: str) -> DriftMeasure:
    """Return what a number of `drift_numbers` is."""
    if name in _MEASURES:
        return _MEASURES[name]
    what, _, stain = name.partition(" of ")
    return DriftMeasure(f"{what[:1].upper()}{what[1:]} of predicted {stain}", "output", _number)


def drift_numbers(field: QcField) -> dict[str, float]:
    """Return what of a field is compared from well to well; what cannot be measured is left out.

    Returns
    -------
    dict
        ``focus`` (energy of the Laplacian), ``exposure`` (median in grey values),
        ``noise`` and ``unevenness`` (over the median) of the middle plane of the bright field,
        ``distance`` (over the limit), ``nuclei``, and ``brightness of`` and ``background of`` each
        stain in its units.
    """
    found: dict[str, float] = {}
    if field.planes is not None and field.light is not None:
        number = len(field.planes) // 2
        plane = field.planes[number]
        exposure = float(np.nanmedian(plane))
        energy = focus_in_windows(middle_part(plane), _WINDOW)["laplacian_energy"]
        smooth = softened(field.light[number], max(1.0, min(field.light.shape[1:]) / 8))
        found = {
            "focus": energy, "exposure": exposure,
            "noise": field.noise[number], "unevenness": float(np.ptp(smooth)),
        }  # fmt: skip
    if field.familiar is not None:
        found["distance"] = field.familiar.field
    if field.nuclei is not None:
        found["nuclei"] = float(field.nuclei.max())
    for stain in field.stains:
        found[f"brightness of {stain}"] = field.bright(stain)
        found[f"background of {stain}"] = field.dark(stain)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}
