"""Say how good each field of each model is."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import scores as job

__all__ = ["run"]


def run(settings: job.ScoresSettings, console: Console) -> tuple[Any, str]:
    """Compare every plane of every field with its truth."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
