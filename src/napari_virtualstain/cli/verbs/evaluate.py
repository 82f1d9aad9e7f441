"""Compare a prediction with the true fluorescence."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.elsewhere import result_of
from napari_virtualstain.jobs import evaluate as job
from napari_virtualstain.jobs.evaluation import Evaluation

__all__ = ["run"]


def run(settings: job.EvaluateSettings, console: Console) -> tuple[Any, str]:
    """Compare a prediction with the truth."""
    result = result_of("evaluate", settings, console)
    for note in result["notes"]:
        console.note(note)
    return result, Evaluation.from_json(result).table()
