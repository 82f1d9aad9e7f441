"""Where do the stains of a list go? And a list that lies there already can be gone on with."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.jobs.batch_state import BatchState
from napari_virtualstain.widgets._queue_list import QueueList
from napari_virtualstain.widgets._queue_words import summary
from napari_virtualstain.words import plural

__all__ = ["NO_OUTPUT", "OutputRow"]

NO_OUTPUT = "Choose where the stains go, behind “Output”."


class OutputRow(QWidget):
    """A line for the output, and a button to go on with the list that was found in it.

    Parameters
    ----------
    images
        The list that is kept there.
    """

    changed = Signal()
    said = Signal(str)
    """Something to know."""

    def __init__(self, images: QueueList) -> None:
        super().__init__()
        self._list = images
        self.line = QLineEdit()
        self.line.setPlaceholderText("folder, or name.ome.zarr for a plate")
        self.line.setToolTip(
            "A folder gets a store for each image; a name that ends in .zarr becomes one OME-Zarr "
            "plate with the wells of the images. The list is kept there too"
        )
        self.choose = QPushButton("Choose…")
        self.offer = QPushButton()
        self.offer.hide()
        row = QHBoxLayout()
        row.addWidget(self.line, 1)
        row.addWidget(self.choose)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.offer)
        self.line.editingFinished.connect(self._look)
        self.choose.clicked.connect(self._ask)
        self.offer.clicked.connect(self._go_on)
        images.found.connect(self._offer)

    @property
    def offers(self) -> bool:
        """Whether a list was found that nobody has gone on with yet."""
        return not self.offer.isHidden()

    @property
    def is_there(self) -> bool:
        """Whether an output is named."""
        return bool(self.line.text().strip())

    def path(self) -> Path:
        """Return the output.

        Raises
        ------
        MissingInputError
            If none is named.
        """
        if not self.is_there:
            raise MissingInputError(NO_OUTPUT)
        return Path(self.line.text().strip()).expanduser().absolute()

    def set_path(self, path: str) -> None:
        """Name an output."""
        self.line.setText(path)
        self._look()

    def lock(self, locked: bool) -> None:
        """Keep the output from being changed, or allow it again."""
        self.line.setReadOnly(locked)
        self.choose.setEnabled(not locked)

    def forget(self) -> None:
        """Begin another list in another output, and say where this one is."""
        where = self._list.out
        self._list.forget()
        self.offer.hide()
        if where is not None:
            self.said.emit(f"The list before this one is kept in {where}.")
        self.changed.emit()

    def _look(self) -> None:
        """Look whether there is a list in what was named."""
        if self.is_there and self.path() == self._list.out:
            return
        self.offer.hide()
        if self._list.out is not None:
            self.forget()
        if self.is_there:
            self._list.look(self.path())
        self.changed.emit()

    def _offer(self, state: BatchState | None) -> None:
        if state is None or self._list.out is not None:
            return
        self.offer.setText(f"Go on with the list there ({plural(len(state.items), 'image')})")
        self.offer.show()
        added = " Your images are put behind its own." if self._list.state.items else ""
        self.said.emit(f"This output holds a list. {summary(state.items, None)}.{added}")
        self.changed.emit()

    def _go_on(self) -> None:
        self.offer.hide()
        self.said.emit("")
        self._list.go_on(self.path())

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Folder for the stains")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.set_path)
        dialog.open()
