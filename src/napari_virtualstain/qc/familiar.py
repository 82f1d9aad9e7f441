"""Is the bright field like the images that taught the model, to the model? A distance says."""

from __future__ import annotations

from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.found import CannotTell, Found
from napari_virtualstain.qc.reference import QcReference

__all__ = ["distance"]


def distance(field: QcField, reference: QcReference | None) -> Found:
    """Measure how far a field is from the training data, over what held-out fields stay below."""
    del reference
    found = field.familiar
    if found is None:
        raise CannotTell(
            field.unfamiliar_why
            or "the model carries no index of its training data; add one with `virtualstain index`"
        )
    return Found(
        numbers={"bright field": found.field, "share of strange patches": found.patches},
        where=found.where if found.where.any() else None,
    )
