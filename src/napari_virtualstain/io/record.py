"""Which run wrote a store, and whether it finished.

The record lies in the attributes of the root group under
``napari_virtualstain``; which tiles are done lies in a text file that grows by
one line a tile, since rewriting the attributes for each of them would be slow
and could be cut in half by a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    VirtualStainError,
    parse_json,
    refuse_newer,
)
from napari_virtualstain.io.zarr_tree import attributes_of, places_in

__all__ = [
    "COMMITS",
    "KEY",
    "SCHEMA_VERSION",
    "read_commits",
    "read_record",
    "record_of_scene",
    "state_of",
]

KEY = "napari_virtualstain"
SCHEMA_VERSION = 1
COMMITS = "0/commits"
"""Below the finest array, not beside it: a file among the members of a group makes zarr warn."""


def read_commits(store: Path) -> set[int]:
    """Return the tiles whose pixels are on disk; half a last line does not count."""
    try:
        text = (store / COMMITS).read_text(encoding="ascii")
    except FileNotFoundError:
        return set()
    whole = text[: text.rfind("\n") + 1]
    return {int(line) for line in whole.splitlines() if line.isdecimal()}


def state_of(attributes: Mapping[str, Any], store: Path) -> dict[str, Any] | None:
    """Return what the attributes say of the run, `None` if another program wrote the store."""
    state = attributes.get(KEY)
    if not isinstance(state, Mapping) or "status" not in state:
        return None
    found = dict(state)
    if not isinstance(found.get("record"), Mapping):
        found["record"] = {}  # damaged: it says nothing
    if found["status"] != "complete":
        found["tiles_done"] = len(read_commits(store))
    return found


def read_record(path: Path | str) -> dict[str, Any]:
    """Return the record of the run that wrote a store.

    Parameters
    ----------
    path
        An OME-Zarr store that this package wrote.

    Returns
    -------
    dict
        ``schema_version``, ``status`` (``"complete"`` or ``"partial"``), ``tiles_done``,
        ``tiles_total``, ``record``, and ``reason`` where the run did not finish.

    Raises
    ------
    MissingInputError
        If there is no such store.
    ImageFileError
        If it is damaged, or another program wrote it.
    """
    store = Path(path)
    file = store / "zarr.json"
    if not store.exists():
        raise MissingInputError(f"{str(store)!r} does not exist. Check the path.")
    try:
        attributes = parse_json(file.read_text(encoding="utf-8")).get("attributes") or {}
        state = state_of(attributes, store)
    except (FileNotFoundError, NotADirectoryError):
        state = None
    except (ValueError, AttributeError) as error:
        raise ImageFileError(
            f"{str(file)!r} is damaged: {error}. Run the command that wrote it again."
        ) from error
    refuse_newer(state, SCHEMA_VERSION, repr(str(store)), ImageFileError)
    if state is None:
        raise ImageFileError(
            f"{str(store)!r} holds no run record: it was not written by napari-virtualstain. "
            "Choose a store that this package wrote."
        )
    return state


def record_of_scene(path: Path | str, scene: str) -> dict[str, Any]:
    """Return the record of the run that wrote an image, an empty one if there is none.

    Parameters
    ----------
    path
        A store, perhaps of a plate, whose fields have a record each.
    scene
        Which image of it.
    """
    root = Path(path)
    try:
        place, _ = places_in(root, attributes_of(root) or {}).get(scene, ("", 0))
        record = read_record(root / place)["record"]
    except (VirtualStainError, OSError, KeyError):
        return {}
    return record if isinstance(record, dict) else {}
