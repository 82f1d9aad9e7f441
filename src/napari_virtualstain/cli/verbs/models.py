"""List models, methods and recipes, or import, download or export a model."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import models as job

__all__ = ["run"]


def run(settings: job.ModelsSettings, console: Console) -> tuple[Any, str]:
    """List models, methods and recipes, or import, download or export a model."""
    found = job.run(settings, on_progress=console.progress)
    text = job.to_text(found, whole=settings.all) if isinstance(found, dict) else found.text()
    return job.describe(found), text
