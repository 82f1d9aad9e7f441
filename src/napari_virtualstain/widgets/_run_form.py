"""With which model, where, and how is it computed? One form for a stain and for a list of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout

from napari_virtualstain.jobs.drawing import DrawingSettings
from napari_virtualstain.widgets._drawing_box import DrawingBox
from napari_virtualstain.widgets._form import SettingsForm
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.widgets._model_box import ModelBox
from napari_virtualstain.widgets._parts import Foldout, wide

__all__ = ["RunForm"]

_ELSEWHERE = {
    "input", "model", "scene", "axes", "pattern", "device", "out", "region", "times", "resume",
    "retry",
}  # fmt: skip
"""Settings that a page asks for in its own way; a form shows all others, whatever they are."""
_OPEN = {
    "channel": "as the page Load has it",
    "z": "by their positions",
    "pixel_size": "from the file",
    "tile": "by memory",
    "memory": "half of what is free",
    "z_step": "from the file",
    "illumination": "as it is",
    "quantiles": "none",
}
_HERE = "this computer"
_ADDRESS = re.compile(r"(tcp|tls)://[^\s/:]+:\d+")


class RunForm(QObject):
    """Model, device, where it is computed, and all further settings of a verb.

    Parameters
    ----------
    jobs
        Of the application, whose scheduler is chosen here.
    kind
        Settings model of the verb.
    parent
        The page, as in Qt.
    """

    changed = Signal()
    """Something is chosen otherwise."""
    doubted = Signal(str)
    """What is typed is not complete yet."""
    moved = Signal()
    """Runs go to another scheduler from now on."""

    def __init__(self, jobs: Jobs, kind: type[BaseModel], parent: QObject) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self.model = ModelBox()
        self.device = wide(QComboBox())
        self.compute = wide(QComboBox())
        elsewhere = {*_ELSEWHERE, *DrawingSettings.model_fields}
        names = [name for name in kind.model_fields if name not in elsewhere]
        self.settings = SettingsForm(kind, names, placeholders=_OPEN)
        self.drawing = DrawingBox(kind, self)
        self.fold = Foldout("More settings", self.settings.sheet)
        self.device.setToolTip("Where the network runs")
        self.compute.setEditable(True)
        self.compute.addItem(_HERE)
        self.compute.setToolTip(
            "This computer, or the address of a dask scheduler whose workers share the tiles; they "
            "have to see the input and the output under the same paths"
        )
        self.show_address()
        self.model.chosen.connect(self._take_model)
        self.drawing.changed.connect(self.changed)
        self.device.currentIndexChanged.connect(self.changed)
        self.compute.currentTextChanged.connect(self._compute_where)
        self.settings.changed.connect(self._typed)  # a signal of psygnal wants a function
        jobs.state_changed.connect(self._offer_devices)
        self._offer_devices()
        self.drawing.show_card(self.model.card)

    def add_to(self, rows: QFormLayout) -> None:
        """Put the rows into the form of a page; `drawing.fold` and `fold` go below it."""
        rows.addRow("Model", self.model)
        rows.addRow("Device", self.device)
        rows.addRow("Compute", self.compute)

    def values(self) -> dict[str, Any]:
        """Return the settings that are chosen here, as far as they are not the default."""
        return {
            "model": self.model.name,
            "device": self.device.currentData() or "auto",
            **self.drawing.values(),
            **self.settings.values(),
        }

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Fill the form; what has no value goes back to its default."""
        self.model.box.setEditText(str(values.get("model", "demo")))
        device = str(values.get("device", "auto"))
        if self.device.findData(device) < 0:
            self.device.addItem(device, device)
        self.device.setCurrentIndex(self.device.findData(device))
        self.drawing.show_values(values)
        self.settings.show_values(values)

    def lock(self, locked: bool) -> None:
        """Keep what decides what a stain looks like from being changed, or allow it again."""
        for part in (self.model.box, self.device, self.settings.sheet):
            part.setEnabled(not locked)
        self.drawing.lock(locked)

    def _take_model(self) -> None:
        self.drawing.show_card(self.model.card)
        self.changed.emit()

    def _typed(self) -> None:
        self.changed.emit()

    # --- where ------------------------------------------------------------------------------------

    def show_address(self) -> None:
        """Show where runs go, which another form may have changed."""
        self.compute.blockSignals(True)
        self.compute.setCurrentText(self._jobs.address or _HERE)
        self.compute.blockSignals(False)

    def _compute_where(self) -> None:
        """Take the address of a scheduler once it is one, or this computer."""
        text = self.compute.currentText().strip()
        if text in ("", _HERE):
            address = None
        elif _ADDRESS.fullmatch(text):
            address = text
        else:
            self.doubted.emit(
                "Give the address of a dask scheduler, such as tcp://host:8786 or tls://host:8786, "
                f"or choose “{_HERE}”."
            )
            return
        if address != self._jobs.address:
            self._jobs.address = address
            self.moved.emit()

    def _offer_devices(self, state: Any = None) -> None:
        del state
        worker = self._jobs.state.worker
        names = worker.get("devices", {})
        default = names.get(worker.get("device", ""), "")
        wanted = [("auto", f"automatic{': ' + default if default else ''}")]
        wanted += [(key, f"{key}: {text}") for key, text in names.items()]
        now = self.device.currentData()
        shown = range(self.device.count())
        if [(self.device.itemData(i), self.device.itemText(i)) for i in shown] == wanted:
            return
        self.device.blockSignals(True)
        self.device.clear()
        for key, text in wanted:
            self.device.addItem(text, key)
        keys = [key for key, _ in wanted]
        self.device.setCurrentIndex(keys.index(now) if now in keys else 0)
        self.device.blockSignals(False)
