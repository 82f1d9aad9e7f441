"""A report of a run: opened in the browser, and kept where the user wants it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.widgets._jobs import Background

__all__ = ["KeptReport"]


class KeptReport(QWidget):
    """Two buttons; hidden until there is a report.

    Parameters
    ----------
    tell, complain
        Take a sentence: where it is kept, and why not.
    """

    def __init__(self, tell: Callable[[str], None], complain: Callable[[str], None]) -> None:
        super().__init__()
        self._tell, self._complain = tell, complain
        self._background = Background(self)
        self._name = "report"
        self.page: Path | None = None
        self.look = QPushButton("Open report")
        self.look.setToolTip("The page that can be sent to others, in the browser")
        self.save = QPushButton("Save report…")
        self.save.setToolTip("Keep page and tables in a folder")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.look)
        row.addWidget(self.save)
        self.look.clicked.connect(self._open)
        self.save.clicked.connect(self._ask)
        self.hide()

    def show_report(self, page: Path, name: str) -> None:
        """Offer another report.

        Parameters
        ----------
        page
            In its folder.
        name
            That is proposed for the folder.
        """
        self.page, self._name = page, name
        self.show()

    def save_to(self, folder: str) -> None:
        """Copy the folder to a place of the user's, which is not there yet."""
        if self.page is None:
            return
        report, target = self.page.parent, Path(folder)

        def copied() -> None:
            check_output(target, inputs=[str(report)], overwrite=False)
            with disk_errors(target):
                shutil.copytree(report, target)

        self._background.run(
            "report", copied, lambda _: self._tell(f"Kept in {target}."), self._complain
        )

    def _open(self) -> None:
        if self.page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.page)))

    def _ask(self) -> None:
        dialog = QFileDialog(self, "A folder for the report")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile(self._name)
        dialog.fileSelected.connect(self.save_to)
        dialog.open()
