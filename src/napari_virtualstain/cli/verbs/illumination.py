"""Fit the illumination functions of a plate."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import illumination as job

__all__ = ["run"]


def run(settings: job.IlluminationSettings, console: Console) -> tuple[Any, str]:
    """Fit the illumination functions of a plate, and say how uneven the light is."""
    result = job.run(settings, on_progress=console.progress)
    for note in result.notes:
        console.note(note)
    return result.to_json(), result.text()
