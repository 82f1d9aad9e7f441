"""List models, methods and recipes, or import a model."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import models as job

__all__ = ["run"]


def run(settings: job.ModelsSettings, console: Console) -> tuple[Any, str]:
    """List models, methods and recipes, or import a model."""
    del console
    found = job.run(settings)
    if isinstance(found, dict):
        return found, job.to_text(found)
    return found.to_json(), found.text()
