"""Compare a picture with what a model was trained on."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import passport as job

__all__ = ["run"]


def run(settings: job.PassportSettings, console: Console) -> tuple[Any, str]:
    """Compare a picture with what a model was trained on; a red check is an answer, no failure."""
    found = job.run(settings, on_progress=console.progress)
    return found.to_json(), found.text()
