"""Is there a tuning about which nobody has decided yet? A row that offers it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_virtualstain.jobs.tuning_keep import KeptTuning
from napari_virtualstain.widgets._parts import wide

__all__ = ["EarlierRow"]

_WORDS = {"stopped": "stopped", "done": "tuned, not kept yet", "going": "goes on by itself"}


class EarlierRow(QWidget):
    """A box with such tunings, and buttons to open or delete one; hidden while there are none."""

    opened = Signal(object)
    """The folder of the model that is, or would be."""
    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._going: set[str] = set()
        self.box = wide(QComboBox())
        self.box.setToolTip("Tunings that were stopped, or neither kept nor reverted")
        self.open, self.delete = QPushButton("Open"), QPushButton("Delete")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.box, 1)
        row.addWidget(self.open)
        row.addWidget(self.delete)
        self.open.clicked.connect(lambda: self._tell(self.opened))
        self.delete.clicked.connect(lambda: self._tell(self.dropped))
        self.box.currentIndexChanged.connect(self._look)
        self.hide()

    def offer(self, tunings: Sequence[KeptTuning]) -> None:
        """Offer these."""
        self._going = {str(one.out) for one in tunings if one.state == "going"}
        self.box.clear()
        for one in tunings:
            self.box.addItem(f"{one.out.name} ({_WORDS[one.state]})", str(one.out))
        self.setVisible(bool(tunings))

    def _look(self) -> None:
        self.delete.setEnabled(self.box.currentData() not in self._going)

    def _tell(self, signal: Signal) -> None:
        if self.box.currentData():
            signal.emit(Path(self.box.currentData()))
