"""Count and measure nuclei and cells."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import measure as job

__all__ = ["run"]


def run(settings: job.MeasureSettings, console: Console) -> tuple[Any, str]:
    """Write tables of objects, fields and wells."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
