"""Write simulated fields."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import simulate as job

__all__ = ["run"]


def run(settings: job.SimulateSettings, console: Console) -> tuple[Any, str]:
    """Write simulated fields."""
    folders = [str(path) for path in job.run(settings, on_progress=console.progress)]
    return folders, "\n".join(folders)
