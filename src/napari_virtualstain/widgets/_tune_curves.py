"""How does a tuning go? Loss and correlation over steps, with the base model's level, painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtualstain.jobs.tuning_run import Curves

__all__ = ["CurvesView", "Line", "lines_of", "span_of"]

_HEIGHT, _GAP = 104, 20
"""Of one of the two plots, and between them, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 16, 16
_AWAY = 10
"""A budget that is this many times what is done is not known yet."""

_FINE = 0.1
"""Span below which values are said with a digit more."""

Line = tuple[str, str, list[tuple[float, float]]]
"""Its name, its style (``train``, ``held``, ``base``, ``floor``), and points (step, value)."""


class CurvesView(QWidget):
    """Two plots over one axis of steps: the loss, and the correlation of a stain.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.curves: Curves | None = None
        self.stain = 0
        self.marked: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(2 * _HEIGHT + _GAP)
        self.setToolTip(
            "Thin: what teaches. Thick: fields that are held back. Dashed: the base model on them. "
            "Dotted: the best linear filter of the bright field, which needs no network"
        )
        viewer.events.theme.connect(self._repaint)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for the width of a narrow dock."""
        return QSize(300, 2 * _HEIGHT + _GAP)

    def show_curves(self, curves: Curves | None, stain: int, marked: int | None = None) -> None:
        """Show these curves.

        Parameters
        ----------
        curves
            Read from a run.
        stain
            Number of the stain whose correlation is shown.
        marked
            A step that is looked at.
        """
        self.curves, self.stain, self.marked = curves, stain, marked
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Paint both plots."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 6.5))
        painter.setFont(font)
        if self.curves is not None and self.curves.points:
            for number, (title, lines) in enumerate(lines_of(self.curves, self.stain)):
                area = QRectF(0, number * (_HEIGHT + _GAP), self.width(), _HEIGHT)
                self._plot(painter, area, title, lines, self.curves)
        painter.end()

    def _plot(
        self, painter: QPainter, area: QRectF, title: str, lines: Sequence[Line], curves: Curves
    ) -> None:
        theme = get_theme(self._viewer.theme)
        text, faint = QColor(theme.text.as_hex()), QColor(theme.secondary.as_hex())
        strong = QColor(theme.current.as_hex())
        inner = area.adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(inner)
        low, high = span_of(lines)
        last = _last_step(curves)
        painter.setPen(text)
        painter.drawText(QPointF(inner.left(), area.top() + 11), title)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        digits = 3 if high - low < _FINE else 2
        for value, y in ((high, inner.top()), (low, inner.bottom())):
            box = QRectF(area.left(), y - 8, _LEFT - 4, 16)
            painter.drawText(box, flags, f"{value:.{digits}f}")
        below = QRectF(inner.left(), inner.bottom() + 1, inner.width(), _BOTTOM)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{last} steps")

        def place(step: float, value: float) -> QPointF:
            return QPointF(
                inner.left() + inner.width() * step / last,
                inner.bottom() - inner.height() * (value - low) / (high - low),
            )

        painter.setClipRect(inner.adjusted(-1, -1, 1, 1))
        if self.marked is not None:
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawLine(place(self.marked, low), place(self.marked, high))
        pens = {
            "train": QPen(faint.lighter(170), 1.4),
            "held": QPen(strong.lighter(160), 2.4),
            "base": QPen(text, 1.2, Qt.PenStyle.DashLine),
            "floor": QPen(faint.lighter(140), 1.2, Qt.PenStyle.DotLine),
        }
        for _, style, points in lines:
            painter.setPen(pens[style])
            path = QPainterPath()
            for n, (step, value) in enumerate(points):
                at = place(step, min(max(value, low), high))
                (path.lineTo if n else path.moveTo)(at)
            painter.drawPath(path)
        painter.setClipping(False)
        right = inner.right()
        for name, style, _ in reversed(lines):
            painter.setPen(pens[style])
            width = painter.fontMetrics().horizontalAdvance(name)
            painter.drawText(QPointF(right - width, area.top() + 11), name)
            painter.drawLine(
                QPointF(right - width - 22, area.top() + 7),
                QPointF(right - width - 5, area.top() + 7),
            )
            right -= width + 32

    def _repaint(self, event: Any = None) -> None:
        del event
        self.update()


def lines_of(curves: Curves, stain: int) -> list[tuple[str, list[Line]]]:
    """Return the plots: a title and lines; a plot without a line is left out.

    Parameters
    ----------
    curves
        Of a run, with points.
    stain
        Number of the stain whose correlation is shown.
    """
    last = float(_last_step(curves))
    base = curves.base
    loss: list[Line] = [
        ("train", "train", [(p.step, p.train) for p in curves.points if p.train is not None]),
        ("held back", "held", [(p.step, p.held) for p in curves.points if p.held is not None]),
        ("base", "base", [] if base.held is None else [(0.0, base.held), (last, base.held)]),
    ]
    held = [(float(p.step), v) for p in curves.points if (v := p.pcc[stain]) is not None]
    level = base.pcc[stain]
    floor = curves.floor[stain] if curves.floor else None
    pcc: list[Line] = [
        ("held back", "held", held),
        ("base", "base", [] if level is None else [(0.0, level), (last, level)]),
        ("floor", "floor", [] if floor is None else [(0.0, floor), (last, floor)]),
    ]
    plots = [("Loss", loss), (f"Correlation, {curves.stains[stain]}", pcc)]
    return [(title, some) for title, lines in plots if (some := [one for one in lines if one[2]])]


def span_of(lines: Sequence[Line]) -> tuple[float, float]:
    """Return between which values lines are shown; spikes of what teaches are cut off."""
    told = sorted(value for _, style, points in lines if style != "train" for _, value in points)
    taught = sorted(value for _, style, points in lines if style == "train" for _, value in points)
    told += taught[: max(1, round(0.95 * len(taught)))]
    low, high = min(told), max(told)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _last_step(curves: Curves) -> int:
    done = curves.points[-1].step
    far = curves.steps > _AWAY * max(done, 1000)
    return max(done if far else curves.steps, 1)
