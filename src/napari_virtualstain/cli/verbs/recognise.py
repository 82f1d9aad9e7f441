"""Say whether a network that learnt treatments from true stains knows them in predicted ones."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import recognise as job

__all__ = ["run"]


def run(settings: job.RecogniseSettings, console: Console) -> tuple[Any, str]:
    """Teach by the truth, ask of both."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
