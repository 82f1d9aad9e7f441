"""Which of the predicted stains is shown? One at a time: five added up are white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.datasets.stain_names import is_doubt

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["ALL", "StainSwitch"]

ALL = "All"
_IN_A_ROW, _LONG_IN_A_ROW, _LONG = 6, 3, 8
"""Buttons, and those with names of more than so many letters."""


class StainSwitch(QWidget):
    """A button for each stain of one prediction, and one for all.

    What says how sure a stain is (its spread, a quantile) has buttons below, and is no part of all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._layers: dict[str, Image] = {}
        self._hidden: list[Image] = []
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self._show)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self._grids = (QGridLayout(), QGridLayout())
        for grid in self._grids:
            grid.setSpacing(2)
            column.addLayout(grid)
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
        for grid, names in zip(self._grids, self._names(), strict=True):
            many = _IN_A_ROW if max(map(len, names), default=0) <= _LONG else _LONG_IN_A_ROW
            for place, name in enumerate(names):
                button = QPushButton(name)
                button.setCheckable(True)
                button.setToolTip(
                    f"Show {name} only" if name != ALL else "Show all stains, added up"
                )
                self._group.addButton(button, len(self._group.buttons()))
                grid.addWidget(button, place // many, place % many)
        shown = [name for name, layer in layers.items() if layer.visible]
        chosen = shown[0] if len(shown) == 1 else ALL
        if chosen in self.names:
            self._group.button(self.names.index(chosen)).setChecked(True)
        self.setVisible(len(layers) > 1)

    def choose(self, name: str) -> None:
        """Show one stain, or `ALL`."""
        self._group.button(self.names.index(name)).click()

    def blink(self) -> None:
        """Hide what is shown of the stains; show it again if nothing is."""
        shown = [layer for layer in self._layers.values() if layer.visible]
        for layer in shown or self._hidden:
            layer.visible = not shown
        self._hidden = shown

    def _names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the stains, and all of them, and what says how sure they are."""
        stains = [name for name in self._layers if not is_doubt(name)]
        return [*stains, *([ALL] if len(stains) > 1 else [])], [*filter(is_doubt, self._layers)]

    def _show(self, number: int) -> None:
        wanted = self._group.button(number).text()
        for name, layer in self._layers.items():
            layer.visible = name == wanted or (wanted == ALL and not is_doubt(name))
