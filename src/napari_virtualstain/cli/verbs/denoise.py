"""Take the noise from a channel; Ctrl-C asks the training to stop."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.stopping import stop_on_interrupt
from napari_virtualstain.jobs import denoise as job

__all__ = ["run"]


def run(settings: job.DenoiseSettings, console: Console) -> tuple[Any, str]:
    """Denoise a channel; Ctrl-C leaves a checkpoint, or the tiles that are done."""
    with stop_on_interrupt() as should_stop:
        result = job.run(
            settings, on_progress=console.progress, on_note=console.note, should_stop=should_stop
        )
    return result.to_json(), result.text()
