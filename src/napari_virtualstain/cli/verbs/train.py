"""Train a model; Ctrl-C asks it to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import train as job

__all__ = ["run"]


def run(settings: job.TrainSettings, console: Console) -> tuple[Any, str]:
    """Train a model; Ctrl-C writes a checkpoint, then interrupts."""
    with _stop_on_interrupt() as should_stop:
        result = job.run(settings, on_progress=console.progress, should_stop=should_stop)
    if not result.finished:
        raise KeyboardInterrupt(
            f"Stopped after {result.steps} steps, with a checkpoint. "
            "Go on with the same command and --resume."
        )
    for note in result.notes:
        console.note(note)
    what = "validation PCC" if result.validation_pcc else "validation"
    scores = {**result.validation_pcc, **result.validation_scores}
    said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    text = f"{result.out} after {result.steps} steps; {what}: {said or 'none'}"
    return result.to_json(), text


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C ask for a stop after the step, the second interrupt at once.

    Only from the first step on: before it there is nothing to write a checkpoint of.
    """
    asked = False
    before: Any = None

    def ask(number: int, frame: object) -> None:
        del number, frame
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def should_stop() -> bool:
        nonlocal before
        # Signals belong to the main thread; elsewhere somebody else decides when to stop.
        if before is None and threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, ask) or signal.SIG_DFL
        return asked

    try:
        yield should_stop
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
