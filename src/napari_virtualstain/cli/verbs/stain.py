"""Predict fluorescence from bright field."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import stain as job

__all__ = ["run"]


def run(settings: job.StainSettings, console: Console) -> tuple[Any, str]:
    """Stain an image."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    text = f"{', '.join(result.stains)} -> {result.out} ({result.plan}; {result.seconds:.1f} s)"
    return result.to_json(), text
