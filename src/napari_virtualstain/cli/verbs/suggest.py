"""Say which fields should be stained next."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import suggest as job

__all__ = ["run"]


def run(settings: job.SuggestSettings, console: Console) -> tuple[Any, str]:
    """Choose among fields without a true stain."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
