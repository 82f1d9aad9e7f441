"""Show what a network looked at, and whether the map may be read."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import explain as job

__all__ = ["run"]


def run(settings: job.ExplainSettings, console: Console) -> tuple[Any, str]:
    """Write the maps of a picture."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
