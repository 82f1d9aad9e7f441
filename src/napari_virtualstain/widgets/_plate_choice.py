"""Which plate? One of which a field is open, or a folder."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QToolButton, QWidget

from napari_virtualstain.napari_io.fields import Field, path_name
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._parts import Wrapped

__all__ = ["FileChoice", "PlateChoice"]

_NARROW = 90


class FileChoice(QWidget):
    """A file or folder, or what stands there without one.

    Parameters
    ----------
    title
        Of the dialog.
    nothing
        What is said while none is chosen.
    pattern
        Of the names of files; folders are chosen if empty.
    """

    changed = Signal()

    def __init__(self, title: str, nothing: str, pattern: str = "") -> None:
        super().__init__()
        self._title, self._nothing, self._pattern = title, nothing, pattern
        self.path: str | None = None
        self.named = Wrapped(nothing)
        self.forget = QToolButton()
        self.forget.setText("✕")
        self.forget.setToolTip(f"Back to: {nothing}")
        self.choose = QPushButton("Choose…" if pattern else "Folder…")
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.addWidget(self.named, 1)
        self.row.addWidget(self.forget)
        self.row.addWidget(self.choose)
        self.choose.clicked.connect(self._ask)
        self.forget.clicked.connect(lambda: self.set_path(None))
        self.set_path(None)

    def set_path(self, path: str | None) -> None:
        """Take a path, or none."""
        self.path = path
        self.named.setText(self._nothing if path is None else path_name(path))
        self.named.setToolTip(path or "")
        self.forget.setVisible(path is not None)
        self.changed.emit()

    def _ask(self) -> None:
        dialog = QFileDialog(self, self._title)
        mode = QFileDialog.FileMode
        dialog.setFileMode(mode.ExistingFile if self._pattern else mode.Directory)
        if self._pattern:
            dialog.setNameFilter(self._pattern)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.set_path)
        dialog.open()


class PlateChoice(FileChoice):
    """A plate or file of which a field is open, or a folder.

    Parameters
    ----------
    fields
        What the viewer shows.
    offers
        Which of them are offered.
    empty
        What is said while there is none.
    title
        Of the dialog.
    """

    def __init__(
        self, fields: Fields, offers: Callable[[Field], bool], empty: str, title: str
    ) -> None:
        self.box = FieldBox(fields, lambda f: f.path is not None and offers(f), empty)
        self.box.setMinimumWidth(_NARROW)
        super().__init__(title, "what is open")
        self.row.insertWidget(0, self.box, 1)
        self.box.chosen.connect(self.changed)

    @property
    def field(self) -> Field | None:
        """The open field by which the plate is named; `None` if it is a folder, or nothing."""
        return None if self.path is not None else self.box.field

    @property
    def plate(self) -> str | None:
        """Path of the plate, file or folder."""
        return self.path or (None if self.box.field is None else self.box.field.path)

    def set_path(self, path: str | None) -> None:
        """Take a folder, or what is open."""
        super().set_path(path)
        self.box.setVisible(path is None)
        self.named.setVisible(path is not None)
