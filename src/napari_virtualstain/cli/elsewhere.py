"""Where the job of a command runs: in this process, or on a scheduler that was named."""

from __future__ import annotations

import time
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.compute.run import Run
from napari_virtualstain.compute.session import Session
from napari_virtualstain.compute.work import run_job
from napari_virtualstain.errors import ComputeError, RunCancelled
from napari_virtualstain.jobs.base import JobSettings

__all__ = ["result_of"]

_LOOK_S = 0.1
_PATIENCE_S = 60.0
"""For a run that was interrupted: it ends at its next tile."""


def result_of(verb: str, settings: JobSettings, console: Console) -> dict[str, Any]:
    """Run a job and return its result as plain values.

    Parameters
    ----------
    verb
        One of `compute.work.JOBS`.
    settings
        Of the verb.
    console
        Shows progress and notes; knows whether a scheduler was named.

    Raises
    ------
    VirtualStainError
        What the job raised, wherever it ran.
    """
    if console.scheduler is not None:
        return _from(console.scheduler, verb, settings, console)

    def tell(kind: str, content: Any) -> None:
        if kind == "progress":
            console.progress(*content)
        elif kind == "note":
            console.note(content)

    return run_job(verb, settings.model_dump(), tell)


def _from(address: str, verb: str, settings: JobSettings, console: Console) -> dict[str, Any]:
    session = Session(address)
    try:
        run = session.submit(verb, settings)
        try:
            _follow(run, console)
        except KeyboardInterrupt:
            run.cancel()
            run.wait(_PATIENCE_S)
            raise
    finally:
        session.close()
    outcome = run.outcome
    assert outcome is not None
    if outcome.result is not None:
        return outcome.result
    if outcome.state == "cancelled":
        raise RunCancelled(outcome.sentence)
    raise ComputeError(outcome.sentence)


def _follow(run: Run, console: Console) -> None:
    """Show what a run says until it has ended."""
    said = 0
    shown: tuple[int, int, str] | None = None
    while True:
        ended = run.ended
        for note in run.notes[said:]:
            console.note(note)
        said = len(run.notes)
        if run.progress is not None and run.progress != shown:
            shown = run.progress
            console.progress(*shown)
        if ended:
            return
        time.sleep(_LOOK_S)
