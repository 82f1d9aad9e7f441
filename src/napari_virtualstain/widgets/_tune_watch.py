"""How is the tuning going? Curves, a held-back crop as it is stained now, and what may be asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.jobs.tuning_run import (
    Curves,
    HeldCrop,
    Wish,
    looks_in,
    read_crop,
    read_curves,
    read_look,
)
from napari_virtualstain.widgets._contact_sheet import ContactSheet, Crop
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._model_trials import limits_of
from napari_virtualstain.widgets._parts import Wrapped, form, wide
from napari_virtualstain.widgets._tune_curves import CurvesView

if TYPE_CHECKING:
    import napari

__all__ = ["WatchPanel"]

_EVERY_MS = 400
_COLUMNS = 4
"""Crops in the sheet: bright field, base, now, truth."""


class WatchPanel(QWidget):
    """Shows what a run writes into its folder, read in a thread.

    Parameters
    ----------
    viewer
        To show the crop in.
    background
        In which files are read.
    """

    asked = Signal(str)
    """``"pause"``, ``"end"``, ``"resume"`` or ``"cancel"``."""

    def __init__(self, viewer: napari.Viewer, background: Background) -> None:
        super().__init__()
        self._viewer, self._background = viewer, background
        self.folder: Path | None = None
        self._crop: HeldCrop | None = None
        self._curves: Curves | None = None
        self._steps: tuple[int, ...] = ()
        self._now: tuple[int, NDArray[np.float32]] | None = None
        self._laid = self._reading = self._again = self._ended = False
        self._said = ""
        self.sheet = ContactSheet(viewer, self)
        self.plot = CurvesView(viewer)
        self.state = Wrapped()
        self.stain = wide(QComboBox())
        self.stain.setToolTip("Which stain of the held-back crop is shown")
        self.look = QSlider(Qt.Orientation.Horizontal)
        self.look.setToolTip("Look back at earlier steps; at the right end it follows the run")
        self.step = QLabel()
        self.in_viewer = QCheckBox("Show the crop in the viewer")
        self.in_viewer.setChecked(True)
        self.pause, self.resume = QPushButton("Pause"), QPushButton("Resume")
        self.end, self.cancel = QPushButton("Stop and keep"), QPushButton("Cancel")
        self.pause.setToolTip("Write a checkpoint and stop; it can go on here or elsewhere")
        self.end.setToolTip(
            "Be done now: the weights so far are judged on the held-back fields, then you decide"
        )
        self.cancel.setToolTip("Stop, and delete what was learnt: nothing is changed")
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._arrange()
        self._timer.timeout.connect(self._read)
        self.stain.currentIndexChanged.connect(lambda _: self._show())
        self.look.valueChanged.connect(lambda _: self._read())
        self.in_viewer.toggled.connect(lambda _: self._show())
        for button, what in (
            (self.pause, "pause"), (self.resume, "resume"), (self.end, "end"),
            (self.cancel, "cancel"),
        ):  # fmt: skip
            button.clicked.connect(lambda _=False, what=what: self.asked.emit(what))

    def follow(self, folder: Path, *, going: bool) -> None:
        """Show a run, and go on looking while it goes on.

        Parameters
        ----------
        folder
            Of the training.
        going
            Whether it goes on now.
        """
        if folder != self.folder:
            self.forget()
            self.folder = folder
        self.show_state(going=going)
        self.show()
        self._read()

    def show_state(
        self, *, going: bool, ended: bool = False, alone: bool = False, said: str = ""
    ) -> None:
        """Offer what may be asked now.

        Parameters
        ----------
        going
            Whether the run goes on.
        ended
            Whether there is a model.
        alone
            Whether it goes on without a viewer; then it cannot be cancelled, but paused.
        said
            A sentence that stands before how it goes.
        """
        self._ended, self._said = ended, said
        self.pause.setVisible(going)
        self.end.setVisible(going)
        self.resume.setVisible(not going and not ended)
        self.cancel.setVisible(not ended and not alone)
        self.cancel.setText("Cancel" if going else "Discard")
        for button in (self.pause, self.end, self.resume, self.cancel):
            button.setEnabled(True)
        if going:
            self._timer.start()
        else:
            self._timer.stop()
            self._read()

    def wait_for(self, wish: Wish) -> None:
        """Say that the run was asked, and take no second word."""
        self.pause.setEnabled(False)
        self.end.setEnabled(False)
        self.state.setText(
            "Writing a checkpoint …" if wish == "pause" else "Judging the weights so far …"
        )

    def forget(self) -> None:
        """Show nothing."""
        self._timer.stop()
        self.folder = self._crop = self._curves = self._now = None
        self._steps, self._laid = (), False
        self.plot.show_curves(None, 0)
        self.state.clear()
        self.sheet.clear()
        self.hide()

    def leave(self) -> None:
        """Take the crops out of the viewer: another page is looked at."""
        self.sheet.clear()
        self._laid = False

    def come_back(self) -> None:
        """Show them again."""
        self._show()

    def stop(self) -> None:
        """Read and add nothing more: the viewer is going."""
        self._timer.stop()
        self.sheet.stop()

    # --- reading ----------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read in a thread what is new."""
        folder, crop, known = self.folder, self._crop, self._now
        if folder is None:
            return
        if self._reading:
            self._again = True
            return
        self._reading, self._again = True, False
        behind = self.look.maximum() - self.look.value()

        def read() -> tuple[Any, ...]:
            steps = looks_in(folder)
            found = crop or read_crop(folder)
            now = known
            if steps:
                step = steps[max(len(steps) - 1 - behind, 0)]
                if known is None or known[0] != step:
                    now = (step, read_look(folder, step))
            return folder, found, read_curves(folder), steps, now

        def failed(sentence: str) -> None:
            del sentence  # a look that was thinned out meanwhile: the next one is there
            self._reading = False

        self._background.run("watch", read, self._take, failed)

    def _take(self, found: tuple[Any, ...]) -> None:
        self._reading = False
        folder, crop, curves, steps, now = found
        if self._again:
            self._read()
        if folder != self.folder:
            return
        self._crop, self._now = crop, now
        if curves is not None:
            if self._curves is None:
                self._offer_stains(curves)
            self._curves = curves
        if steps != self._steps:
            behind = self.look.maximum() - self.look.value()
            self._steps = steps
            self.look.blockSignals(True)
            self.look.setRange(0, max(len(steps) - 1, 0))
            self.look.setValue(self.look.maximum() - (min(behind, len(steps) - 1) if behind else 0))
            self.look.blockSignals(False)
        self._show()

    def _offer_stains(self, curves: Curves) -> None:
        """Offer the stains that there is a truth of; first the one that the base knows least."""
        known = [(v, name) for name, v in zip(curves.stains, curves.base.pcc, strict=True)
                 if v is not None]  # fmt: skip
        self.stain.blockSignals(True)
        self.stain.clear()
        self.stain.addItems([name for _, name in known])
        self.stain.blockSignals(False)

    # --- showing ----------------------------------------------------------------------------------

    def _show(self) -> None:
        curves, stain = self._curves, self.stain.currentText()
        if curves is None or stain not in curves.stains:
            return
        number = curves.stains.index(stain)
        following = self.look.value() == self.look.maximum()
        step = None if self._now is None else self._now[0]
        self.plot.show_curves(curves, number, None if following else step)
        self.step.setText("" if step is None else f"step {step}")
        if self.pause.isEnabled():
            words = _words(curves, number, ended=self._ended)
            self.state.setText(f"{self._said} {words}".strip())
        if self.isVisible() and self._crop is not None and self._now is not None:
            self._lay_out(self._crop, number, stain, self._now)

    def _lay_out(
        self, crop: HeldCrop, number: int, stain: str, now: tuple[int, NDArray[np.float32]]
    ) -> None:
        """Set bright field, base, now and truth side by side, the stains in equal grey."""
        if not self.in_viewer.isChecked():
            self.leave()
            return
        planes = _flat(crop.planes)
        truth, base, stained = (_flat(p)[number] for p in (crop.truth, crop.base, now[1]))
        if not self._laid:
            self._laid = True
            height, width = truth.shape
            self.sheet.lay(self._beside(), (0, 0, height, width))
        limits = limits_of([truth])
        seen = planes[len(planes) // 2]
        crops = [
            Crop(name="bright field, held back", pixels=seen, limits=limits_of([seen])),
            Crop(name=f"{stain} base", pixels=base, limits=limits),
            Crop(name=f"{stain} now", pixels=stained, limits=limits),
            Crop(name=f"{stain} true", pixels=truth, limits=limits),
        ]
        self.sheet.show(crops, room=_COLUMNS)

    def _beside(self) -> Image | None:
        """Return the image that is seen farthest right: the crops lie beside it."""
        shown = [
            layer for layer in self._viewer.layers if isinstance(layer, Image) and layer.visible
        ]
        return max(shown, key=lambda one: float(one.extent.world[1][-1]), default=None)

    def _arrange(self) -> None:
        rows = form()
        rows.addRow("Stain", self.stain)
        back = QHBoxLayout()
        back.addWidget(self.look, 1)
        back.addWidget(self.step)
        rows.addRow("Look back", back)
        buttons = QGridLayout()
        buttons.setSpacing(4)
        for column, button in enumerate((self.pause, self.resume, self.end, self.cancel)):
            buttons.addWidget(button, 0, column)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.state)
        column.addWidget(self.plot)
        column.addLayout(rows)
        column.addWidget(self.in_viewer)
        column.addLayout(buttons)
        self.hide()


def _flat(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (C, Y, X); of a volume its middle plane."""
    return pixels if pixels.ndim == 3 else pixels[:, pixels.shape[1] // 2]


def _words(curves: Curves, number: int, *, ended: bool) -> str:
    """Say in a sentence or two how it goes."""
    base, last = curves.base.pcc[number], curves.points[-1].pcc[number] if curves.points else None
    stain = curves.stains[number]
    said = []
    if base is not None and last is not None:
        said.append(f"{stain} on held-back fields: {base:.3f} before, {last:.3f} now.")
    if curves.judges and not ended:
        said.append(
            "These fields also judge in the end: if you stop when they look best, the gain looks "
            "better than it is."
        )
    return " ".join(said)
