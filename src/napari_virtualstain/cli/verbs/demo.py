"""Simulate, stain, compare and look."""

from __future__ import annotations

import importlib.util
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.errors import MissingExtraError
from napari_virtualstain.jobs import demo as job

__all__ = ["run"]


def run(settings: job.DemoSettings, console: Console) -> tuple[Any, str]:
    """Simulate, stain, compare, and open the viewer unless told not to."""
    wanted = settings.window or settings.screenshot is not None
    if wanted and importlib.util.find_spec("napari") is None:
        raise MissingExtraError(
            "The demo's window needs napari, which is not installed. Install it with "
            '`pip install "napari-virtualstain[gui]"`, or add --no-window.'
        )
    fields = job.run(settings, on_progress=console.progress)
    blocks = [f"{field.name}\n{field.evaluation.table()}" for field in fields]
    result: dict[str, Any] = {"fields": [field.to_json() for field in fields]}
    if wanted:
        # The only way from the command line to a window; everything else stays headless.
        from napari_virtualstain.widgets.window import show_comparison

        shown = fields[0]
        pairs = show_comparison(
            shown.brightfield, shown.prediction, shown.truth, screenshot=settings.screenshot
        )
        if pairs is not None:
            result["screenshot"] = {"path": settings.screenshot, "canvas_pcc": pairs}
            measured = ", ".join(f"{name} {value:.2f}" for name, value in pairs.items())
            blocks.append(f"screenshot: {settings.screenshot}\nPCC on its canvas: {measured}")
    return result, "\n\n".join(blocks)
