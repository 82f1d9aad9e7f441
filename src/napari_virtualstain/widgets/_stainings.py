"""Which stains a viewer has asked for: their settings, their stores, their layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_virtualstain.compute.run import Run
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.layer_axes import place_of
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.widgets._painter import Painter

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["TEMPORARY", "Staining", "Stainings", "file_name"]

TEMPORARY = "temporary"
"""Stands for the output where the user has named none."""


@dataclass(eq=False, kw_only=True)
class Staining:
    """One stain of one image.

    Parameters
    ----------
    image
        That was asked for.
    settings
        Of its runs, but for region, resume and overwrite.
    painter
        Of its layers.
    unnamed
        Whether the user has named no place for it.
    temporary
        Whether its store goes with the session.
    runs
        That have been asked for.
    complete
        Whether every tile is there.
    """

    image: Field
    settings: StainSettings
    painter: Painter
    unnamed: bool
    temporary: bool
    runs: list[Run] = field(default_factory=list)
    complete: bool = False

    @property
    def begun(self) -> bool:
        """Whether there is a store to go on with, or soon will be."""
        return any(not run.ended or run.store is not None for run in self.runs)


class Stainings(QObject):
    """The stains of one viewer.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What it shows.
    jobs
        In whose session temporary stores lie.
    parent
        As in Qt.

    Attributes
    ----------
    home
        Folder of the results for which the user names no place; they are temporary if `None`.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._fields, self._jobs = viewer, fields, jobs
        self.home: Path | None = None
        self.all: list[Staining] = []

    def of_run(self, run: Run) -> Staining | None:
        """Return the stain that a run belongs to."""
        return next((s for s in self.all if run in s.runs), None)

    def going(self, image: Field) -> Run | None:
        """Return the stain of an image that is being computed now."""
        mine = (s for s in self.all if s.image.key == image.key)
        return next((r for s in mine for r in s.runs if r.state == "running"), None)

    def newest(self, image: Field | None, wanted: Callable[[Staining], bool]) -> Staining | None:
        """Return the newest stain of an image that fits."""
        if image is None:
            return None
        mine = (s for s in reversed(self.all) if s.image.key == image.key)
        return next((s for s in mine if wanted(s)), None)

    def find(self, wanted: StainSettings) -> Staining | None:
        """Return the stain that a run with these settings would go on with.

        Parameters
        ----------
        wanted
            Absolute; with `TEMPORARY` as its output where the user has named none.
        """
        unnamed = wanted.out == TEMPORARY
        for staining in reversed(self.all):
            same = {"overwrite": staining.settings.overwrite}
            if wanted.tile is None:
                same["tile"] = staining.settings.tile  # type: ignore[assignment]
            if unnamed:
                same["out"] = staining.settings.out  # type: ignore[assignment]
            layers = staining.painter.layers.values()
            if (
                staining.unnamed == unnamed
                and wanted.model_copy(update=same) == staining.settings
                # Layers that the user has removed are not brought back by going on.
                and (not layers or any(layer in self._viewer.layers for layer in layers))
            ):
                return staining
        return None

    def make(self, image: Field, wanted: StainSettings) -> Staining:
        """Return a new stain; layers that show what its store replaces go."""
        unnamed = wanted.out == TEMPORARY
        settings = wanted
        if unnamed:
            stem = f"{file_name(image.name)}-{file_name(wanted.model)}"
            settings = wanted.model_copy(update={"out": str(self._place(stem))})
        elif wanted.overwrite:
            self._remove_layers_of(wanted.out)
        layer = image.brightfield
        painter = Painter(
            self._viewer,
            Path(settings.out),
            above=tuple(layer for layer, _ in image.layers),
            name=image.name,
            contrast=_contrast_of_truth(self._fields, layer),
            place=None if layer is None else place_of(layer),
            over=_opener(image),
            parent=self,
        )
        staining = Staining(
            image=image, settings=settings, painter=painter, unnamed=unnamed,
            temporary=unnamed and self.home is None,
        )  # fmt: skip
        self.all.append(staining)
        return staining

    def _place(self, stem: str) -> Path:
        """Return a place that holds nothing yet."""
        if self.home is None:
            return self._jobs.temporary(f"{stem}.ome.zarr")
        taken = {staining.settings.out for staining in self.all}
        places = (
            self.home / f"{stem}{n}.ome.zarr" for n in chain([""], map("-{}".format, count(2)))
        )
        return next(place for place in places if str(place) not in taken and not place.exists())

    def change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        """Hide the stains of an image whose place another has taken, and show again that one's.

        Parameters
        ----------
        old, new
            Keys of the images.

        Returns
        -------
        bool
            Whether there is a stain that is hidden now, or will come hidden.
        """
        for staining in self.all:
            if staining.image.key == new:
                staining.painter.bring_back()
        away = [staining for staining in self.all if staining.image.key == old]
        for staining in away:
            staining.painter.put_away()
        return any(staining.begun for staining in away)

    def forget(self, staining: Staining) -> None:
        """Remove the layers of a stain whose store is no longer its own."""
        staining.painter.stop()
        for layer in staining.painter.layers.values():
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self.all.remove(staining)

    def close(self) -> None:
        """Cancel all runs and stop painting."""
        for staining in self.all:
            for run in staining.runs:
                if not run.ended:
                    run.cancel()
            staining.painter.stop()

    def _remove_layers_of(self, store: str) -> None:
        for layer in list(self._viewer.layers):
            source = source_of(layer)
            if source is not None and source.path is not None and Path(source.path) == Path(store):
                self._viewer.layers.remove(layer)
        self.all = [s for s in self.all if s.settings.out != store]


def file_name(text: str) -> str:
    """Return a text, or the name of a path, as it may be part of a file name."""
    name = Path(text).name if "/" in text and Path(text).exists() else text
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "image"


def _opener(image: Field) -> Callable[[], LazyImage] | None:
    """Return what opens an image again, `None` for one in memory."""
    path, scene, axes, pattern = image.path, image.scene or None, image.axes, image.pattern
    if path is None:
        return None
    return lambda: open_image(path, scene=scene, axes=axes, pattern=pattern)


def _contrast_of_truth(fields: Fields, layer: Image | None) -> dict[str, tuple[float, float]]:
    """Return the limits in which true stains of equal size are shown: equal grey, equal number."""
    found = {}
    for image in fields.all:
        for true, source in image.with_role("truth"):
            if layer is None or _size(true) == _size(layer):
                low, high = true.contrast_limits
                found[source.stain] = (float(low), float(high))
    return found


def _size(layer: Image) -> tuple[int, ...]:
    finest = layer.data[0] if layer.multiscale else layer.data
    return tuple(finest.shape[-2:])
