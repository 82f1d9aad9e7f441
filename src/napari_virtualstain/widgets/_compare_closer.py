"""How alike are they in view, under the cursor, and along a line? Numbers and two plots."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from napari_virtualstain.napari_io.closer import (
    Joint,
    ViewNumbers,
    joint_histogram,
    numbers_in_view,
    profile_along,
    values_at,
)
from napari_virtualstain.widgets._compare_figure import FigureButtons
from napari_virtualstain.widgets._compare_pair import PairWatch
from napari_virtualstain.widgets._compare_plots import (
    PREDICTED,
    TRUE,
    JointPlot,
    ProfilePlot,
)
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._parts import Wrapped, wide

if TYPE_CHECKING:
    import napari

__all__ = ["Closer"]

_NO_CURSOR = "Cursor: move the mouse over the image."
_PLOTS = {
    "Profile": "Grey values along the row under the cursor, or along a line of a Shapes layer that "
    "is selected",
    "Joint histogram": "How often which predicted grey goes with which true one, in view",
}


class Closer(QWidget):
    """Numbers of what is in view, what is under the cursor, and a plot.

    Parameters
    ----------
    viewer
        Whose mouse is followed.
    watch
        That has what is in view.
    tell, complain
        Take a sentence: what was done, and what could not be.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        watch: PairWatch,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._viewer, self._watch, self._background = viewer, watch, Background(self)
        self._range: float | None = None
        self._pointed: tuple[float, float] | None = None
        self.numbers = Wrapped()
        self.cursor = Wrapped(_NO_CURSOR)
        self.plot = wide(QComboBox())
        self.profile = ProfilePlot(viewer)
        self.joint = JointPlot(viewer)
        self.figure = FigureButtons(viewer, watch, tell, complain)
        self._arrange()
        self.plot.currentIndexChanged.connect(self._stack.setCurrentIndex)
        watch.read.connect(self._measure)
        watch.flat.connect(self.clear)

    def look_at(self, range_: float | None) -> None:
        """Say what is in view of another pair.

        Parameters
        ----------
        range_
            Of its truth, to which SSIM is relative.
        """
        self._range = range_
        if self._moved not in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.append(self._moved)
        self._measure()

    def clear(self) -> None:
        """Say nothing: nothing is in view."""
        self.numbers.clear()
        self.cursor.setText(_NO_CURSOR)
        self._pointed = None
        self.joint.show_joint(None)
        self.profile.show_profile(None, (0.0, 1.0), "")

    def leave(self) -> None:
        """Follow the mouse no more."""
        if self._moved in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._moved)
        self.clear()

    def _measure(self) -> None:
        pair, range_ = self._watch.pair, self._range
        if pair is None or self._moved not in self._viewer.mouse_move_callbacks:
            return

        def take(found: tuple[ViewNumbers, Joint | None]) -> None:
            if self._watch.pair is pair:
                self.numbers.setText(_said(found[0]))
                self.joint.show_joint(found[1])

        self._background.run(
            "numbers",
            lambda: (numbers_in_view(pair, range_), joint_histogram(pair)),
            take,
            self.numbers.setText,
        )
        self._read_out()

    def _moved(self, viewer: napari.Viewer, event: Any) -> None:
        del viewer
        if self._watch.of is None:
            return
        predicted = self._watch.of[0]
        at = predicted.world_to_data(event.position[-predicted.ndim :])[-2:]
        self._pointed = (float(at[0]), float(at[1]))
        self._read_out()

    def _read_out(self) -> None:
        """Say what is under the cursor, and along the line."""
        pair, point = self._watch.pair, self._pointed
        if pair is None or self._watch.of is None:
            return
        found = None if point is None else values_at(pair, point)
        if point is None or found is None:
            self.cursor.setText(_NO_CURSOR)
        else:
            row, column = (round(value) for value in point)
            predicted, true = found
            self.cursor.setText(
                f"Row {row}, column {column}: {_coloured('predicted', PREDICTED)} {predicted:.4g}, "
                f"{_coloured('true', TRUE)} {true:.4g}, difference {predicted - true:+.4g}."
            )
        line = _drawn_line(self._viewer, self._watch.of[0])
        if line is None and point is not None and found is not None:
            line = (point[0], float(pair.region[1])), (point[0], float(pair.region[3] - 1))
        if line is not None:
            low, high = (float(v) for v in self._watch.of[1].contrast_limits)
            along = profile_along(pair, *line)
            length = _length(self._watch.of[0], *line)
            self.profile.show_profile(along, (low, high), length)

    def _arrange(self) -> None:
        self._stack = QStackedWidget()
        for name, about in _PLOTS.items():
            self.plot.addItem(name)
            self.plot.setItemData(self.plot.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        self.plot.setToolTip("\n".join(f"{name}: {about}" for name, about in _PLOTS.items()))
        self._stack.addWidget(self.profile)
        self._stack.addWidget(self.joint)
        row = QHBoxLayout()
        row.addWidget(QLabel("Plot"))
        row.addWidget(self.plot, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.numbers)
        column.addWidget(self.cursor)
        column.addLayout(row)
        column.addWidget(self._stack)
        column.addWidget(self.figure)


def _said(found: ViewNumbers) -> str:
    """Return the numbers in words, and of what they are."""
    if not found.pixels:
        return "In view: no pixel that both have."
    numbers = ", ".join(
        f"{name} {value:{how}}"
        for name, value, how in (
            ("PCC", found.pcc, ".3f"), ("SSIM", found.ssim, ".3f"),
            ("MAE", found.mae, ".4g"), ("gain", found.gain, ".2f"),
        )
        if math.isfinite(value)
    )  # fmt: skip
    coarse = (
        "" if found.every <= 1 else f" One pixel stands for {found.every:.3g}: zoom in for all."
    )
    return f"In view: {numbers or 'constant pixels, so no score'} ({found.pixels:,} px).{coarse}"


def _coloured(word: str, colour: str) -> str:
    return f'<span style="color: {colour}">{word}</span>'


def _drawn_line(
    viewer: napari.Viewer, layer: Image
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the last line or path of the Shapes layer that is selected, in pixels of a layer."""
    shapes = viewer.layers.selection.active
    if not isinstance(shapes, Shapes):
        return None
    lines = [
        data for data, kind in zip(shapes.data, shapes.shape_type, strict=True) if kind == "line"
    ]
    if not lines:
        return None
    ends = []
    for point in lines[-1]:
        world = np.asarray(viewer.dims.point, dtype=float)
        world[-shapes.ndim :] = shapes.data_to_world(point)
        ends.append(layer.world_to_data(world[-layer.ndim :])[-2:])
    (y0, x0), (y1, x1) = ends
    return (float(y0), float(x0)), (float(y1), float(x1))


def _length(layer: Image, start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return how long a line is, in the unit of its layer."""
    along = np.hypot(*((np.asarray(end) - np.asarray(start)) * np.abs(layer.scale[-2:])))
    unit = f"{layer.units[-1]:~P}"
    return f"{along:.4g} {unit}"
