"""Look at this machine."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import doctor as job

__all__ = ["run"]


def run(settings: job.DoctorSettings, console: Console) -> tuple[Any, ...]:
    """Look at this machine, and fail if something does not work."""
    report = job.run(settings, on_progress=console.progress)
    shown = (report.to_json(), report.text())
    return shown if report.problem is None else (*shown, report.problem)
