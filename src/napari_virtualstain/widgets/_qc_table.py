"""The judged fields, worst first: state, reason, and what somebody decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableView

from napari_virtualstain.widgets._qc_words import COLOURS, SIGNS, VERDICT_SIGNS, Row

__all__ = ["JudgedTable"]

_COLUMNS = ("", "Field", "Worst", "Decided")
_WIDTHS = (24, 64, None, 58)
_HEIGHT = 170


class _Model(QAbstractTableModel):
    """Fields as rows; a plate has thousands, which a table of widgets would be slow with."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.rows: tuple[Row, ...] = ()
        self.verdicts: Mapping[int, str] = {}
        self.plates = 0

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802
        """Return the number of fields."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: Any = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return the name of a column."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section]
        return None

    def data(self, index: Any, role: int = 0) -> Any:
        """Return what a cell says."""
        row, column = self.rows[index.row()], _COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(part for part in (row["name"], row["state"], row["reason"]) if part)
        if role == Qt.ItemDataRole.ForegroundRole and not column:
            return QColor(COLOURS[row["state"]])
        if role == Qt.ItemDataRole.TextAlignmentRole and not column:
            return Qt.AlignmentFlag.AlignCenter
        return None

    def text(self, row: Row, column: str) -> str:
        """Return what a column says of a field."""
        if not column:
            return SIGNS[row["state"]]
        if column == "Field":
            return _place(row, self.plates > 1) if row["well"] else str(row["name"])
        if column == "Worst":
            return str(row["reason"]) or "nothing unusual"
        verdict = self.verdicts.get(id(row), "")
        return f"{VERDICT_SIGNS[verdict]} {_SHORT[verdict]}" if verdict else ""


_SHORT = {"accepted": "good", "rejected": "bad", "rejected in part": "in part"}


class JudgedTable(QTableView):
    """Rows to go through with the arrow keys; A accepts, R rejects, U takes a decision back."""

    chosen = Signal()
    """Another row is current."""
    pressed_key = Signal(str)
    """``"a"``, ``"r"`` or ``"u"``."""

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model(self)
        self.setModel(self._model)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setFixedHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Judged fields")
        self.setToolTip("Arrow keys go through the fields; A accepts, R rejects, U takes it back")
        header = self.horizontalHeader()
        header.setMinimumSectionSize(20)
        for column, width in enumerate(_WIDTHS):
            if width is None:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            else:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
                self.setColumnWidth(column, width)
        self.selectionModel().currentRowChanged.connect(lambda *_: self.chosen.emit())

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown."""
        return self._model.rows

    @property
    def row(self) -> Row | None:
        """The field that is chosen."""
        index: QModelIndex = self.currentIndex()
        return self.rows[index.row()] if index.isValid() else None

    def text(self, number: int) -> tuple[str, ...]:
        """Return what a row says."""
        return tuple(self._model.text(self.rows[number], column) for column in _COLUMNS)

    def show_rows(self, rows: Sequence[Row], verdicts: Mapping[int, str]) -> None:
        """Show these fields; the one that is chosen stays so, if it is there.

        Parameters
        ----------
        rows
            In order.
        verdicts
            What was decided, by ``id`` of the row.
        """
        before = self.row
        model = self._model
        self.selectionModel().blockSignals(True)
        model.beginResetModel()
        model.rows, model.verdicts = tuple(rows), verdicts
        model.plates = len({row["plate"] for row in rows})
        model.endResetModel()
        if before is not None:
            self.choose(before)
        self.selectionModel().blockSignals(False)

    def choose(self, row: Row) -> bool:
        """Choose a field; return whether it is shown."""
        number = next((n for n, one in enumerate(self.rows) if one is row), None)
        if number is None:
            return False
        self.selectRow(number)
        return True

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Decide with a key."""
        key = event.text().lower()
        if key in ("a", "r", "u") and self.row is not None:
            self.pressed_key.emit(key)
            return
        super().keyPressEvent(event)


def _place(row: Row, with_plate: bool) -> str:
    """Return where a field of a plate lies, without what all have in common."""
    parts = [row["plate"] if with_plate else "", row["well"], row["site"]]
    name = " ".join(str(part) for part in parts if part)
    return f"{name} t {row['time']}" if " t " in row["name"] else name
