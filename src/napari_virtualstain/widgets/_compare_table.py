"""The numbers of a comparison, a stain a row: names stay, numbers scroll sideways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
)

__all__ = ["ScoreTable"]

_COLUMNS = {
    "pcc": ("PCC", "Pearson correlation with the truth; 1 is perfect, 0 is chance"),
    "floor_pcc": (
        "Floor",
        (
            "PCC that the best linear filter of the bright field reaches on the same pixels: "
            "a model that is not above it has learnt nothing"
        ),
    ),
    "perceptual": (
        "Seen",
        (
            "How far apart what the classifier sees of prediction and truth is, place by place; 0 "
            "is alike"
        ),
    ),
    "perceptual_misplaced": (
        "Flip",
        (
            "The same of the truth from itself flipped: what the right texture in the wrong "
            "places would have. A good prediction lies well below it"
        ),
    ),
    "fid": (
        "FID",
        (
            "Fréchet distance between the features of all crops and those of the truth, wherever "
            "they lie; 0 is alike. Only where there are more crops than features"
        ),
    ),
    "kid": ("KID", "Kernel distance between the same; around 0 is alike"),
    "ssim": ("SSIM", "Mean structural similarity, relative to the range of the truth"),
    "psnr": ("PSNR", "Peak signal-to-noise ratio in dB, relative to the range of the truth"),
    "mae": ("MAE", "Mean absolute error in the unit of the truth"),
    "gain": (
        "Gain",
        (
            "Slope of the line through the prediction over the truth: 1 is right, 2 is a stain "
            "twice as bright. A blur lowers it too"
        ),
    ),
    "detail": (
        "Detail",
        (
            "Power of the prediction in structures of 2 to 4 px, over that of the truth: 1 is "
            "right, a blur is near 0. Camera noise of the truth lowers it, and no model can "
            "predict that"
        ),
    ),
    "mse": ("MSE", "Mean squared error in the squared unit of the truth; PSNR says the same"),
}
"""By the name of the score; those that matter most first."""
_ASKED = ("perceptual", "perceptual_misplaced", "fid", "kid")
"""Columns that are there where they were asked for."""
_SHARES = ("pcc", "floor_pcc", "ssim", "perceptual", "perceptual_misplaced")
_HIGHEST = 300


class ScoreTable(QTableWidget):
    """Scores by stain; the row that is chosen names the stain that is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._columns = {name: said for name, said in _COLUMNS.items() if name not in _ASKED}
        self._head()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        # The names of the rows: they stay where they are when the numbers scroll.
        self.verticalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalHeader().setMinimumSectionSize(20)

    @property
    def stains(self) -> list[str]:
        """Names of the rows."""
        return [self.verticalHeaderItem(row).text() for row in range(self.rowCount())]

    @property
    def stain(self) -> str | None:
        """Name of the row that is chosen."""
        rows = self.selectionModel().selectedRows()
        return self.stains[rows[0].row()] if rows else None

    def choose(self, stain: str) -> None:
        """Choose a row by the name of its stain, the first if there is no such row."""
        self.clearSelection()
        self.selectRow(self.stains.index(stain) if stain in self.stains else 0)

    def show_scores(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other scores; no row is chosen.

        Parameters
        ----------
        rows
            By stain, as ``Evaluation.to_json`` has them.
        """
        self.clearSelection()
        there = {name for row in rows for name in _ASKED if row[name] is not None}
        self._columns = {n: s for n, s in _COLUMNS.items() if n not in _ASKED or n in there}
        self._head()
        self.setRowCount(len(rows))
        self.setVerticalHeaderLabels([str(row["stain"]) for row in rows])
        for number, row in enumerate(rows):
            for column, (name, (_, about)) in enumerate(self._columns.items()):
                item = QTableWidgetItem(_text(name, _value(name, row)))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(about)
                self.setItem(number, column, item)
        self.resizeColumnsToContents()
        self._fit()

    def as_text(self) -> str:
        """Return the table as a spreadsheet takes it: lines, with tabs between the cells."""
        rows = [["Stain", *(title for title, _ in self._columns.values())]]
        for number, stain in enumerate(self.stains):
            cells = (self.item(number, column).text() for column in range(len(self._columns)))
            rows.append([stain, *cells])
        return "\n".join("\t".join(row) for row in rows)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Fit the height: in a wide dock there is no bar to scroll with."""
        super().resizeEvent(event)
        self._fit()

    def _head(self) -> None:
        """Name the columns, and say what they mean."""
        self.setColumnCount(len(self._columns))
        self.setHorizontalHeaderLabels([title for title, _ in self._columns.values()])
        for column, (_, about) in enumerate(self._columns.values()):
            self.horizontalHeaderItem(column).setToolTip(about)

    def _fit(self) -> None:
        """Be as high as the rows are, and what is around them."""
        height = self.horizontalHeader().height() + 4
        height += sum(self.rowHeight(row) for row in range(self.rowCount()))
        if self.horizontalHeader().length() > self.viewport().width():
            height += self.horizontalScrollBar().sizeHint().height()
        if self.height() != min(height, _HIGHEST) and self.rowCount():
            self.setFixedHeight(min(height, _HIGHEST))


def _value(name: str, row: Mapping[str, Any]) -> Any:
    if name == "detail":
        return (row["band_power"] or [None])[-1]
    return row[name]


def _text(name: str, value: Any) -> str:
    """Return a score with as many digits as mean something."""
    if value is None:
        return "-"
    if name in _SHARES:
        return f"{value:.3f}"
    if name == "psnr":
        return f"{value:.1f}"
    if name in ("gain", "detail"):
        return f"{value:.2f}"
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
