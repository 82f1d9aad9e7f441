"""Which lines do in a terminal what a list would do: one a path, for the same output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.batch import BatchSettings
from napari_virtualstain.jobs.batch_item import Item
from napari_virtualstain.jobs.batch_items import scene_pattern

__all__ = ["command_of"]


def command_of(items: Sequence[Item], out: str, values: dict[str, Any], *, kept: bool) -> str:
    """Return the command line of a list.

    Parameters
    ----------
    items
        The images.
    out
        Where the stains go.
    values
        Settings of all stains.
    kept
        Whether the list lies in the output already: then its name is enough.

    Raises
    ------
    MissingInputError
        If there is nothing to stain.
    SettingsError
        If a setting is not possible.
    """
    if not items:
        raise MissingInputError("The list is empty. Add images first.")
    if kept:
        settings = make_settings(BatchSettings, {"out": out}).absolute()
        return to_command("batch", settings, positional=("input",))
    lines = []
    for (path, stated), members in groupby(items, _stated):
        names = [item.scene for item in members]
        found = {**values, **dict(stated), "out": out, "input": path}
        if any(names):
            found["scene"] = scene_pattern(names)
        settings = make_settings(
            BatchSettings, {k: v for k, v in found.items() if v is not None}
        ).absolute()
        lines.append(to_command("batch", settings, positional=("input",)))
    return " && ".join(lines)


def _stated(item: Item) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Return the path of an image and what is stated of it, which one line can say once."""
    own = {k: v for k, v in item.own().items() if v is not None}
    return item.input, (*sorted(own.items()), *([("times", item.times)] if item.times else []))


def proposed_out(paths: Iterable[str], model: str) -> str:
    """Return where the stains of some images may go: beside the first of them."""
    first = Path(next(iter(paths)))
    return str(first.parent / f"{first.name.split('.')[0]}-{Path(model).name}")
