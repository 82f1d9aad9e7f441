"""Say in numbers what an encoder sees on a plate."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.elsewhere import result_of
from napari_virtualstain.jobs import embed as job

__all__ = ["run"]


def run(settings: job.EmbedSettings, console: Console) -> tuple[Any, str]:
    """Look at every field of a plate."""
    try:
        result = result_of("embed", settings, console)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted. The rows that are done lie in '{settings.out}'. To go on, run the same "
            "command with --resume."
        ) from None
    return result, job.EmbedResult.from_json(result).text()
