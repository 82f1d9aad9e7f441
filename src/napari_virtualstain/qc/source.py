"""Is the bright field one that the model can read? Dust, and numbers unlike the usual ones."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_virtualstain.preprocessing.likeness import focus_in_windows
from napari_virtualstain.qc.field import QcField, middle_part
from napari_virtualstain.qc.found import CannotTell, Found, places
from napari_virtualstain.qc.reference import QcReference

__all__ = ["dust", "light_numbers", "likeness"]

_DUST = 0.2
"""Of the light, what dust takes away or adds in every plane."""
_AROUND = 41
_WINDOW = (512, 512)


def _planes(field: QcField) -> None:
    if field.planes is None:
        raise CannotTell("the bright field is not at hand; give it with --source")


def dust(field: QcField, reference: QcReference | None) -> Found:
    """Measure which part of the bright field is a fifth darker than around it in all planes."""
    del reference
    _planes(field)
    light = field.light
    assert light is not None
    weak = np.full(light.shape[1:], np.inf, np.float32)
    for plane in light:
        local = plane - ndimage.uniform_filter(plane, min(_AROUND, min(plane.shape) // 2 * 2 - 1))
        weak = np.minimum(weak, -local)
    spots = weak > _DUST
    where = ndimage.binary_dilation(spots)
    return Found(numbers={"share": float(spots.mean())}, where=places(field, where))


def light_numbers(field: QcField) -> dict[str, float]:
    """Return what the planes of the bright field are like: focus and noise, by plane.

    Raises
    ------
    CannotTell
        Without a bright field, or where a number is none.
    """
    _planes(field)
    planes = field.planes
    assert planes is not None
    found: dict[str, float] = {}
    for z, plane in enumerate(planes):
        focus = focus_in_windows(middle_part(plane), _WINDOW)
        for name in ("brenner", "normalised_variance", "laplacian_energy"):
            found[f"{name} {z}"] = float(np.log(max(focus[name], 1e-12)))
        found[f"noise {z}"] = float(np.log(max(field.noise[z], 1e-9)))
    if not np.isfinite(list(found.values())).all():
        raise CannotTell("a plane of the bright field has no finite pixels, or only one value")
    return found


def likeness(field: QcField, reference: QcReference | None) -> Found:
    """Measure how far focus, contrast and noise of all planes are from those of good fields."""
    if reference is None or reference.likeness is None:
        raise CannotTell("what a usual bright field is like, only a reference of 8 fields tells")
    if field.planes is not None and len(field.planes) != reference.planes:
        raise CannotTell(
            f"the reference has {reference.planes} planes of bright field and this field "
            f"{len(field.planes)}"
        )
    return Found(numbers={"distance": reference.likeness.distance(light_numbers(field))})
