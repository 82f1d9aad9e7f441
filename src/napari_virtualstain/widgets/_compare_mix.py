"""Prediction and truth in one layer, made anew whenever the user looks at something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_virtualstain.napari_io.difference import levels_of, same_pixels, unlike
from napari_virtualstain.napari_io.mixed import Pair, mixed_keywords, read_pair
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._live import ViewWatch
from napari_virtualstain.widgets._view import shown_place, shown_region

if TYPE_CHECKING:
    import napari

__all__ = ["LINKED", "Mixture", "put_over"]

LINKED = ("contrast_limits", "gamma")
"""What prediction, truth and what is made of both have in common on the canvas."""

How = Callable[[Pair], NDArray[np.float32]]
_FLAT = (
    "Curtain and checkerboard show y and x. Switch the canvas to two dimensions, with the axes in "
    "their own order."
)


class Mixture(QObject):
    """The composed layer of one pair of layers.

    Parameters
    ----------
    viewer
        To add it to.
    parent
        As in Qt.
    """

    shown = Signal()
    """The layer shows what is in view."""
    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._background = viewer, Background(self)
        self._watch: ViewWatch | None = None
        self._of: tuple[Image, Image] | None = None
        self._name = ""
        self._how: How | None = None
        self._looked_at: tuple[Any, ...] | None = None
        self.pair: Pair | None = None
        self.layer: Image | None = None

    def show(self, predicted: Image, true: Image, name: str, how: How) -> None:
        """Show two layers in one, and follow the view until `stop`.

        Parameters
        ----------
        predicted, true
            Of equal size.
        name
            Of the layer.
        how
            Makes its pixels.
        """
        if self._of != (predicted, true) or self.layer not in self._viewer.layers:
            self.stop()
            if not same_pixels(predicted, true):
                self.failed.emit(unlike(predicted, true))
                return
            self._of = (predicted, true)
            self._watch = ViewWatch(self._viewer, self)
            self._watch.moved.connect(self._look)
            self._viewer.canvas.events.size.connect(self._watch.note)
        self._name, self._how = name, how
        if self.pair is not None:
            self._compose()
        self._look()

    def compose(self) -> None:
        """Make the pixels again of what has been read, for another curtain or other tiles."""
        if self.pair is not None:
            self._compose()

    def stop(self) -> None:
        """Take the layer away, and watch no more."""
        self.close()
        layer, self.layer, self.pair = self.layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.unlink_layers([layer], LINKED)
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Watch no more; the viewer may be closing."""
        self._of = self._looked_at = None
        if self._watch is not None:
            self._viewer.canvas.events.size.disconnect(self._watch.note)
            self._watch.stop()
            self._watch.deleteLater()
            self._watch = None

    def _look(self) -> None:
        if self._of is None:
            return
        predicted, true = self._of
        if predicted not in self._viewer.layers or true not in self._viewer.layers:
            self.stop()
            return
        dims = self._viewer.dims
        if tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            if self._looked_at != (_FLAT,):  # once is enough
                self._looked_at = (_FLAT,)
                self.failed.emit(_FLAT)
            return
        region = shown_region(self._viewer, predicted)
        if region is None:
            return
        at = shown_place(self._viewer, predicted)
        pixel = float(self._viewer.scene.camera.zoom * np.abs(predicted.scale[-2:]).max())
        asked = (self._of, at, region, 1 / pixel)
        if asked == self._looked_at:
            return
        self._looked_at = asked
        levels = levels_of(predicted), levels_of(true)

        def take(pair: Pair) -> None:
            if self._looked_at == asked:
                self.pair = pair
                self._compose()

        self._background.run(
            "mix", lambda: read_pair(*levels, at, region, 1 / pixel), take, self.failed.emit
        )

    def _compose(self) -> None:
        assert self._of is not None
        assert self._how is not None
        assert self.pair is not None
        predicted, true = self._of
        pixels = self._how(self.pair)
        keywords = mixed_keywords(predicted, true, self.pair, name=self._name)
        if self.layer is None:
            layer = Image(pixels, **keywords)
            layer.contrast_limits_range = true.contrast_limits_range
            self.layer = layer
            put_over(self._viewer, layer, (predicted, true))
            self._viewer.layers.link_layers([predicted, true, layer], LINKED)
            self.shown.emit()
        elif self.layer in self._viewer.layers:
            self.layer.data = pixels
            self.layer.name = self._name
            for name in ("scale", "translate", "rotate", "affine"):
                setattr(self.layer, name, keywords[name])
            self.shown.emit()
        else:
            self.close()  # the user has removed it


def put_over(viewer: napari.Viewer, layer: Image, below: tuple[Image, ...]) -> None:
    """Add a layer right above others, so that what lies over them is seen over it, too.

    Parameters
    ----------
    viewer
        To add it to; what is selected there stays selected.
    layer
        To be added.
    below
        Layers of the viewer.
    """
    selected = list(viewer.layers.selection)
    viewer.layers.insert(max(viewer.layers.index(one) for one in below) + 1, layer)
    viewer.layers.selection = selected
