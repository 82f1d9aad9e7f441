"""Make a project folder, add to it, and say what it holds."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import project as job

__all__ = ["run"]


def run(settings: job.ProjectSettings, console: Console) -> tuple[Any, str]:
    """Make or open a project, and say what it holds."""
    del console
    found = job.run(settings)
    return found.to_json(), found.text()
