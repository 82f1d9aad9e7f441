"""How far are pixels and planes apart? As the file says, or as the user corrects it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy

from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.source import LayerSource, tagged

__all__ = ["PixelSizes", "letters_of"]

_LARGEST_UM = 1000.0


class PixelSizes(QObject):
    """Two boxes with the sizes of an image, kept with its layers.

    Parameters
    ----------
    parent
        As in Qt.
    """

    changed = Signal()
    """A size is another now."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._field: Field | None = None
        self._shown_um: dict[str, float] = {}
        self.y_um, self.z_um = _size_box("y and x"), _size_box("z")
        self.y_um.editingFinished.connect(self._resize_yx)
        self.z_um.editingFinished.connect(self._resize_z)

    def show_field(self, field: Field) -> None:
        """Show the sizes of an image."""
        self._field = field
        layer = field.layers[0][0]
        steps = zip(layer.scale, layer.units, strict=True)
        known = dict(zip(letters_of(layer), steps, strict=True))
        for box, axis in ((self.y_um, "y"), (self.z_um, "z")):
            scale, unit = known.get(axis, (0.0, "pixel"))
            in_um = str(unit) in ("micrometer", "um", "µm")
            box.blockSignals(True)
            box.setValue(float(scale) if in_um else 0.0)
            box.blockSignals(False)
            self._shown_um[axis] = box.value()
        self.z_um.setEnabled("z" in known)

    def _resize_yx(self) -> None:
        """Take the pixel size from the user, for the layers and for every run."""
        if self.y_um.value() != self._shown_um.get("y"):
            self._resize({"y": self.y_um.value() or None, "x": self.y_um.value() or None})

    def _resize_z(self) -> None:
        """Take the distance of the planes from the user, for the layers."""
        if self.z_um.value() != self._shown_um.get("z"):
            self._resize({"z": self.z_um.value() or None})

    def _resize(self, stated: dict[str, float | None]) -> None:
        field = self._field
        if field is None:
            return
        for layer, source in field.layers:
            known = source or LayerSource(channel=layer.name)
            labels = letters_of(layer)
            layer.scale = [stated.get(a) or old for a, old in zip(labels, layer.scale, strict=True)]
            layer.units = [
                ("um" if stated[a] else "pixel") if a in stated else str(old)
                for a, old in zip(labels, layer.units, strict=True)
            ]
            sizes = dict(zip("zyx", known.pixel_size_um, strict=True)) | stated
            guesses = tuple(g for g in known.guesses if "pixel size" not in g.lower())
            new = replace(known, pixel_size_um=(sizes["z"], sizes["y"], sizes["x"]))
            if "y" in stated:
                new = replace(new, pixel_size_stated=stated["y"] is not None, guesses=guesses)
            if source is not None:
                layer.metadata = tagged(layer.metadata, new)
        self.changed.emit()


def _size_box(axis: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, _LARGEST_UM)
    box.setDecimals(4)
    box.setSingleStep(0.05)
    box.setSuffix(" µm")
    box.setSpecialValueText("not stated")
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setToolTip(f"Distance of pixels along {axis} in micrometres; 0 if nobody knows")
    return box


def letters_of(layer: Any) -> list[str]:
    """Return the axes of a layer; those of layers of somebody else by their place, as in a run."""
    labels = [str(label).lower() for label in layer.axis_labels]
    n = len(labels)
    return labels if set(labels) <= set("tzyx") or n > 4 else list("tzyx"[-n:])
