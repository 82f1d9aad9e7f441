"""List models, methods and recipes."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import models as job

__all__ = ["run"]


def run(settings: job.ModelsSettings, console: Console) -> tuple[Any, str]:
    """List models, methods and recipes."""
    del console
    found = job.run(settings)
    return found, job.to_text(found)
