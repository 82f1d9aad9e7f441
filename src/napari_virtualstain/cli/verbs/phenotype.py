"""Say whether phenotypes are still there on predicted stains."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.jobs import phenotype as job

__all__ = ["run"]


def run(settings: job.PhenotypeSettings, console: Console) -> tuple[Any, str]:
    """Compare tables of features of predicted and true stains."""
    result = job.run(settings, on_progress=console.progress, on_note=console.note)
    return result.to_json(), result.text()
