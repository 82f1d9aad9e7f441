"""Predict fluorescence from bright field."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.elsewhere import result_of
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain as job

__all__ = ["run"]


def run(settings: job.StainSettings, console: Console) -> tuple[Any, str]:
    """Stain an image; Ctrl-C leaves what is done, and says what that is."""
    try:
        result = result_of("stain", settings, console)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupted(settings.out)) from None
    part = ""
    done, total = result["tiles_done"], result["tiles_total"]
    if done < total:
        part = f"; {done} of {total} tiles, the rest by --resume"
    took = f"{result['seconds']:.1f} s"
    text = f"{', '.join(result['stains'])} -> {result['out']} ({result['plan']}{part}; {took})"
    return result, text


def _interrupted(out: str) -> str:
    """Say what an interrupted run has left."""
    try:
        state = read_record(out)
    except VirtualStainError:
        return "Interrupted before anything was written. Run the command again to start over."
    if state["status"] == "complete":
        return f"Interrupted. '{out}' is the result that was there before; run again to replace it."
    return (
        f"Interrupted. '{out}' holds {state['tiles_done']} of {state['tiles_total']} tiles and is "
        "marked partial. To go on, run the command again with --resume."
    )
