"""How does a layer that is not on disk reach a run? Written once, to a temporary OME-Zarr.

The size is said first. Nothing is pickled from a layer, and a run never needs
the viewer's memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject

from napari_virtualstain.io.keep import beside as place_beside
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.writer import save_ome_zarr
from napari_virtualstain.widgets._jobs import Background, Jobs

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["Spool"]


class Spool(QObject):
    """Temporary stores of layers that somebody else made.

    Parameters
    ----------
    parent
        As in Qt.
    jobs
        In whose session's folder they lie, and with which they go.
    background
        In which they are written.
    """

    def __init__(self, parent: QObject, jobs: Jobs, background: Background) -> None:
        super().__init__(parent)
        self._jobs, self._background = jobs, background
        # By layer: which pixels were written, and where to.
        self._known: WeakKeyDictionary[Image, tuple[Any, str]] = WeakKeyDictionary()
        self._writing: set[str] = set()

    def describe(self, image: Field) -> str:
        """Say what would be written, and whether there is room."""
        layers = [layer for layer, _ in image.layers]
        size = sum(_bytes(layer) for layer in layers)
        free = shutil.disk_usage(self._jobs.session.folder).free
        room = ""
        if size > 0.9 * free:
            room = f" There is room for {free / 1e6:.0f} MB only: save it elsewhere first."
        return (
            f"{image.name!r} lies in memory: {size / 1e6:.1f} MB are written to a temporary "
            f"store before the run.{room}"
        )

    def write(
        self,
        image: Field,
        then: Callable[[str], None],
        otherwise: Callable[[str], None],
        *,
        beside: str | None = None,
    ) -> None:
        """Write a layer in memory unless that was done, and hand on the path that opens it.

        Parameters
        ----------
        image
            Of one layer in memory.
        then
            Called with the path.
        otherwise
            Called with a sentence if it cannot be written.
        beside
            A result that is kept: then its input is kept next to it.
        """
        layer = image.layers[0][0]
        # The pixels themselves: a layer that was given others is written again.
        pixels = tuple(layer.data) if layer.multiscale else layer.data
        written, path = self._known.get(layer, (None, ""))
        same = written is pixels or (layer.multiscale and written == pixels)
        if same and Path(path).exists() and (beside is None or not self._is_temporary(path)):
            then(path)
            return
        if image.name in self._writing:
            otherwise(f"{image.name!r} is being written already. Wait until that is done.")
            return
        place = place_beside(Path(beside)) if beside else self._jobs.temporary("input.ome.zarr")
        data = layer.as_layer_data_tuple()
        self._writing.add(image.name)

        def done(_: Any) -> None:
            self._writing.discard(image.name)
            self._known[layer] = (pixels, str(place))
            then(str(place))

        def failed(sentence: str) -> None:
            self._writing.discard(image.name)
            otherwise(sentence)

        self._background.run(
            f"spool {place.name}", lambda: save_ome_zarr(str(place), [data]), done, failed
        )

    def _is_temporary(self, path: str) -> bool:
        return Path(path).is_relative_to(self._jobs.session.folder)


def _bytes(layer: Image) -> int:
    finest = layer.data[0] if layer.multiscale else layer.data
    size = 1
    for n in finest.shape:
        size *= int(n)
    return size * int(finest.dtype.itemsize)
