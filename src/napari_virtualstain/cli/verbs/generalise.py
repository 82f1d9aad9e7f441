"""Say what models lose on domains that they were not trained on."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import generalise as job

__all__ = ["run"]


def run(settings: job.GeneraliseSettings, console: Console) -> tuple[Any, str]:
    """Put results of several domains together."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
