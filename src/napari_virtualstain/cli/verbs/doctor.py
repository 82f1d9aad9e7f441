"""Look at this machine."""

from __future__ import annotations

import time
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.compute.session import Session
from napari_virtualstain.jobs import doctor as job

__all__ = ["run"]

_PATIENCE_S = 30.0


def run(settings: job.DoctorSettings, console: Console) -> tuple[Any, ...]:
    """Look at this machine, and fail if something does not work."""
    extra = [("Compute process", compute_process)] if settings.selftest else []
    report = job.run(settings, extra=extra, on_progress=console.progress)
    shown = (report.to_json(), report.text())
    return shown if report.problem is None else (*shown, report.problem)


def compute_process() -> job.Check:
    """Start the process that runs beside the viewer, as the viewer would."""
    began = time.monotonic()
    session = Session()
    try:
        session.open()
        while session.state.name not in ("ready", "failed"):
            if time.monotonic() - began > _PATIENCE_S:
                break
            time.sleep(0.05)
        state = session.state
    finally:
        session.close()
    if state.name != "ready":
        return job.Check(
            name="Compute process",
            status="problem",
            found=state.words,
            advice="The viewer stains in it. Check that programs may connect to 127.0.0.1.",
        )
    took = time.monotonic() - began
    found = f"starts, loads the networks' library and ends, {took:.1f} s in all"
    return job.Check(name="Compute process", status="ok", found=found)
