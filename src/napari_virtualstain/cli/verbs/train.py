"""Train a model; Ctrl-C asks it to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import train as job

__all__ = ["run"]


def run(settings: job.TrainSettings, console: Console) -> tuple[Any, str]:
    """Train a model; Ctrl-C writes a checkpoint and stops."""
    result = job.run(settings, on_progress=console.progress, should_stop=_stop_on_interrupt())
    if not result.finished:
        text = f"stopped after {result.steps} steps; go on with the same command and --resume"
        return result.to_json(), text
    pcc = ", ".join(f"{name} {value:.3f}" for name, value in result.validation_pcc.items())
    text = f"{result.out} after {result.steps} steps; validation PCC: {pcc or 'none'}"
    return result.to_json(), text


def _stop_on_interrupt() -> Callable[[], bool]:
    """Make the first Ctrl-C ask for a stop at the next step; the second interrupts."""
    asked = False

    def ask(number: int, frame: object) -> None:
        del number, frame
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    return lambda: asked
