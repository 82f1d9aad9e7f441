"""How far is a bright field from the training data of its model? By the index of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.embedding.familiar import TrainingIndex
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.index_patches import patches_of_field
from napari_virtualstain.jobs.index_seen import (
    NO_INDEX,
    SeenField,
    fitting_index,
    place_of_index,
    recorded_settings,
    see_field,
)
from napari_virtualstain.jobs.qc_field import JudgedImage
from napari_virtualstain.qc.field import Familiar, QcField

if TYPE_CHECKING:
    from napari_virtualstain.inference.deepest import PatchReader
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["FamiliarReader"]


class FamiliarReader:
    """Holds bright fields against the index of their model, which is read once.

    Parameters
    ----------
    settings
        Of the run.
    """

    def __init__(self, settings: QcSettings) -> None:
        self._settings = settings
        self._readers: dict[str, PatchReader] = {}
        self._indexes: dict[tuple[str, str], TrainingIndex] = {}
        self._seen: tuple[JudgedImage, SeenField] | None = None

    def beside(self, image: JudgedImage, t: int, field: QcField) -> QcField:
        """Return a field with how far it is from the training data, or with why nobody can tell."""
        try:
            found = self._familiar(image, t)
        except VirtualStainError as error:
            found = str(error).rstrip(".")
        if isinstance(found, str):
            return replace(field, unfamiliar_why=found)
        return replace(field, familiar=found)

    def _familiar(self, image: JudgedImage, t: int) -> Familiar | str:
        known = (image.record.get("model") or {}).get("path")
        model = None if known is None else Path(known)
        place = place_of_index(self._settings.index, model)
        if self._settings.no_passport:
            return "it was left out by --no-passport"
        if place is None:
            return NO_INDEX
        if model is None or not model.exists():
            return "the model of the run is not at hand"
        if image.source is None:
            return "the bright field is not at hand; give it with --source"
        seen = self._opened(image, str(model))
        key = (str(place), seen.model.fingerprint)
        if key not in self._indexes:
            self._indexes[key] = fitting_index(place, seen.model.card, seen.reader)
        index, grid = self._indexes[key], seen.grid
        time = min(t, image.source.shape[0] - 1)

        def read(region: Region) -> tuple[Any, None]:
            return seen.read(time, region), None

        patches = patches_of_field(image.listed.name, grid, read, seen.reader)
        found = index.of_field(patches.features, patches.blocks)
        where = grid.on_pixels(found.patches > index.patch_limit)
        whole, share = index.over_limits(found)
        return Familiar(
            field=whole, patches=share, where=_on_image(where, image.prediction.shape[3:])
        )

    def _opened(self, image: JudgedImage, model: str) -> SeenField:
        """Return an image as the network is shown it; that of the time point before is kept."""
        if self._seen is not None and self._seen[0] is image:
            return self._seen[1]
        assert image.source is not None
        asked = image.record.get("settings") or {}
        settings = recorded_settings(
            asked, input=asked.get("input") or image.listed.name, model=model,
            channel=image.channel,
            pixel_size=asked.get("pixel_size") or image.source.pixel_size_um.y or image.pixel_um,
        )  # fmt: skip
        seen = see_field(settings, image.source, known=self._readers)
        self._seen = (image, seen)
        return seen


def _on_image(where: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask of the network's grid on the pixels of the image."""
    if where.shape == tuple(shape):
        return where
    y, x = (np.arange(n) * m // n for n, m in zip(shape, where.shape, strict=True))
    found: NDArray[np.bool_] = where[np.ix_(y, x)]
    return found
