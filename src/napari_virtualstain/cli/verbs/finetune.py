"""Tune a model; Ctrl-C asks it to stop."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.stopping import stop_on_interrupt
from napari_virtualstain.jobs import finetune as job

__all__ = ["run"]


def run(settings: job.FinetuneSettings, console: Console) -> tuple[Any, str]:
    """Tune a model; Ctrl-C writes a checkpoint, then interrupts."""
    with stop_on_interrupt() as should_stop:
        result = job.run(settings, on_progress=console.progress, should_stop=should_stop)
    if isinstance(result, job.FinetuneResult) and not result.finished:
        raise KeyboardInterrupt(
            f"Stopped after {result.steps} steps, with a checkpoint. "
            "Go on with the same command and --resume."
        )
    for note in result.notes:
        console.note(note)
    return result.to_json(), result.text()
