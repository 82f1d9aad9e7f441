"""Simulate, stain, compare and look."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.errors import MissingExtraError, SettingsError
from napari_virtualstain.jobs import demo as job

__all__ = ["run"]

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def run(settings: job.DemoSettings, console: Console) -> tuple[Any, str]:
    """Simulate, stain, compare, and open the viewer unless told not to."""
    wanted = settings.window or settings.screenshot is not None
    if wanted:
        _check_window()
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
    else:
        blocks.append(
            f"Everything lies in '{settings.out}'; open it in napari, or leave --no-window out."
        )
    return result, "\n\n".join(blocks)


def _check_window() -> None:
    """Say before the work that a window cannot be opened after it.

    Raises
    ------
    MissingExtraError
        If napari or a Qt binding is not installed.
    SettingsError
        If there is no display, on which Qt would end the process without a word.
    """
    missing = None
    if importlib.util.find_spec("napari") is None:
        missing = "napari"
    elif not any(importlib.util.find_spec(name) for name in _BINDINGS):
        missing = "a Qt binding"
    if missing is not None:
        raise MissingExtraError(
            f"The demo's window needs {missing}, which is not installed. Install it with "
            '`pip install "napari[pyqt6]"`, or add --no-window.'
        )
    known = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in known):
        raise SettingsError(
            "There is no display to open the demo's window on. Add --no-window, or run it under "
            "`xvfb-run` with --screenshot."
        )
