"""Stain many images."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import batch as job

__all__ = ["run", "told"]


def run(settings: job.BatchSettings, console: Console) -> tuple[Any, str] | tuple[Any, str, str]:
    """Stain many images, and say what became of them."""
    try:
        result = job.run(settings, on_progress=console.progress, on_note=console.note)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted. What is done lies in '{settings.out}'. To go on, run the same command "
            "again."
        ) from None
    return told(result)


def told(result: job.BatchResult) -> tuple[Any, str] | tuple[Any, str, str]:
    """Return what is printed of a batch."""
    done, total = result.count("done"), len(result.items)
    lines = [f"{done} of {total} images stained -> {result.out} ({result.seconds:.1f} s)"]
    failures = result.failures()
    for sentence, names in failures.items():
        lines.append(f"  failed ({len(names)}): {sentence}")
        lines += [f"    {name}" for name in names]
    text = "\n".join(lines)
    if not failures:
        return result.to_json(), text
    count = result.count("failed")
    return result.to_json(), text, (
        f"{count} of {total} images failed. See why above; run the command again with --retry when "
        "that is mended."
    )  # fmt: skip
