"""Say what a stain would do."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import plan as job

__all__ = ["run"]


def run(settings: job.PlanSettings, console: Console) -> tuple[Any, str]:
    """Say what a stain would do."""
    found = job.run(settings, on_progress=console.progress, on_note=console.note)
    return job.describe(found), job.to_text(found)
