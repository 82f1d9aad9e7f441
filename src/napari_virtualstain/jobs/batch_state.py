"""What a batch remembers: its settings and the state of each image, in one file of its output."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ImageFileError, SettingsError
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.jobs.batch_items import Item

__all__ = ["FILE", "load_items", "save_items"]

FILE = "batch.json"
SCHEMA_VERSION = 1


def load_items(out: Path, settings: dict[str, Any]) -> tuple[Item, ...]:
    """Return the items of a batch that was begun in a folder, none if there is none.

    Parameters
    ----------
    out
        Output of the batch.
    settings
        That decide what a stain looks like, as plain values.

    Raises
    ------
    SettingsError
        If it was begun with other settings.
    ImageFileError
        If the file is damaged or of a newer version.
    """
    file = out / FILE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        version, known = state["schema_version"], state["settings"]
        items = tuple(Item.from_json(values) for values in state["items"])
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageFileError(
            f"{str(file)!r} is damaged ({type(error).__name__}: {error}). Delete it to begin "
            "anew: stains that are complete are not computed again."
        ) from error
    if version != SCHEMA_VERSION:
        raise ImageFileError(
            f"{str(file)!r} is of schema {version}, this program knows {SCHEMA_VERSION}. "
            "Update napari-virtualstain."
        )
    differ = sorted(name for name in {*known, *settings} if known.get(name) != settings.get(name))
    if differ:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in differ)
        raise SettingsError(
            f"{str(out)!r} was begun with other settings ({options}). Repeat these to go on, or "
            "choose another --out."
        )
    return items


def save_items(out: Path, settings: dict[str, Any], items: tuple[Item, ...]) -> None:
    """Write the state in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    state = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "items": [item.to_json() for item in items],
    }
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        scratch = out / f".{FILE}.{os.getpid()}.partial"
        scratch.write_text(json.dumps(state, indent=1), encoding="utf-8")
        scratch.replace(out / FILE)
