"""Which of the predicted stains is shown? One at a time: five added up are white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QWidget

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["ALL", "StainSwitch"]

ALL = "All"
_IN_A_ROW = 6


class StainSwitch(QWidget):
    """A button for each stain of one prediction, and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: dict[str, Image] = {}
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self._show)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self.hide()

    @property
    def names(self) -> tuple[str, ...]:
        """What can be chosen."""
        return tuple(button.text() for button in self._group.buttons())

    def offer(self, layers: dict[str, Image]) -> None:
        """Offer the layers of a prediction by their stain; nothing is shown or hidden by this."""
        if layers == self._layers:
            return
        self._layers = dict(layers)
        for button in self._group.buttons():
            self._group.removeButton(button)
            button.deleteLater()
        for number, name in enumerate(self._names()):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(f"Show {name} only" if name != ALL else "Show all stains, added up")
            self._group.addButton(button, number)
            self._grid.addWidget(button, number // _IN_A_ROW, number % _IN_A_ROW)
        shown = [name for name, layer in layers.items() if layer.visible]
        chosen = shown[0] if len(shown) == 1 else ALL
        if chosen in self.names:
            self._group.button(self.names.index(chosen)).setChecked(True)
        self.setVisible(len(layers) > 1)

    def choose(self, name: str) -> None:
        """Show one stain, or `ALL`."""
        self._group.button(self.names.index(name)).click()

    def _names(self) -> Sequence[str]:
        return [*self._layers, ALL] if len(self._layers) > 1 else list(self._layers)

    def _show(self, number: int) -> None:
        wanted = self._group.button(number).text()
        for name, layer in self._layers.items():
            layer.visible = wanted in (name, ALL)
