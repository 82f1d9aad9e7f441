"""Write an image in another form."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import export as job

__all__ = ["run"]


def run(settings: job.ExportSettings, console: Console) -> tuple[Any, str]:
    """Write an image in another form, and say where and how."""
    result = job.run(settings, on_progress=console.progress)
    lines = [f"wrote {result.out} in {result.seconds:.1f} s"]
    if result.shown is not None:
        lines += [
            f"  {name}: black at {low:g}, full colour at {high:g}"
            for name, (low, high) in result.shown.limits.items()
        ]
        if result.shown.bar_um is not None:
            lines.append(f"  the scale bar is {result.shown.bar_um:g} µm long")
        if result.shown.reduced > 1:
            lines.append(
                f"  a pixel is the mean of {result.shown.reduced} x {result.shown.reduced}"
            )
    lines += [f"note: {note}" for note in result.notes]
    return result.to_json(), "\n".join(lines)
