"""How are numbers spread over plates, wells or treatments? A point each, a box over each group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QToolTip

from napari_virtualstain.widgets._compare_plots import Plot

__all__ = ["COLOURS", "Dot", "StripPlot"]

COLOURS = ("#4c9be8", "#f2a33a", "#43b06f", "#d66bd6", "#b0a030", "#e0605a")
"""Of models, in order; told apart by people who see no difference between red and green."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 18
_RADIUS = 2.6
_NEAR = 9.0
"""Pixels within which a click means a point."""
_WITH_BOX = 4
"""Points from which on a box is drawn: of fewer it would say more than they do."""


@dataclass(frozen=True, slots=True, eq=False)
class Dot:
    """One number.

    Parameters
    ----------
    group
        Along the plot.
    series
        By which it is coloured: the model.
    value
        Finite.
    row
        What is chosen with it.
    name
        For the tooltip.
    """

    group: str
    series: str
    value: float
    row: Any
    name: str


class StripPlot(Plot):
    """Points by group, coloured by series, to click on.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    """

    picked = Signal(object)
    """The row of a point that was clicked."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._dots: tuple[Dot, ...] = ()
        self._groups: list[str] = []
        self._series: list[str] = []
        self._floor: float | None = None
        self._chosen: Any = None
        self.setMouseTracking(True)
        self.setAccessibleName("Numbers by group")

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, from left to right."""
        return tuple(self._groups)

    def show_dots(self, dots: Sequence[Dot], floor: float | None) -> None:
        """Show other points.

        Parameters
        ----------
        dots
            In any order.
        floor
            Where a dashed line is drawn, if anywhere.
        """
        self._dots = tuple(dots)
        self._groups = sorted({dot.group for dot in dots}, key=_natural)
        self._series = list(dict.fromkeys(dot.series for dot in dots))
        self._floor = floor if floor is not None and np.isfinite(floor) else None
        self.update()

    def ring(self, row: Any) -> None:
        """Draw a ring around the point of a row."""
        self._chosen = row
        self.update()

    def place_of(self, row: Any) -> QPointF | None:
        """Return where the point of a row lies, `None` if there is none."""
        return next((at for dot, at in self._placed() if dot.row is row), None)

    # --- Qt's own ---------------------------------------------------------------------------------

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Choose the point that is clicked."""
        dot = self._near(event.position())
        if dot is not None:
            self.picked.emit(dot.row)

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802
        """Say which point it is."""
        dot = self._near(event.position())
        self.setCursor(
            Qt.CursorShape.ArrowCursor if dot is None else Qt.CursorShape.PointingHandCursor
        )
        if dot is not None:
            QToolTip.showText(event.globalPosition().toPoint(), f"{dot.name}: {dot.value:.4g}")

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Paint boxes, points and the floor."""
        del event
        painter, text, faint = self.begin()
        inner = self._inner()
        low, high = self._span()
        if not self._dots:
            self.frame(painter, inner, (text, faint), ("", ""), ("", "no numbers", ""))
            painter.end()
            return
        ends = f"{low:.3g}", f"{high:.3g}"
        self.frame(painter, inner, (text, faint), ends, ("", "", ""))
        self._name_groups(painter, inner, text)
        if self._floor is not None:
            y = self._y(inner, self._floor)
            painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(inner.left(), y), QPointF(inner.right(), y))
        self._boxes(painter, inner, faint)
        for dot, at in self._placed():
            colour = QColor(COLOURS[self._series.index(dot.series) % len(COLOURS)])
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(at, _RADIUS, _RADIUS)
            if dot.row is self._chosen:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(text, 1.6))
                painter.drawEllipse(at, _RADIUS + 3, _RADIUS + 3)
        painter.end()

    # --- geometry ---------------------------------------------------------------------------------

    def _inner(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)

    def _span(self) -> tuple[float, float]:
        values = [dot.value for dot in self._dots]
        values += [] if self._floor is None else [self._floor]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        return low - room, high + room

    def _y(self, inner: QRectF, value: float) -> float:
        low, high = self._span()
        return float(inner.bottom() - inner.height() * (value - low) / (high - low))

    def _lane(self, inner: QRectF, group: str, series: str) -> tuple[float, float]:
        """Return the middle of where a series of a group lies, and its width."""
        wide = inner.width() / len(self._groups)
        lane = 0.8 * wide / len(self._series)
        left = inner.left() + wide * (self._groups.index(group) + 0.1)
        return left + lane * (self._series.index(series) + 0.5), lane

    def _placed(self) -> list[tuple[Dot, QPointF]]:
        inner, found, counts = self._inner(), [], dict[tuple[str, str], int]()
        for dot in self._dots:
            middle, lane = self._lane(inner, dot.group, dot.series)
            number = counts[dot.group, dot.series] = counts.get((dot.group, dot.series), -1) + 1
            # Beside each other by the golden section: evenly, and the same at each look.
            aside = (number * 0.618034) % 1 - 0.5 if number else 0.0
            found.append((dot, QPointF(middle + 0.7 * lane * aside, self._y(inner, dot.value))))
        return found

    def _near(self, at: QPointF) -> Dot | None:
        away = [
            (float(np.hypot(place.x() - at.x(), place.y() - at.y())), number)
            for number, (_, place) in enumerate(self._placed())
        ]
        nearest = min(away, default=(np.inf, -1))
        return self._dots[nearest[1]] if nearest[0] <= _NEAR else None

    def _boxes(self, painter: QPainter, inner: QRectF, faint: QColor) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(faint, 1.4))
        for group in self._groups:
            for series in self._series:
                values = [d.value for d in self._dots if (d.group, d.series) == (group, series)]
                if len(values) < _WITH_BOX:
                    continue
                middle, lane = self._lane(inner, group, series)
                half = min(0.45 * lane, 24.0)
                low, median, high = (
                    self._y(inner, float(q)) for q in np.quantile(values, (0.25, 0.5, 0.75))
                )
                painter.drawRect(QRectF(QPointF(middle - half, high), QPointF(middle + half, low)))
                painter.drawLine(QPointF(middle - half, median), QPointF(middle + half, median))

    def _name_groups(self, painter: QPainter, inner: QRectF, text: QColor) -> None:
        """Write names below where there is room; of many, some."""
        painter.setPen(text)
        metrics = painter.fontMetrics()
        wide = inner.width() / len(self._groups)
        longest = max(metrics.horizontalAdvance(group) for group in self._groups) + 6
        every = max(1, int(np.ceil(min(longest, 70) / wide)))
        for number in range(0, len(self._groups), every):
            room = wide * every
            name = metrics.elidedText(
                self._groups[number], Qt.TextElideMode.ElideRight, int(room) - 2
            )
            middle = inner.left() + wide * (number + 0.5)
            left = min(max(middle - room / 2, inner.left()), inner.right() - room)
            centre = every == 1
            row = QRectF(
                left if centre else inner.left() + wide * number, inner.bottom() + 1, room, _BOTTOM
            )
            painter.drawText(
                row, Qt.AlignmentFlag.AlignHCenter if centre else Qt.AlignmentFlag.AlignLeft, name
            )


def _natural(name: str) -> list[Any]:
    """Return by what names are sorted: numbers in them by their size."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name) if p]
