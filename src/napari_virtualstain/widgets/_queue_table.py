"""The images of a list, in order: what became of each, and which one is stained now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableView

from napari_virtualstain.jobs.batch_item import Item, Key
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.words import duration

__all__ = ["QueueTable"]

_COLUMNS = ("Image", "State", "Time", "Why")
_WIDTHS = (None, 92, 52, 100)
_SIGNS = {"waiting": "·", "running": "▶", "done": "✓", "failed": "✗"}
_HEIGHT = 190


class _Model(QAbstractTableModel):
    """Items as rows; a plate has thousands, which a table of widgets would be slow with."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.items: tuple[Item, ...] = ()
        self.tiles = ""

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802
        """Return the number of images."""
        return 0 if parent is not None and parent.isValid() else len(self.items)

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
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(item, _COLUMNS[index.column()])
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(
                part for part in (item.name, item.input, words_of(item.sentence)) if part
            )
        if role == Qt.ItemDataRole.TextAlignmentRole and _COLUMNS[index.column()] == "Time":
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def text(self, item: Item, column: str) -> str:
        """Return what a column says of an image."""
        if column == "Image":
            name = Path(item.input).name
            return f"{item.scene} in {name}" if item.scene else name
        if column == "State":
            state = self.tiles if item.state == "running" and self.tiles else item.state
            return f"{_SIGNS[item.state]} {state}"
        if column == "Time":
            return _time(item.seconds) if item.state in ("done", "failed") else ""
        return words_of(item.sentence)


class QueueTable(QTableView):
    """A table of images to choose from."""

    opened = Signal(object)
    """An item whose result is to be shown."""
    chosen = Signal()
    """Other rows are selected."""

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model(self)
        self.setModel(self._model)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setMinimumHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip("Double click shows the stain of an image that is done")
        header = self.horizontalHeader()
        for column, width in enumerate(_WIDTHS):
            if width is None:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            else:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
                self.setColumnWidth(column, width)
        self.setColumnHidden(_COLUMNS.index("Why"), True)
        self.doubleClicked.connect(lambda index: self.opened.emit(self._model.items[index.row()]))
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())

    @property
    def items(self) -> tuple[Item, ...]:
        """What is shown."""
        return self._model.items

    def text(self, row: int) -> tuple[str, ...]:
        """Return what a row says."""
        return tuple(self._model.text(self.items[row], column) for column in _COLUMNS)

    def show_items(self, items: Sequence[Item], tiles: str = "") -> None:
        """Show these images; what is selected stays so.

        Parameters
        ----------
        items
            In order.
        tiles
            How far the one is that is stained.
        """
        model, items = self._model, tuple(items)
        failed = any(item.sentence for item in items)
        self.setColumnHidden(_COLUMNS.index("Why"), not failed)
        if [item.key for item in items] == [item.key for item in model.items]:
            changed = [
                row for row, (new, old) in enumerate(zip(items, model.items, strict=True))
                if new != old or new.state == "running"
            ]  # fmt: skip
            model.items, model.tiles = items, tiles
            for row in changed:
                model.dataChanged.emit(model.index(row, 0), model.index(row, len(_COLUMNS) - 1))
            return
        selected = self.selected_keys()
        model.beginResetModel()
        model.items, model.tiles = items, tiles
        model.endResetModel()
        self.select(selected)

    def selected_keys(self) -> set[Key]:
        """Return the keys of the images that are selected."""
        rows: Iterable[QModelIndex] = self.selectionModel().selectedRows()
        return {self.items[index.row()].key for index in rows}

    def select(self, keys: Iterable[Key]) -> None:
        """Select images."""
        wanted, flags = set(keys), QItemSelectionModel.SelectionFlag
        selection = self.selectionModel()
        selection.blockSignals(True)
        selection.clearSelection()
        for row, item in enumerate(self.items):
            if item.key in wanted:
                selection.select(self._model.index(row, 0), flags.Select | flags.Rows)
        selection.blockSignals(False)
        self.chosen.emit()


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
