"""How far is the run, how long will it take, and how is it stopped? One bar for all pages."""

from __future__ import annotations

import time
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.compute.run import Run
from napari_virtualstain.compute.session import SessionState
from napari_virtualstain.jobs.base import Pace
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.words import duration

__all__ = ["RunBar"]

_END = "End its process"
_PATIENCE_MS = 3000
"""After which a run that was cancelled may be ended with its process."""
_LOG_LINES = 500
_LOG_HEIGHT = 110


class RunBar(QWidget):
    """Progress, time left, cancel and log of the runs of an application.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    jobs
        Whose runs it shows.
    """

    def __init__(self, viewer: Any, jobs: Jobs) -> None:
        super().__init__()
        self._viewer, self._jobs = viewer, jobs
        self._titles: dict[str, str] = {}
        self._shown: Run | None = None
        self._said: dict[str, int] = {}
        self._pace = Pace()
        self.dot = QLabel("●")
        self.title = QLabel()
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.log_button = QToolButton()
        self.log_button.setText("Log")
        self.log_button.setCheckable(True)
        self.log_button.setToolTip("Show what the runs said")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.details = QLabel()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(
            "Stop, a stain after the tile that is being stained; what is done is kept"
        )
        self.cancel_all = QPushButton("Cancel all")
        self.cancel_all.setToolTip("Stop this run, and do not begin those that wait")
        self.cancel_all.setVisible(False)  # until runs wait
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_LOG_LINES)
        self.log.setFixedHeight(_LOG_HEIGHT)
        self.log.hide()
        self._arrange()
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_PATIENCE_MS)
        self._patience.timeout.connect(self._offer_kill)
        self.log_button.toggled.connect(self.log.setVisible)
        self.cancel.clicked.connect(self._stop)
        self.cancel_all.clicked.connect(self._stop_all)
        jobs.state_changed.connect(self._show_state)
        jobs.run_changed.connect(self._show_run)
        viewer.events.theme.connect(self._paint)
        self._show_state(jobs.state)
        self._idle()

    def announce(self, run: Run, title: str) -> None:
        """Say in words what a run does; runs without a title are not shown."""
        self._titles[run.id] = title
        self.write(f"{title}: waiting" if self._shown is not None else title)
        self._show_run(run)

    def write(self, text: str) -> None:
        """Add a line to the log."""
        self.log.appendPlainText(f"{time.strftime('%H:%M:%S')}  {text}")

    def _arrange(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.dot)
        top.addWidget(self.title, 1)
        top.addWidget(self.log_button)
        bottom = QHBoxLayout()
        bottom.addWidget(self.details, 1)
        bottom.addWidget(self.cancel)
        bottom.addWidget(self.cancel_all)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self.bar)
        column.addLayout(bottom)
        column.addWidget(self.log)

    # --- what there is to show --------------------------------------------------------------------

    def _show_state(self, state: SessionState) -> None:
        self._paint()
        if self._shown is None:
            self.title.setText(_in_words(state))
        else:
            self._progress(self._shown, self._titles[self._shown.id])
        if state.name == "failed":
            self.write(state.words)

    def _show_run(self, run: Run) -> None:
        title = self._titles.get(run.id)
        if title is None:
            return
        for note in run.notes[self._said.get(run.id, 0) :]:
            self.write(f"{title}: {words_of(note)}")
        self._said[run.id] = len(run.notes)
        if run.ended:
            self._end(run, title)
        self._choose()

    def _choose(self) -> None:
        """Show the run that is on, else the first that waits, else that there is none."""
        mine = [run for run in self._jobs.runs if run.id in self._titles]
        going = [run for run in mine if run.state != "waiting"]
        run = next(iter(going or mine), None)
        if run is not self._shown:
            self._shown, self._pace = run, Pace()
            self.cancel.setText("Cancel")
            self._patience.stop()
        self.cancel_all.setVisible(len(mine) > 1)
        if run is None:
            self._idle()
        else:
            self._progress(run, self._titles[run.id])

    def _progress(self, run: Run, title: str) -> None:
        self.title.setText(title)
        self.title.setToolTip(title)
        self.cancel.setEnabled(True)
        waiting = sum(
            r is not run and r.state == "waiting" and r.id in self._titles for r in self._jobs.runs
        )
        behind = f"; {waiting} waiting" if waiting else ""
        if run.state == "cancelling":
            after = "" if run.verb in ("models", "finetune") else " after this tile"
            self.details.setText(f"stopping{after}{behind}")
            return
        if run.progress is None:
            self.bar.setRange(0, 0)
            starting = self._jobs.state.name in ("asleep", "starting", "warming")
            why = "waiting for another run" if run.state == "waiting" else "preparing"
            self.details.setText(f"{self._jobs.state.words if starting else why}{behind}")
            return
        done, total, what = run.progress
        self.bar.setUpdatesEnabled(False)  # Qt draws a bar within the call, apart from all else
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.bar.setUpdatesEnabled(True)
        left = self._pace.seconds_left(done, total, what)
        soon = "" if left is None else f", {duration(left)} left"
        self.details.setText(f"{done} of {total} {what}{soon}{behind}")

    def _end(self, run: Run, title: str) -> None:
        self._titles.pop(run.id, None)
        self._said.pop(run.id, None)
        assert run.outcome is not None
        said = words_of(run.outcome.sentence)
        self.write(f"{title}: {run.outcome.state}{'. ' + said if said else ''}")

    def _idle(self) -> None:
        self._patience.stop()
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self.cancel.setText("Cancel")
        self.cancel.setEnabled(False)
        self.details.setText("nothing is running")
        self._show_state(self._jobs.state)

    # --- what the user asks for -------------------------------------------------------------------

    def _stop(self) -> None:
        run = self._shown
        if run is None:
            return
        if run.state != "cancelling":
            run.cancel()
            self._patience.start()
        elif self.cancel.text() == _END:
            run.kill()

    def _stop_all(self) -> None:
        for run in self._jobs.runs:
            if run.id in self._titles:
                run.cancel()
        self._patience.start()

    def _offer_kill(self) -> None:
        stuck = self._shown is not None and self._shown.state == "cancelling"
        if stuck and self._jobs.session.local:
            self.cancel.setText(_END)

    def _paint(self, event: Any = None) -> None:
        del event
        theme = get_theme(self._viewer.theme)
        name = self._jobs.state.name
        colour = {
            "ready": "#3fa34d",
            "failed": theme.error.as_hex(),
            "starting": theme.warning.as_hex(),
            "warming": theme.warning.as_hex(),
        }.get(name, theme.secondary.as_hex())
        self.dot.setStyleSheet(f"color: {colour}")
        self.dot.setToolTip(f"Compute process: {self._jobs.state.words}")


def _in_words(state: SessionState) -> str:
    if state.name == "ready":
        device = state.worker.get("device", "cpu")
        names = state.worker.get("devices", {})
        return f"Ready: {names.get(device, names.get(f'{device}:0', device))}"
    words = state.words
    return f"{words[:1].upper()}{words[1:]}"
