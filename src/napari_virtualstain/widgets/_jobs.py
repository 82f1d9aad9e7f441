"""How runs reach the widgets: as signals in the viewer's thread, from one session a process."""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_virtualstain.compute.run import Run
from napari_virtualstain.compute.session import Session, SessionState
from napari_virtualstain.errors import sentence_of
from napari_virtualstain.jobs.base import JobSettings

__all__ = ["Background", "Jobs", "jobs_of_application"]


class Jobs(QObject):
    """The session of an application, in the terms of Qt.

    The session calls back from its own threads; a signal carries that over to
    the viewer's thread, where layers may be touched.

    Parameters
    ----------
    session
        To use; a new one of this machine if `None`.
    """

    state_changed = Signal(object)
    run_changed = Signal(object)

    def __init__(self, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or Session()
        self.session.on_state = self.state_changed.emit
        self._numbers = count(1)
        self.state_changed.connect(self._tidy)

    @property
    def state(self) -> SessionState:
        """What the session is doing."""
        return self.session.state

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is running or waiting."""
        return self.session.runs

    @property
    def address(self) -> str | None:
        """Scheduler whose workers compute, `None` for this computer."""
        return self.session.address

    @address.setter
    def address(self, address: str | None) -> None:
        self.session.address = address

    def open(self) -> None:
        """Start the compute process, so that the first run need not wait."""
        self.session.open()

    def submit(self, verb: str, settings: JobSettings, *, urgent: bool = False) -> Run:
        """Ask for a job; see `Session.submit`."""
        run = self.session.submit(verb, settings, on_change=self.run_changed.emit, urgent=urgent)
        self.run_changed.emit(run)
        return run

    def temporary(self, name: str) -> Path:
        """Return a place in the session's folder that no viewer has been given before."""
        return self.session.folder / f"{next(self._numbers):03d}-{name}"

    def _tidy(self, state: SessionState) -> None:
        """Collect garbage now, or Python does, for 0.15 s, as soon as layers are added."""
        if state.name == "ready":
            self.state_changed.disconnect(self._tidy)
            gc.collect()

    def close(self) -> None:
        """End every run and the compute process, and delete temporary stores."""
        self.session.close()


_of_application: list[Jobs] = []


def jobs_of_application() -> Jobs:
    """Return the jobs that all viewers of this process share; closed when it ends."""
    if not _of_application or _of_application[0].state.name == "closed":
        jobs = Jobs()
        _of_application[:] = [jobs]
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(jobs.close)
        # A script that never starts Qt's loop does not quit it either.
        atexit.register(jobs.close)
    return _of_application[0]


class Background(QObject):
    """Does something slow in a thread and tells the viewer's thread how it ended.

    For reading and writing files, which release the interpreter; never for networks.

    Parameters
    ----------
    parent
        The widget that waits; what ends after it was deleted is dropped.
    """

    ended = Signal(object, object, object)  # what was asked, result, sentence

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.ended.connect(self._tell)
        self._newest: dict[str, object] = {}

    def run(
        self,
        what: str,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[str], None],
    ) -> None:
        """Start.

        Parameters
        ----------
        what
            Name; the answer to an older question of the same name is dropped.
        work
            Called in a thread.
        then
            Called in the viewer's thread with what it returned.
        otherwise
            Called in the viewer's thread with a sentence if it raised.
        """
        token = (what, then, otherwise)
        self._newest[what] = token

        def call() -> None:
            result, sentence = None, None
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 (shown to whoever asked)
                sentence = sentence_of(error)
            try:
                self.ended.emit(token, result, sentence)
            except RuntimeError:
                return  # the widget is gone, and nobody wants to know

        threading.Thread(target=call, name=f"virtualstain-{what}", daemon=True).start()

    def _tell(self, token: Any, result: Any, sentence: str | None) -> None:
        what, then, otherwise = token
        if self._newest.get(what) is not token:
            return
        del self._newest[what]
        if sentence is None:
            then(result)
        else:
            otherwise(sentence)
