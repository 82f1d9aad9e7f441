"""Say how sharp each plane of a stack is."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import focus as job

__all__ = ["run"]


def run(settings: job.FocusSettings, console: Console) -> tuple[Any, str]:
    """Say how sharp each plane of a stack is, and which are in focus."""
    result = job.run(settings, on_progress=console.progress)
    for note in result.notes:
        console.note(note)
    return result.to_json(), result.text()
