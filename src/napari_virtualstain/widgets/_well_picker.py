"""Which wells are meant? Picked one by one, by rows and columns, or in a box that is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtGui import QColor

from napari_virtualstain.io.plate import Plate, Well
from napari_virtualstain.widgets._plate_map import PlateMap, between

__all__ = ["WellPicker"]


class WellPicker(PlateMap):
    """A plate whose wells are picked; the bright ones are.

    A click picks a well or drops it; so does one on the letter of a row or the number of a
    column for all of it. Drawing picks all wells in a box; with Shift it drops them.
    """

    picked_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._picked: set[tuple[int, int]] = set()
        self._begin: QPoint | None = None
        self._box_drops = False
        self._before: set[tuple[int, int]] = set()
        self.setToolTipDuration(4000)

    @property
    def picked(self) -> tuple[Well, ...]:
        """Wells that are picked, row by row."""
        return tuple(self._wells[at] for at in sorted(self._picked & self._wells.keys()))

    def show_plate(self, plate: Plate, well: str = "") -> None:
        """Show a plate, all of its wells picked."""
        super().show_plate(plate, well)
        self.pick(self._wells)

    def pick_all(self, picked: bool = True) -> None:
        """Pick all wells, or none."""
        self.pick(self._wells if picked else ())

    def pick(self, places: Iterable[tuple[int, int]]) -> None:
        """Pick these wells, rows and columns from 0, and no others."""
        self._picked = set(places) & self._wells.keys()
        self.update()
        self.picked_changed.emit()

    def _colours(self) -> dict[str, QColor]:
        palette = self.palette()
        text, ground = palette.windowText().color(), palette.window().color()
        on, off = between(ground, text, 0.85), between(ground, text, 0.25)
        return {well.name: on if at in self._picked else off for at, well in self._wells.items()}

    # --- what a user does -------------------------------------------------------------------------

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Begin to draw, or pick a row or a column."""
        point = event.position().toPoint()
        row, column = self._cell(point)
        if row < 0 or column < 0:
            self._toggle({at for at in self._wells if at[0] == row or at[1] == column})
            return
        self._begin, self._before = point, set(self._picked)
        self._box_drops = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802
        """Pick what lies in the box that is drawn."""
        if self._begin is None:
            super().mouseMoveEvent(event)
            return
        inside = self._inside(self._begin, event.position().toPoint())
        self._picked = self._before - inside if self._box_drops else self._before | inside
        self.update()

    def mouseReleaseEvent(self, event: Any) -> None:  # noqa: N802
        """End the box, or pick the one well that was clicked on."""
        if self._begin is None:
            return
        begin, self._begin = self._begin, None
        end = event.position().toPoint()
        if self._cell(begin) == self._cell(end):
            self._picked = self._before
            self._toggle(self._inside(begin, end))
        else:
            self.picked_changed.emit()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Leave keys to the page."""
        event.ignore()

    def _toggle(self, places: set[tuple[int, int]]) -> None:
        if places:
            whole = places <= self._picked
            self.pick(self._picked - places if whole else self._picked | places)

    def _cell(self, point: QPoint) -> tuple[int, int]:
        """Return row and column below a point, -1 in the margin."""
        first, edge = self._box(0, 0), self._edge(self.width())
        row = int(np.floor((point.y() - first.top()) / edge))
        column = int(np.floor((point.x() - first.left()) / edge))
        return max(row, -1), max(column, -1)

    def _inside(self, one: QPoint, other: QPoint) -> set[tuple[int, int]]:
        rows, columns = (
            sorted(pair) for pair in zip(self._cell(one), self._cell(other), strict=True)
        )
        return {
            at for at in self._wells
            if rows[0] <= at[0] <= rows[1] and columns[0] <= at[1] <= columns[1]
        }  # fmt: skip
