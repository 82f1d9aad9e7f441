"""The list itself: its images, what can be done with them, how far it is, and what failed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.compute.run import Run
from napari_virtualstain.widgets._parts import Wrapped
from napari_virtualstain.widgets._queue_list import QueueList
from napari_virtualstain.widgets._queue_table import QueueTable
from napari_virtualstain.widgets._queue_words import (
    failures_as_html,
    failures_as_text,
    seconds_left,
    summary,
)

__all__ = ["ListPanel"]


class ListPanel(QWidget):
    """A table of the images, and buttons below it.

    Parameters
    ----------
    images
        The list.
    """

    chosen = Signal()
    """Other images are selected."""

    def __init__(self, images: QueueList) -> None:
        super().__init__()
        self._list = images
        self.table = QueueTable()
        self.up = _tool("▲", "Stain the selected images earlier")
        self.down = _tool("▼", "Stain the selected images later")
        self.remove = QPushButton("Remove")
        self.remove.setToolTip("Take the selected images off the list; their stains stay on disk")
        self.retry = QPushButton("Retry failed")
        self.retry.setToolTip("Let the selected images that failed wait again, or all that failed")
        self.summary = Wrapped()
        self.failures = Wrapped()
        self.failures.setTextFormat(Qt.TextFormat.RichText)
        self.copy_failures = QPushButton("Copy what failed")
        self.copy_failures.setToolTip("Copy each sentence with the names of all its images")
        self._arrange()
        self.up.clicked.connect(lambda: images.move(self.table.selected_keys(), -1))
        self.down.clicked.connect(lambda: images.move(self.table.selected_keys(), 1))
        self.remove.clicked.connect(lambda: images.remove(self.table.selected_keys()))
        self.retry.clicked.connect(self._retry)
        self.copy_failures.clicked.connect(self._copy)
        self.table.chosen.connect(self._enable)

    def show_list(self, run: Run | None) -> None:
        """Show the list as it is now.

        Parameters
        ----------
        run
            That goes through it.
        """
        items = self._list.state.items
        tiles, share = _progress(run)
        self.table.show_items(items, tiles)
        self.summary.setText(summary(items, seconds_left(items, share)))
        failed = any(item.state == "failed" for item in items)
        self.failures.setText(failures_as_html(items))
        for part in (self.failures, self.copy_failures, self.retry):
            part.setVisible(failed)
        self._enable()

    def _enable(self) -> None:
        keys = self.table.selected_keys()
        states = {item.state for item in self._list.state.items if item.key in keys}
        for button in (self.up, self.down):
            button.setEnabled(states == {"waiting"})
        self.remove.setEnabled(bool(states) and "running" not in states)
        self.chosen.emit()

    def _retry(self) -> None:
        chosen = self.table.selected_keys()
        failed = {item.key for item in self._list.state.items if item.state == "failed"}
        self._list.retry(chosen & failed or None)

    def _copy(self) -> None:
        QApplication.clipboard().setText(failures_as_text(self._list.state.items))

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.up)
        buttons.addWidget(self.down)
        buttons.addWidget(self.remove)
        buttons.addStretch(1)
        buttons.addWidget(self.retry)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table, 1)
        column.addLayout(buttons)
        column.addWidget(self.summary)
        column.addWidget(self.failures)
        column.addWidget(self.copy_failures, 0, Qt.AlignmentFlag.AlignLeft)


def _progress(run: Run | None) -> tuple[str, float]:
    """Return how far the image is that is stained now, in words and as a share."""
    if run is None or run.progress is None:
        return "", 0.0
    done, total, what = run.progress
    if not what.startswith("tiles stained"):
        return "preparing", 0.0
    return f"{done} of {total} tiles", done / max(total, 1)


def _tool(text: str, tip: str) -> Any:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return button
