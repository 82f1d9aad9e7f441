"""Which map is shown, how much of it, and may it be believed? One at a time, with its sentence.

Maps of the steps of a walk are one choice, and a slider goes through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QSlider, QVBoxLayout, QWidget

from napari_virtualstain.explain.attention import enlarged, top_mass
from napari_virtualstain.explain.methods import METHODS
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Wrapped, form, wide

if TYPE_CHECKING:
    import napari

__all__ = ["ExplainedMaps"]


class ExplainedMaps(QWidget):
    """The maps of one run: layers of which one shows.

    Parameters
    ----------
    viewer
        To add the layers to.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._maps: list[dict[str, Any]] = []
        self._layers: list[Image] = []
        self._whole: list[NDArray[np.float32]] = []
        self._groups: list[list[int]] = []
        self._patch = 0
        self.choice = wide(QComboBox())
        self.step = QSlider(Qt.Orientation.Horizontal)
        self.step_name = QLabel()
        self.mass = QSlider(Qt.Orientation.Horizontal)
        self.mass_name = QLabel()
        self.words = Wrapped()
        self.sanity = Notice(viewer)
        self.reading = Wrapped()
        self._arrange()
        self.choice.currentIndexChanged.connect(self._choose)
        self.step.valueChanged.connect(self._show)
        self.mass.valueChanged.connect(self._cut)
        self.hide()

    @property
    def layer(self) -> Image | None:
        """The layer that shows."""
        row = self._row
        return None if row is None else self._layers[row]

    @property
    def _row(self) -> int | None:
        """Number of the map that shows."""
        chosen = int(self.choice.currentIndex())
        if not 0 <= chosen < len(self._groups):
            return None
        group = self._groups[chosen]
        return group[min(int(self.step.value()), len(group) - 1)]

    def show_result(self, result: dict[str, Any], layers: list[LayerData], patch: int) -> None:
        """Show the maps of a run in place of those before.

        Parameters
        ----------
        result
            See `jobs.explain.ExplainResult.to_json`.
        layers
            Of its maps, in order.
        patch
            Edge of the encoder's patches in pixels of the maps, 0 for maps of pixels.
        """
        self.forget()
        self._patch = patch
        selected = list(self._viewer.layers.selection)
        for told, (data, keywords, _) in zip(result["maps"], layers, strict=True):
            if patch and ", top " in told["channel"]:
                continue  # the slider shows the same, for any share
            self._maps.append(told)
            self._whole.append(np.asarray(data, np.float32))
            self._layers.append(Image(data, **keywords))
        self.choice.blockSignals(True)
        self.choice.clear()
        for title, group in self._titled().items():
            self.choice.addItem(title)
            self._groups.append(group)
        self.choice.blockSignals(False)
        for layer in self._layers:
            self._viewer.add_layer(layer)
        self._viewer.layers.selection = selected
        self.words.setText(" ".join(result["sentences"]))
        self._rows.setRowVisible(self.mass, bool(patch))
        self._rows.setRowVisible(self.mass_name, bool(patch))
        self.show()
        self._choose()

    def forget(self) -> None:
        """Take the layers away, and say nothing."""
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._maps, self._layers, self._whole, self._groups = [], [], [], []
        self.sanity.clear()
        self.hide()

    def _titled(self) -> dict[str, list[int]]:
        """Return the maps of each choice: those of the steps of a walk are one."""
        found: dict[str, list[int]] = {}
        for row, told in enumerate(self._maps):
            steps = "step" in told["numbers"]
            title = told["numbers"]["title"] if steps else told["channel"]
            found.setdefault(title, []).append(row)
        return found

    def _choose(self) -> None:
        """Offer the steps of what is chosen, of which the one that shows stays if it can."""
        chosen = self.choice.currentIndex()
        if not 0 <= chosen < len(self._groups):
            return
        many = len(self._groups[chosen])
        self.step.blockSignals(True)
        self.step.setRange(0, many - 1)
        self.step.blockSignals(False)
        for part in (self.step, self.step_name):
            self._rows.setRowVisible(part, many > 1)
        self._show()

    def _show(self) -> None:
        """Show the map that is chosen, and say whether to believe it."""
        row = self._row
        if row is None:
            return
        for n, layer in enumerate(self._layers):
            layer.visible = n == row
        told = self._maps[row]
        numbers = told["numbers"]
        if "step" in numbers:
            self.step_name.setText(f"step {numbers['step']} of {numbers['steps']}")
        # A plane or a head is as much worth as the map of all that it belongs to.
        alike = [one for one in self._maps if one["method"] == told["method"] and one["sanity"]]
        judged = told if told["sanity"] else next(iter(alike), None)
        if judged is None:
            self.sanity.hint(
                "Not compared with maps of random weights or pixels: read it with doubt."
            )
        else:
            whose = "" if judged is told else f"{judged['channel']}: "
            said = f"{whose}{judged['sanity']}"
            show = self.sanity.hint if judged["verdict"] == "depends" else self.sanity.warn
            show(said)
        self.reading.setText(METHODS[told["method"]].reading)
        self._cut()

    def _cut(self) -> None:
        """Show the share of the attention that is asked for; the rest is black."""
        share = self.mass.value()
        self.mass_name.setText("all of it" if share == self.mass.maximum() else f"{share} % of it")
        layer = self.layer
        if layer is None or not self._patch:
            return
        row = self._row
        assert row is not None
        whole = self._whole[row]
        if share == self.mass.maximum():
            layer.data = whole
            return
        mask = top_mass(whole[:: self._patch, :: self._patch], share / 100)
        layer.data = whole * enlarged(mask, self._patch)

    def _arrange(self) -> None:
        self.choice.setToolTip("Which map is shown; all of them are layers")
        self.mass.setRange(5, 100)
        self.mass.setValue(100)
        self.mass.setToolTip("The fewest patches that hold this share of the attention")
        self._rows = form()
        self.step.setToolTip("Step of the drawing; noise first, and the stain at the end")
        self._rows.addRow("Shown", self.choice)
        self._rows.addRow("Step", self.step)
        self._rows.addRow("", self.step_name)
        self._rows.addRow("Strongest", self.mass)
        self._rows.addRow("", self.mass_name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addLayout(self._rows)
        column.addWidget(self.sanity)
        column.addWidget(self.reading)
