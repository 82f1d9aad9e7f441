"""One place in each page for one sentence: what to do next, what is doubtful, what went wrong."""

from __future__ import annotations

import platform
import sys
import traceback
from typing import Any, Literal

from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFrame, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from napari_virtualstain.compute.run import Run
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._parts import Wrapped

__all__ = ["Notice", "report_of", "whole_report"]

Kind = Literal["hint", "warning", "error"]


def report_of(run: Run, more: str = "") -> str:
    """Return what is needed to report that a run failed."""
    outcome = run.outcome
    assert outcome is not None
    settings = f"settings: {run.settings.model_dump_json()}"
    lines = (outcome.sentence, f"verb: {run.verb}", settings, more, outcome.traceback)
    return "\n".join(line for line in lines if line)


def whole_report(about: str) -> str:
    """Return a report with the traceback of what is being handled, if anything is, and versions."""
    handled = traceback.format_exc() if sys.exc_info()[0] is not None else ""
    known = ", ".join(f"{name} {found}" for name, found in versions().items())
    system = f"versions: {known}, Python {platform.python_version()}, {platform.platform()}"
    return "\n".join(line for line in (about, handled.rstrip(), system) if line)


class Notice(QFrame):
    """A sentence that stays until another takes its place.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    parent
        As in Qt.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._kind: Kind = "hint"
        self._report = ""
        self.label = Wrapped()
        self.label.setTextFormat(Qt.TextFormat.PlainText)  # names of files are no mark-up
        self.copy = QToolButton(self)
        self.copy.setText("Copy report")
        self.copy.setToolTip("Copy what is needed to report this: sentence, traceback, versions")
        self.copy.clicked.connect(self._copy)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 4, 4)
        row.addWidget(self.label, 1)
        row.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setObjectName("notice")
        viewer.events.theme.connect(self._paint)
        self.clear()

    def clear(self) -> None:
        """Say nothing, and take no room."""
        self.label.clear()
        self.hide()

    def hint(self, text: str) -> None:
        """Say what to do next."""
        self._say("hint", text, "")

    def warn(self, text: str) -> None:
        """Say what is doubtful."""
        self._say("warning", text, "")

    def fail(self, text: str, report: str = "", *, aloud: bool = True) -> None:
        """Say what went wrong, here and as a notification; a report of it can be copied.

        The report is `report`, else the sentence with the traceback of what is being handled, and
        the versions. The page may be hidden, or scrolled, when a run fails. Not aloud, no
        notification is raised and there is nothing to report: for what is wrong while the user
        still types.
        """
        self._say("error", text, whole_report(report or text) if aloud else report)
        if aloud:
            show_error(text)

    def fail_run(self, run: Run, more: str = "", *, aloud: bool = True) -> None:
        """Say why a run failed, if it did; nothing is said of one that was cancelled.

        Parameters
        ----------
        run
            That has ended; verb, settings and traceback stand in the report.
        more
            A line for the report.
        aloud
            Whether a notification is raised; not for what nobody asked for, such as a plan.
        """
        outcome = run.outcome
        if outcome is not None and outcome.state == "failed":
            self.fail(words_of(outcome.sentence), report_of(run, more), aloud=aloud)

    @property
    def text(self) -> str:
        """What it says."""
        return str(self.label.text())

    @property
    def kind(self) -> Kind:
        """How it says it."""
        return self._kind

    def _say(self, kind: Kind, text: str, report: str) -> None:
        if not text:
            self.clear()
            return
        self._kind, self._report = kind, report
        self.label.setText(text)
        self.copy.setVisible(bool(report))
        self._paint()
        self.show()

    def _copy(self) -> None:
        QApplication.clipboard().setText(self._report)

    def _paint(self, event: Any = None) -> None:
        del event
        theme = get_theme(self._viewer.theme)
        edge = {"hint": theme.secondary, "warning": theme.warning, "error": theme.error}[self._kind]
        self.setStyleSheet(
            f"QFrame#notice {{ border-left: 3px solid {edge.as_hex()}; border-radius: 0px;"
            f" background: {theme.foreground.as_hex()}; }}"
            "QFrame#notice QLabel { background: transparent; }"
        )
