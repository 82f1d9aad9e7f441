"""Train a model; Ctrl-C asks it to stop."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.cli.stopping import stop_on_interrupt
from napari_virtualstain.jobs import train as job

__all__ = ["run"]


def run(settings: job.TrainSettings, console: Console) -> tuple[Any, str]:
    """Train a model; Ctrl-C writes a checkpoint, then interrupts."""
    with stop_on_interrupt() as should_stop:
        result = job.run(settings, on_progress=console.progress, should_stop=should_stop)
    if not result.finished:
        raise KeyboardInterrupt(
            f"Stopped after {result.steps} steps, with a checkpoint. "
            "Go on with the same command and --resume."
        )
    for note in result.notes:
        console.note(note)
    what = "validation PCC" if result.validation_pcc else "validation"
    scores = {**result.validation_pcc, **result.validation_scores}
    said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    if result.validation_pcc_denoised:
        beside = result.validation_pcc_denoised.items()
        said += "; against denoised truth: " + ", ".join(f"{n} {value:.3f}" for n, value in beside)
    text = f"{result.out} after {result.steps} steps; {what}: {said or 'none'}"
    return result.to_json(), text
