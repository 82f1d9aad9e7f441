"""Let a person tell predicted stains from real ones, and score it."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import blind as job

__all__ = ["run"]


def run(settings: job.BlindSettings, console: Console) -> tuple[Any, str]:
    """Write a review, or score one."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
