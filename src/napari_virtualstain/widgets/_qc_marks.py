"""Where does a check see something? Its marks over the field, which may be painted on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_virtualstain.napari_io.marks import over_image, painted_plane
from napari_virtualstain.widgets._parts import wide

if TYPE_CHECKING:
    import napari

__all__ = ["MarksBox"]

_NONE, _OWN = "nothing", "my own marks"
_REJECTED = "what was rejected"


class MarksBox(QComboBox):
    """Which marks show: none, those of a check, or what the user paints.

    Parameters
    ----------
    viewer
        To add the layer to.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        wide(self)
        self._viewer = viewer
        self._over: Image | None = None
        self._marks: dict[str, NDArray[np.uint8]] = {}
        self.layer: Labels | None = None
        self.setToolTip(
            "Orange is where a check sees something. Paint on it as on any labels; the page Tune "
            "can leave out what is painted"
        )
        self.activated.connect(lambda _: self._show())
        self.offer(None, {})

    @property
    def painted(self) -> NDArray[np.uint8] | None:
        """What is marked now, (Y, X); `None` for nothing."""
        if self.layer is None or self.layer not in self._viewer.layers:
            return None
        marks = painted_plane(self.layer)
        return marks if marks.any() else None

    def offer(
        self, over: Image | None, marks: dict[str, NDArray[np.uint8]],
        rejected: NDArray[np.uint8] | None = None,
    ) -> None:  # fmt: skip
        """Offer the marks of a field, and show the first.

        Parameters
        ----------
        over
            Layer that they lie over; without one there are none.
        marks
            By what they are of, those that matter most first.
        rejected
            What somebody has rejected, shown before all others.
        """
        self._over = over
        first = {} if rejected is None else {_REJECTED: rejected}
        self._marks = {**first, **marks}
        self.clear()
        self.addItems([_NONE, *self._marks, _OWN])
        self.setCurrentIndex(1 if self._marks else 0)
        self.setEnabled(over is not None)
        self._show()

    def forget(self) -> None:
        """Take the layer away."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _show(self) -> None:
        """Show what is chosen in place of what was."""
        self.forget()
        name = self.currentText()
        if self._over is not None and self._over in self._viewer.layers and name != _NONE:
            finest = self._over.data[0] if self._over.multiscale else self._over.data
            pixels = self._marks.get(name)
            if pixels is None:
                pixels = np.zeros(finest.shape[-2:], np.uint8)
            selected = list(self._viewer.layers.selection)
            self.layer = Labels(pixels.copy(), **over_image(self._over, f"marked: {name}"))
            self._viewer.add_layer(self.layer)
            if name == _OWN:
                self.layer.mode = "paint"
                self.layer.events.labels_update.connect(lambda _: self.changed.emit())
            else:  # a brush is of no use before somebody asks for it
                self._viewer.layers.selection = selected
            self.layer.events.paint.connect(lambda _: self.changed.emit())
        self.changed.emit()
