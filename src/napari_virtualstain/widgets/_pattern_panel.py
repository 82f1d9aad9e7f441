"""How are the files of a folder named? A pattern, and at once what it would make of them."""

from __future__ import annotations

from html import escape
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.layouts.pattern import FIELDS, PatternPreview, preview_pattern
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._parts import Wrapped
from napari_virtualstain.words import plural

__all__ = ["PatternPanel"]

_EXAMPLE = "{well}_{site}_z{z}_{channel}.tif"
_SOON_MS = 200
_SHOWN = 4
_DEEPEST = 3
"""Folders in folders that are looked into for names to show."""


class PatternPanel(QWidget):
    """A line for the pattern, and a preview of the first files below it.

    Parameters
    ----------
    background
        In which names are looked through: a folder may have very many.
    """

    opened = Signal(str, str)
    """Folder and pattern that are to be opened."""

    def __init__(self, background: Background) -> None:
        super().__init__()
        self._background = background
        self._folder: Path | None = None
        self._fits = ""
        self.where = Wrapped()
        self.line = QLineEdit()
        self.line.setPlaceholderText(_EXAMPLE)
        known = ", ".join("{" + name + "}" for name in FIELDS)
        self.line.setToolTip(
            f"Braces stand for what varies: {known}; the last is anything. Everything else is "
            "itself, and / goes over folders"
        )
        self.counts = Wrapped()
        self.table = _table()
        self.wrong = Wrapped()
        self.open, self.close_it = QPushButton("Open"), QPushButton("Cancel")
        self._arrange()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self._look)
        self.line.textChanged.connect(self._typed)
        self.line.returnPressed.connect(self._open)
        self.open.clicked.connect(self._open)
        self.close_it.clicked.connect(self.hide)
        self.hide()

    @property
    def folder(self) -> Path | None:
        """Whose names are looked at."""
        return self._folder

    def show_folder(self, folder: Path, pattern: str = "") -> None:
        """Ask how the files of a folder are named.

        Parameters
        ----------
        folder
            With the files.
        pattern
            That it was opened with before.
        """
        self._folder = folder
        self.where.setText(f"How are the files in <b>{escape(folder.name, quote=False)}</b> named?")
        self.line.setText(pattern)
        self.show()
        self.line.setFocus()
        self._look()

    # --- looking ----------------------------------------------------------------------------------

    def _typed(self) -> None:
        self._fits = ""
        self.open.setEnabled(False)
        self._soon.start()

    def _look(self) -> None:
        """Ask what the pattern would make of the folder; the newest question counts."""
        self._soon.stop()
        folder, text = self._folder, self.line.text().strip()
        if folder is None:
            return
        self._background.run(
            "pattern",
            lambda: preview_pattern(folder, text, show=_SHOWN) if text else _names(folder),
            lambda found: self._show(text, found),
            self._refuse,
        )

    def _refuse(self, sentence: str) -> None:
        self.counts.clear()
        self.table.hide()
        self.wrong.setText(escape(sentence, quote=False))

    def _show(self, text: str, found: PatternPreview) -> None:
        if not text:
            names = "<br>".join(escape(name, quote=False) for name, _ in found.examples)
            self.counts.setText(f"{found.files} files, for example:<br><small>{names}</small>")
            self.table.hide()
            self.wrong.clear()
            return
        left = found.files - found.matching
        rest = f"; {plural(left, 'other')} left out" if left and found.matching else ""
        said = f"{found.matching} of {found.files} files fit{rest}. {_kinds(found)}"
        self.counts.setText(said.strip())
        self._fits = text if found.matching else ""
        self.open.setEnabled(bool(found.matching))
        self._show_examples(found)
        first = "".join(
            f"<p style='margin-top:0; margin-bottom:4px'><small><b>{escape(name, quote=False)}</b>:"
            f" {escape(why, quote=False)}.</small></p>"
            for name, why in found.others[: 1 if found.matching else 2]
        )
        self.wrong.setText(first)

    def _show_examples(self, found: PatternPreview) -> None:
        fields = list(found.values)
        self.table.setVisible(bool(found.examples))
        self.table.setColumnCount(1 + len(fields))
        self.table.setHorizontalHeaderLabels([*fields, "File"])
        self.table.setRowCount(len(found.examples))
        for row, (name, values) in enumerate(found.examples):
            for column, text in enumerate([*(values.get(field, "") for field in fields), name]):
                item = QTableWidgetItem(text)
                item.setToolTip(name)
                self.table.setItem(row, column, item)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(fields), QHeaderView.ResizeMode.Stretch)
        rows = sum(self.table.rowHeight(row) for row in range(self.table.rowCount()))
        self.table.setFixedHeight(header.sizeHint().height() + rows + 4)

    def _open(self) -> None:
        text = self.line.text().strip()
        if self._folder is not None and text and text == self._fits:
            self.hide()
            self.opened.emit(str(self._folder), text)

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.open)
        buttons.addWidget(self.close_it)
        self.open.setEnabled(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.where, self.line, self.counts, self.table, self.wrong):
            column.addWidget(part)
        column.addLayout(buttons)


def _table() -> QTableWidget:
    table = QTableWidget(0, 0)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setWordWrap(False)
    table.hide()
    return table


def _names(folder: Path) -> PatternPreview:
    """Return the first names of a folder, or of the folders in it."""
    for depth in range(_DEEPEST):
        found = preview_pattern(folder, "/".join(["{*}"] * (depth + 1)), show=_SHOWN)
        if found.files:
            return found
    raise SettingsError(f"There are no files in {str(folder)!r}. Choose another folder.")


def _kinds(found: PatternPreview) -> str:
    """Return how many of each field there are, for example ``"4 wells, 3 z"``."""
    if not found.matching:
        return ""
    return ", ".join(
        f"{n} {name}" if len(name) == 1 else plural(n, name) for name, n in found.values.items()
    )
