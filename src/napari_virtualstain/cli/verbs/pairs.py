"""Match bright field with its stains."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import pairs as job

__all__ = ["run"]


def run(settings: job.PairsSettings, console: Console) -> tuple[Any, str]:
    """Match bright field with its stains; a shift is a note, no failure."""
    found = job.run(settings, on_progress=console.progress)
    for note in found.file.notes:
        console.note(note)
    return found.to_json(), found.text()
