"""Say which predicted fields can be trusted, worst first."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import qc as job

__all__ = ["run"]


def run(settings: job.QcSettings, console: Console) -> tuple[Any, str]:
    """Judge predictions, or make a reference of good ones."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
