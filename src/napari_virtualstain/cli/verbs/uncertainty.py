"""Say what the spread of predicted stains is worth."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import uncertainty as job

__all__ = ["run"]


def run(settings: job.UncertaintySettings, console: Console) -> tuple[Any, str]:
    """Measure it on pairs."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
