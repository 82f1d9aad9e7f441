"""Say whether the conclusion would have been another one."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import verdict as job

__all__ = ["run"]


def run(settings: job.VerdictSettings, console: Console) -> tuple[Any, str]:
    """Compare a plate of predictions with its truth."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
