"""What is done instead where a run is not repeated: a sentence a verb."""

from __future__ import annotations

from pathlib import Path

from napari_virtualstain.errors import ReplayError, parse_json
from napari_virtualstain.generators.package import read_card

__all__ = ["INSTEAD", "instead_of", "refuse_what_is_no_run"]

_SAYS = "It says something and keeps no record: run the command again."
_EACH = "Each stain that it wrote has a record of its own: repeat these one by one."
INSTEAD = {
    "info": _SAYS,
    "models": _SAYS,
    "focus": _SAYS,
    "passport": _SAYS,
    "plan": _SAYS,
    "suggest": _SAYS,
    "doctor": _SAYS,
    "evaluate": "Scores keep no record: run `virtualstain evaluate` again on the same two images.",
    "scores": (
        "A table of scores is one file: write it again with `virtualstain scores`, by the settings "
        "that a table in JSON holds, and another --out, and compare."
    ),
    "export": "A copy keeps no record: write it again with `virtualstain export`.",
    "pairs": (
        "A pairs file holds decisions of a person besides: match again with `virtualstain pairs` "
        "and another --out, and compare."
    ),
    "illumination": (
        "Functions of light name the images that they were fitted on: fit them again with "
        "`virtualstain illumination` and another --out, and compare."
    ),
    "batch": _EACH,
    "watch": _EACH,
    "demo": _EACH,
    "replay": "A repetition has the record of what it repeated: choose the store that it wrote.",
    "project": "A project lists runs: repeat the stores of these one by one.",
    "index": (
        "An index does not name all of the images that it was made of: make it again with "
        "`virtualstain index` and the images of the training."
    ),
    "train": (
        "A card does not name all that a model was trained on: train again with the settings "
        "that it lists under training."
    ),
    "finetune": (
        "A card does not name all that a model was tuned on: tune again with the settings that "
        "it lists under training."
    ),
}
"""What is said of each verb whose runs are not repeated."""
_PARTS = {
    "measure": "These are outlines, which were written with tables: repeat the folder of these.",
    "qc": "These are maps, which were written with a report: repeat the folder of that.",
}
"""Stores that lie beside tables."""


def instead_of(job: str) -> str:
    """Return what is done where a store of a verb is not repeated.

    Parameters
    ----------
    job
        As its record names it.
    """
    known = _PARTS.get(job) or INSTEAD.get(job)
    return known or (
        f"It was written by {job!r}, which this version does not know. Update napari-virtualstain."
    )


def refuse_what_is_no_run(path: Path) -> None:
    """Say what is done instead of repeating a model, a list of images, or a file.

    Raises
    ------
    ReplayError
        If the path is one of these.
    """
    _refuse_training(path)
    for name, job in (("batch.json", "batch"), ("project.json", "project")):
        if path.name == name or (path / name).is_file():
            raise ReplayError(f"{str(path)!r} is not repeated. {INSTEAD[job]}")
    if path.suffix == ".json" and path.is_file():
        raise ReplayError(f"{str(path)!r} is not repeated. {_of_file(path)}")


def _of_file(path: Path) -> str:
    """Return what is done instead of repeating what wrote a file."""
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if isinstance(values, dict):
        if str(values.get("format", "")).startswith("napari-virtualstain illumination"):
            return INSTEAD["illumination"]
        if values.get("job") == "scores":
            return INSTEAD["scores"]
        if "pairs" in values and "stains" in values:
            return INSTEAD["pairs"]
    return "It holds no record of a run: choose a store, or a folder of tables."


def _refuse_training(folder: Path) -> None:
    """Say how a training is repeated: its card does not name the images of the user."""
    if not (folder / "card.json").is_file():
        return
    report = read_card(folder).training
    how = "with the images of the first time"
    if report.recipe != "own images":
        how = f"by `virtualstain train --recipe {report.recipe} --seed {report.seed} --out NEW`"
    raise ReplayError(
        f"{str(folder)!r} is a model, and its card does not name all that it was trained on. "
        f"Train again {how}, with the settings that the card lists under training."
    )
