"""Repeat a run from its record."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import replay as job

__all__ = ["run"]


def run(settings: job.ReplaySettings, console: Console) -> tuple[Any, ...]:
    """Repeat a run, and fail if its numbers are others."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    shown = (result.to_json(), result.text())
    return shown if result.problem is None else (*shown, result.problem)
