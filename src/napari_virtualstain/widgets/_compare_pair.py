"""What is in view of a prediction and its truth: read again whenever something else is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_virtualstain.napari_io.difference import levels_of, same_pixels
from napari_virtualstain.napari_io.mixed import Pair, read_pair
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._live import ViewWatch
from napari_virtualstain.widgets._view import shown_place, shown_region

if TYPE_CHECKING:
    import napari

__all__ = ["PairWatch"]


class PairWatch(QObject):
    """Reads what is in view of one pair of layers, at the resolution of the canvas.

    Parameters
    ----------
    viewer
        That shows them.
    parent
        As in Qt.
    """

    read = Signal()
    """Something else is in view, and `pair` has it."""
    flat = Signal()
    """The canvas does not show y and x, so that nothing can be read; said once."""
    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._background = viewer, Background(self)
        self._watch: ViewWatch | None = None
        self._looked_at: tuple[Any, ...] | None = None
        self.of: tuple[Image, Image] | None = None
        self.pair: Pair | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the canvas does not show y and x."""
        return self._looked_at == ()

    def follow(self, predicted: Image, true: Image) -> bool:
        """Follow two layers until `stop`; return whether they have pixels that can be compared."""
        if self.of != (predicted, true):
            self.stop()
            if not same_pixels(predicted, true):
                return False
            self.of = (predicted, true)
            self._watch = ViewWatch(self._viewer, self)
            self._watch.moved.connect(self.look)
            self._viewer.canvas.events.size.connect(self._watch.note)
        self.look()
        return True

    def stop(self) -> None:
        """Follow nothing any more; the viewer may be closing."""
        self.of = self.pair = self._looked_at = None
        if self._watch is not None:
            self._viewer.canvas.events.size.disconnect(self._watch.note)
            self._watch.stop()
            self._watch.deleteLater()
            self._watch = None

    def look(self) -> None:
        """Read what is in view, unless it is what has been read."""
        if self.of is None:
            return
        predicted, true = self.of
        if predicted not in self._viewer.layers or true not in self._viewer.layers:
            self.stop()
            return
        dims = self._viewer.dims
        if tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            if not self.is_flat:  # once is enough
                self._looked_at, self.pair = (), None
                self.flat.emit()
            return
        region = shown_region(self._viewer, predicted)
        if region is None:
            return
        at = shown_place(self._viewer, predicted)
        pixel = float(self._viewer.scene.camera.zoom * np.abs(predicted.scale[-2:]).max())
        asked = (self.of, at, region, 1 / pixel)
        if asked == self._looked_at:
            return
        self._looked_at = asked
        levels = levels_of(predicted), levels_of(true)

        def take(pair: Pair) -> None:
            if self._looked_at == asked:
                self.pair = pair
                self.read.emit()

        self._background.run(
            "pair", lambda: read_pair(*levels, at, region, 1 / pixel), take, self.failed.emit
        )
