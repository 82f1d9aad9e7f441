"""Say what a stain would do."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.elsewhere import result_of
from napari_virtualstain.jobs import plan as job

__all__ = ["run"]


def run(settings: job.PlanSettings, console: Console) -> tuple[Any, str]:
    """Say what a stain would do."""
    found = result_of("plan", settings, console)
    return found, str(found["words"])
