"""Stain images as they come."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.verbs.batch import told
from napari_virtualstain.jobs import watch as job

__all__ = ["run"]


def run(settings: job.WatchSettings, console: Console) -> tuple[Any, str] | tuple[Any, str, str]:
    """Stain images as they come, until nothing comes or Ctrl-C."""
    try:
        result = job.run(settings, on_progress=console.progress, on_note=console.note)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted. What is done lies in '{settings.out}'. To go on, run the same command "
            "again."
        ) from None
    return told(result)
