"""Compare a prediction with the true fluorescence."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.elsewhere import result_of
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.jobs import evaluate as job
from napari_virtualstain.jobs.evaluation import Evaluation

__all__ = ["run"]


def run(settings: job.EvaluateSettings, console: Console) -> tuple[Any, str]:
    """Compare a prediction with the truth."""
    result = result_of("evaluate", settings, console)
    for note in result["notes"]:
        console.note(note)
    found = Evaluation.from_json(result)
    nuclei = find_stain("DNA", [score.stain for score in found.scores])
    if found.objects is None and nuclei is not None:
        console.note(
            "which nuclei are invented or missed was not asked; add --objects " + nuclei.channel
        )
    return result, found.table()
