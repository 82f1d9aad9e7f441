"""What becomes of a tuning? It is gone on with, kept among the models, or dropped without a trace.

A tuning that a viewer asks for lies beside the models until somebody decides, so that it survives
the viewer, and no list shows a model that nobody has accepted.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_virtualstain.datasets.project_files import read_values, write_values
from napari_virtualstain.errors import OutputExistsError, VirtualStainError
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.jobs.training_run import training_folder
from napari_virtualstain.jobs.tuning_alone import is_alone
from napari_virtualstain.zoo import list_models, models_folder

__all__ = [
    "KeptTuning",
    "drop_tuning",
    "keep_tuning",
    "list_tunings",
    "read_result",
    "tunings_folder",
    "write_result",
]

_RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class KeptTuning:
    """A tuning about which nobody has decided yet.

    Parameters
    ----------
    out
        Folder of the model that is, or would be.
    state
        ``"stopped"``: there is a checkpoint to go on from. ``"done"``: there is a model.
        ``"going"``: it goes on without a viewer.
    """

    out: Path
    state: Literal["stopped", "done", "going"]


def tunings_folder() -> Path:
    """Return where tunings lie about which nobody has decided yet."""
    return models_folder() / "tunings"


def list_tunings() -> tuple[KeptTuning, ...]:
    """Return the tunings that can be gone on with or decided about, by name."""
    found = []
    for folder in sorted(tunings_folder().glob("*.training")):
        out = folder.with_suffix("")
        if is_alone(folder):
            found.append(KeptTuning(out, "going"))
        elif (out / "card.json").is_file():
            found.append(KeptTuning(out, "done"))
        elif (folder / "checkpoint.pt").is_file():
            found.append(KeptTuning(out, "stopped"))
    return tuple(found)


def write_result(out: Path, values: dict[str, Any]) -> None:
    """Keep what a tuning came to beside its model."""
    write_values(training_folder(str(out)) / _RESULT, values)


def read_result(out: Path) -> dict[str, Any] | None:
    """Return what a tuning came to, `None` if that is not known."""
    try:
        return read_values(training_folder(str(out)) / _RESULT)
    except VirtualStainError:
        return None


def keep_tuning(out: Path) -> str:
    """Put a tuned model among the user's models, and return its name.

    Raises
    ------
    OutputExistsError
        If there is a model of that name.
    DiskError
        If it cannot be moved.
    """
    name = out.name
    if name in list_models():
        raise OutputExistsError(
            f"There is a model named {name!r} already. Remove it on the page Models, and keep this "
            "one then."
        )
    target = models_folder() / name
    with disk_errors(target):
        shutil.move(out, target)
    shutil.rmtree(training_folder(str(out)), ignore_errors=True)
    return name


def drop_tuning(out: Path) -> None:
    """Delete a tuning with its model: nothing is left of it."""
    for folder in (out, training_folder(str(out))):
        shutil.rmtree(folder, ignore_errors=True)
