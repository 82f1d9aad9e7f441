"""Keep what the images are like that taught a model."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import index as job

__all__ = ["run"]


def run(settings: job.IndexSettings, console: Console) -> tuple[Any, str]:
    """Make the index."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
