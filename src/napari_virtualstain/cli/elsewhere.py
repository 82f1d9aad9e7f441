"""Where the job of a command runs: in this process, in several, or on a scheduler elsewhere."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.cli.console import Console
from napari_virtualstain.compute.cluster import ask, connected, shared_over
from napari_virtualstain.compute.work import run_job
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.base import JobSettings

__all__ = ["result_of"]


def result_of(verb: str, settings: JobSettings, console: Console) -> dict[str, Any]:
    """Run a job and return its result as plain values.

    Parameters
    ----------
    verb
        One of `compute.work.JOBS`.
    settings
        Of the verb.
    console
        Shows progress and notes; knows whether a scheduler or workers were named.

    Raises
    ------
    VirtualStainError
        What the job raised, wherever it ran.
    """

    def tell(kind: str, content: Any) -> None:
        if kind == "progress":
            console.progress(*content)
        elif kind == "note":
            console.note(content)

    if console.scheduler is None and console.workers is None:
        return run_job(verb, settings.model_dump(), tell)
    if console.scheduler is not None and console.workers is not None:
        raise SettingsError(
            "A run is shared by the workers of a scheduler or by workers of this machine. Use "
            "--scheduler or --workers, not both."
        )
    # The same paths mean the same in other processes.
    values = settings.absolute().model_dump(mode="json")
    if verb != "stain" and console.scheduler is not None:
        with connected(console.scheduler) as client:
            return ask(client, verb, values, tell)
    with shared_over(scheduler=console.scheduler, workers=console.workers, tell=tell) as spread:
        return run_job(verb, values, tell, spread=spread)
