"""Prediction and truth in one layer, made anew whenever the user looks at something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_virtualstain.napari_io.mixed import Pair, mixed_keywords
from napari_virtualstain.widgets._compare_pair import PairWatch

if TYPE_CHECKING:
    import napari

__all__ = ["LINKED", "Mixture", "put_over"]

LINKED = ("contrast_limits", "gamma")
"""What prediction, truth and what is made of both have in common on the canvas."""

How = Callable[[Pair], NDArray[np.float32]]


class Mixture(QObject):
    """The composed layer of one pair of layers.

    Parameters
    ----------
    viewer
        To add it to.
    watch
        That has what is in view of the pair.
    """

    shown = Signal()
    """The layer shows what is in view."""

    def __init__(self, viewer: napari.Viewer, watch: PairWatch) -> None:
        super().__init__(watch)
        self._viewer, self._watch = viewer, watch
        self._of: tuple[Image, Image] | None = None
        self._name = ""
        self._how: How | None = None
        self.layer: Image | None = None
        watch.read.connect(self.compose)

    def show(self, name: str, how: How) -> None:
        """Show the two layers that are watched in one, until `stop`.

        Parameters
        ----------
        name
            Of the layer.
        how
            Makes its pixels.
        """
        if self._of != self._watch.of or self.layer not in self._viewer.layers:
            self.stop()
        self._of, self._name, self._how = self._watch.of, name, how
        self.compose()

    def compose(self) -> None:
        """Make the pixels of what has been read, for another view, curtain or tiles."""
        pair = self._watch.pair
        if self._of is None or self._of != self._watch.of or pair is None:
            return
        assert self._how is not None
        predicted, true = self._of
        pixels = self._how(pair)
        keywords = mixed_keywords(predicted, true, pair, name=self._name)
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
            self._of = None  # the user has removed it

    def stop(self) -> None:
        """Take the layer away, and show nothing any more."""
        self._of = None
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.unlink_layers([layer], LINKED)
            self._viewer.layers.remove(layer)


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
