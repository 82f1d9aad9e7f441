"""The images of a list, in order: what became of each, and which one is stained now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qtpy.QtCore import QItemSelectionModel, QModelIndex, Signal
from qtpy.QtWidgets import QSizePolicy

from napari_virtualstain.jobs.batch_item import Item, Key
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._row_table import RIGHT, Column, RowTable
from napari_virtualstain.words import duration

__all__ = ["QueueTable"]

_WHY = 3
_SIGNS = {"waiting": "·", "running": "▶", "done": "✓", "failed": "✗"}
_HEIGHT = 190


class QueueTable(RowTable):
    """A table of images to choose from."""

    opened = Signal(object)
    """An item whose result is to be shown."""
    chosen = Signal()
    """Other rows are selected."""

    def __init__(self) -> None:
        self._tiles = ""
        super().__init__(
            (
                Column(title="Image", text=_name),
                Column(title="State", width=92, text=self._state),
                Column(title="Time", width=52, text=_time, align=RIGHT),
                Column(title="Why", width=100, text=lambda item: words_of(item.sentence)),
            ),
            lambda item: "\n".join(
                part for part in (item.name, item.input, words_of(item.sentence)) if part
            ),
            many=True,
        )
        self.setMinimumHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip("Double click shows the stain of an image that is done")
        self.setColumnHidden(_WHY, True)
        self.doubleClicked.connect(lambda index: self.opened.emit(self.items[index.row()]))
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())

    @property
    def items(self) -> tuple[Item, ...]:
        """What is shown."""
        return self.row_model.rows

    def show_items(self, items: Sequence[Item], tiles: str = "") -> None:
        """Show these images; what is selected stays so.

        Parameters
        ----------
        items
            In order.
        tiles
            How far the one is that is stained.
        """
        model, items, before = self.row_model, tuple(items), self.items
        self.setColumnHidden(_WHY, not any(item.sentence for item in items))
        self._tiles = tiles
        if [item.key for item in items] == [item.key for item in before]:
            changed = [
                row for row, (new, old) in enumerate(zip(items, before, strict=True))
                if new != old or new.state == "running"
            ]  # fmt: skip
            model.rows = items
            for row in changed:
                model.dataChanged.emit(model.index(row, 0), model.index(row, _WHY))
            return
        selected = self.selected_keys()
        model.replace(items)
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
                selection.select(self.row_model.index(row, 0), flags.Select | flags.Rows)
        selection.blockSignals(False)
        self.chosen.emit()

    def _state(self, item: Item) -> str:
        state = self._tiles if item.state == "running" and self._tiles else item.state
        return f"{_SIGNS[item.state]} {state}"


def _name(item: Item) -> str:
    name = Path(item.input).name
    return f"{item.scene} in {name}" if item.scene else name


def _time(item: Item) -> str:
    if item.state not in ("done", "failed"):
        return ""
    return f"{item.seconds:.1f} s" if item.seconds < 10 else duration(item.seconds)
