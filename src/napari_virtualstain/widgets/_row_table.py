"""A table of many rows, which a table of widgets would be slow with: one model for all pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableView

__all__ = ["MIDDLE", "RIGHT", "Column", "RowModel", "RowTable"]

RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
MIDDLE = Qt.AlignmentFlag.AlignCenter
_ROW = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column says of a row.

    Parameters
    ----------
    title
        Above it.
    text
        Takes a row.
    width
        In pixels; `None` takes what the others leave.
    about
        Tooltip of the title.
    align
        Left if `None`.
    colour
        Takes a row, returns ``#rrggbb``; the theme's if `None`.
    """

    title: str
    text: Callable[[Any], str]
    width: int | None = None
    about: str = ""
    align: Any = None
    colour: Callable[[Any], str] | None = None


class RowModel(QAbstractTableModel):
    """Rows of any kind, shown by columns.

    Parameters
    ----------
    parent
        As in Qt.
    columns
        From left to right.
    tip
        Takes a row, returns its tooltip.
    """

    def __init__(self, parent: Any, columns: Sequence[Column], tip: Callable[[Any], str]) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.rows: tuple[Any, ...] = ()
        self._tip = tip

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: Any = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return the title of a column, and what it is about."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        return column.about or None if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: Any, role: int = 0) -> Any:
        """Return what a cell says, and how."""
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row)
        if role == Qt.ItemDataRole.ForegroundRole and column.colour is not None:
            return QColor(column.colour(row))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return column.align
        return None

    def replace(self, rows: Sequence[Any], columns: Sequence[Column] | None = None) -> None:
        """Show other rows, and perhaps other columns."""
        self.beginResetModel()
        self.rows = tuple(rows)
        self.columns = self.columns if columns is None else tuple(columns)
        self.endResetModel()


class RowTable(QTableView):
    """A table of rows to go through with the arrow keys.

    Parameters
    ----------
    columns
        From left to right.
    tip
        Takes a row, returns its tooltip.
    many
        Whether several rows can be selected.
    """

    def __init__(
        self, columns: Sequence[Column], tip: Callable[[Any], str], *, many: bool = False
    ) -> None:
        super().__init__()
        mode = QAbstractItemView.SelectionMode
        self.row_model = RowModel(self, columns, tip)
        self.setModel(self.row_model)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(mode.ExtendedSelection if many else mode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalHeader().setMinimumSectionSize(20)
        self.fit_columns()

    def fit_columns(self) -> None:
        """Give the columns their widths."""
        header = self.horizontalHeader()
        for number, column in enumerate(self.row_model.columns):
            stretch = column.width is None
            header.setSectionResizeMode(
                number,
                QHeaderView.ResizeMode.Stretch if stretch else QHeaderView.ResizeMode.Interactive,
            )
            if column.width is not None:
                self.setColumnWidth(number, column.width)

    @property
    def current(self) -> Any:
        """The row that is chosen, `None` for none."""
        index = self.currentIndex()
        return self.row_model.rows[index.row()] if index.isValid() else None

    def text(self, number: int) -> tuple[str, ...]:
        """Return what a row says."""
        row = self.row_model.rows[number]
        return tuple(column.text(row) for column in self.row_model.columns)

    def choose(self, row: Any) -> bool:
        """Choose a row; return whether it is shown."""
        rows = self.row_model.rows
        number = next((n for n, one in enumerate(rows) if one is row), None)
        if number is None:
            return False
        self.selectRow(number)
        return True

    def as_text(self) -> str:
        """Return the table as a spreadsheet takes it: lines, with tabs between the cells."""
        head = [column.title for column in self.row_model.columns]
        rows = [self.text(number) for number in range(len(self.row_model.rows))]
        return "\n".join("\t".join(line) for line in [head, *rows])
