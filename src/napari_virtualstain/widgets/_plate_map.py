"""A plate seen from above: which wells hold images, what is known of each, which one is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_virtualstain.io.plate import Plate, Well, well_name

__all__ = ["PlateMap", "between"]

_LARGEST, _SMALLEST = 26, 5
"""Edge of a well in pixels."""
_LETTERED = 12
"""Edge from which on rows and columns are named."""
_MARGIN = 18
_STEPS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class PlateMap(QWidget):
    """Wells to click on, or to go through with the arrow keys.

    Wells with images are filled: in one colour, or in that of their number (viridis). The
    well that is shown has a ring.
    """

    chosen = Signal(str)
    """Name of a well with images."""

    def __init__(self) -> None:
        super().__init__()
        self._plate: Plate | None = None
        self._wells: dict[tuple[int, int], Well] = {}
        self._shown: tuple[int, int] | None = None
        self._values: dict[str, float] = {}
        self._named = ""
        self._painted: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Plate")

    @property
    def plate(self) -> Plate | None:
        """The plate that is shown."""
        return self._plate

    @property
    def shown(self) -> str:
        """Name of the well with the ring, ``""`` for none."""
        return "" if self._shown is None else well_name(*self._shown)

    def show_plate(self, plate: Plate, well: str) -> None:
        """Show a plate, and a ring around one of its wells."""
        self._plate = plate
        self._wells = {
            (w.row, w.column): w for w in plate.wells if w.row is not None and w.column is not None
        }
        self.ring(well)
        self.updateGeometry()

    def colour_by(self, values: Mapping[str, float], name: str) -> None:
        """Colour wells by a number each; those without one stay grey. One colour if there is none.

        Parameters
        ----------
        values
            By name of the well.
        name
            Of the number, for tooltips.
        """
        self._values, self._named = dict(values), name
        self._painted, self._said = {}, {}
        self.update()

    def colour_as(self, colours: Mapping[str, str], said: Mapping[str, str]) -> None:
        """Give wells colours; those without one stay grey.

        Parameters
        ----------
        colours
            By name of the well, as ``#rrggbb``.
        said
            What tooltips say, by name of the well.
        """
        self._values, self._painted, self._said = {}, dict(colours), dict(said)
        self.update()

    def ring(self, well: str) -> None:
        """Draw the ring around another well, around none for ``""``."""
        self._shown = next((at for at, w in self._wells.items() if w.name == well), None)
        self.update()

    # --- geometry ---------------------------------------------------------------------------------

    def _edge(self, width: int) -> float:
        if self._plate is None or not self._plate.columns:
            return float(_LARGEST)
        room = (width - _MARGIN - 2) / self._plate.columns
        return float(min(_LARGEST, max(_SMALLEST, room)))

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for little width: wells are as large as they can be."""
        return QSize(200, self.heightForWidth(max(self.width(), 200)))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the least."""
        return QSize(120, self.heightForWidth(max(self.width(), 120)))

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """Return true: a narrow plate is a low one."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        """Return the height that all rows take."""
        rows = 0 if self._plate is None else self._plate.rows
        return round(_MARGIN + rows * self._edge(width)) + 3

    def _box(self, row: int, column: int) -> QRectF:
        edge = self._edge(self.width())
        return QRectF(_MARGIN + column * edge, _MARGIN + row * edge, edge, edge)

    def _at(self, point: QPoint) -> tuple[int, int] | None:
        edge = self._edge(self.width())
        column = int(np.floor((point.x() - _MARGIN) / edge))
        row = int(np.floor((point.y() - _MARGIN) / edge))
        return (row, column) if (row, column) in self._wells else None

    # --- what it looks like -----------------------------------------------------------------------

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Draw the plate."""
        del event
        if self._plate is None:
            return
        palette = self.palette()
        text, ground = palette.windowText().color(), palette.window().color()
        faint = between(ground, text, 0.25)
        filled = between(ground, text, 0.6)
        colours = self._colours()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edge = self._edge(self.width())
        gap = max(0.5, edge / 12)
        for row in range(self._plate.rows):
            for column in range(self._plate.columns):
                inside = 2 * gap if (row, column) == self._shown else gap
                box = self._box(row, column).adjusted(inside, inside, -inside, -inside)
                well = self._wells.get((row, column))
                painter.setPen(Qt.PenStyle.NoPen if well else QPen(faint, 1))
                painter.setBrush(
                    Qt.BrushStyle.NoBrush if well is None else colours.get(well.name, filled)
                )
                painter.drawEllipse(box)
        if self._shown is not None:
            ring = self._box(*self._shown).adjusted(gap / 2, gap / 2, -gap / 2, -gap / 2)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(text, max(1.5, edge / 10)))
            painter.drawEllipse(ring)
        self._name_lines(painter, edge, between(ground, text, 0.75))
        painter.end()

    def _name_lines(self, painter: QPainter, edge: float, colour: QColor) -> None:
        assert self._plate is not None
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        painter.setPen(colour)
        middle = Qt.AlignmentFlag.AlignCenter
        every = 1 if edge >= _LETTERED else int(np.ceil(_LETTERED / edge))
        for row in range(0, self._plate.rows, every):
            letters = well_name(row, 0).rstrip("0123456789")
            box = self._box(row, 0)
            painter.drawText(QRectF(0, box.top(), _MARGIN - 2, edge), middle, letters)
        wide = 1 if edge >= 1.4 * _LETTERED else int(np.ceil(1.4 * _LETTERED / edge))
        for column in range(0, self._plate.columns, wide):
            box = self._box(0, column)
            place = QRectF(box.left() - 6, 0, edge + 12, _MARGIN - 2)
            painter.drawText(place, middle, str(column + 1))

    def _colours(self) -> dict[str, QColor]:
        if self._painted:
            return {name: QColor(colour) for name, colour in self._painted.items()}
        finite = {name: v for name, v in self._values.items() if np.isfinite(v)}
        if not finite:
            return {}
        low, high = min(finite.values()), max(finite.values())
        shares = np.array(
            [(v - low) / (high - low) if high > low else 0.5 for v in finite.values()]
        )
        mapped = ensure_colormap("viridis").map(shares)
        return {
            name: QColor.fromRgbF(*(float(part) for part in rgba[:3]))
            for name, rgba in zip(finite, mapped, strict=True)
        }

    # --- what a user does -------------------------------------------------------------------------

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Choose the well below."""
        at = self._at(event.position().toPoint())
        if at is not None:
            self._choose(at)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Go to the next well with images."""
        step = _STEPS.get(event.key())
        if step is None or not self._wells:
            super().keyPressEvent(event)
            return
        at = self._next(step)
        if at is not None:
            self._choose(at)

    def _next(self, step: tuple[int, int]) -> tuple[int, int] | None:
        """Return the nearest well with images in a direction; a row goes on in the next one."""
        ordered = sorted(self._wells)
        if self._shown is None:
            return ordered[0]
        if step[0] == 0:
            index = ordered.index(self._shown) + step[1]
            return ordered[index] if 0 <= index < len(ordered) else None
        row, column = self._shown
        beyond = [at for at in ordered if (at[0] - row) * step[0] > 0]
        return min(beyond, key=lambda at: (abs(at[0] - row), abs(at[1] - column)), default=None)

    def _choose(self, at: tuple[int, int]) -> None:
        if at == self._shown:
            return
        self._shown = at
        self.update()
        self.chosen.emit(self._wells[at].name)

    def event(self, event: Any) -> bool:
        """Tell in a tooltip what is known of a well."""
        if event.type() == QEvent.Type.ToolTip:
            assert isinstance(event, QHelpEvent)
            at = self._at(event.pos())
            QToolTip.showText(event.globalPos(), "" if at is None else self.words(at), self)
            return True
        handled: bool = super().event(event)
        return handled

    def words(self, at: tuple[int, int]) -> str:
        """Return what is known of a well, a line each."""
        well = self._wells[at]
        count = len(well.sites)
        lines = [f"{well.name}: {count} site{'' if count == 1 else 's'}"]
        if well.name in self._values:
            lines.append(f"{self._named}: {self._values[well.name]:g}")
        if well.name in self._said:
            lines.append(self._said[well.name])
        lines += [f"{name}: {value}" for name, value in well.facts if name != self._named]
        return "\n".join(lines)


def between(one: QColor, other: QColor, share: float) -> QColor:
    """Return a mixture of two colours."""
    parts = zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*(round(a + (b - a) * share) for a, b in parts))
