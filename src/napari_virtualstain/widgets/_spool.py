"""How does a layer that is not on disk reach a run? Written once, to a temporary OME-Zarr.

The size is said first. Nothing is pickled from a layer, and a run never needs
the viewer's memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

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
        self, image: Field, then: Callable[[dict[str, Any]], None], otherwise: Callable[[str], None]
    ) -> None:
        """Write the layers of an image, and hand on the settings that open them.

        Parameters
        ----------
        image
            Of layers in memory.
        then
            Called with ``input`` and ``channel``.
        otherwise
            Called with a sentence if it cannot be written.
        """
        layer = image.layers[0][0]
        data = layer.as_layer_data_tuple()
        path = self._jobs.temporary("input.ome.zarr")
        self._background.run(
            f"spool {path.name}",
            lambda: save_ome_zarr(str(path), [data]),
            lambda _: then({"input": str(path)}),
            otherwise,
        )


def _bytes(layer: Image) -> int:
    finest = layer.data[0] if layer.multiscale else layer.data
    size = 1
    for n in finest.shape:
        size *= int(n)
    return size * int(finest.dtype.itemsize)
