"""Say what is in a file."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import info as job

__all__ = ["run"]


def run(settings: job.InfoSettings, console: Console) -> tuple[Any, str]:
    """Say what is in a file."""
    del console
    found = job.run(settings)
    return found, job.to_text(found)
