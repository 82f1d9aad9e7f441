"""Where a batch keeps its state: `batch.json` in its output, which a run and a viewer may change.

Both change it while the other looks. So it is read, changed and written under a
lock that is held for that moment, and replaced in one step.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ImageFileError, OutputBusyError, parse_json
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.jobs.batch_item import ITEM_SETTINGS, Item, PlateShape
from napari_virtualstain.jobs.batch_state import BatchState

__all__ = ["FILE", "SCHEMA_VERSION", "change_state", "load_state"]

FILE = "batch.json"
SCHEMA_VERSION = 3
"""Version 1 had what is stated of images (axes, pattern, channel, ...) once for all of them,
version 2 did not know where in a plate an image lies, and numbered the fields of a well."""
_PATIENCE_S = 10.0
"""A change takes milliseconds: a lock that is older was left by a crash."""
_TICK_S = 0.02


def load_state(out: Path) -> BatchState | None:
    """Return the state of the batch in a folder, `None` if there is none.

    Raises
    ------
    ImageFileError
        If the file is damaged or of a newer version.
    """
    file = out / FILE
    try:
        values = parse_json(file.read_text(encoding="utf-8"))
        version = values["schema_version"]
        if version in range(1, SCHEMA_VERSION + 1):
            return _state(_upgraded(values) if version == 1 else values)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ImageFileError(
            f"{str(file)!r} is damaged ({type(error).__name__}: {error}). Delete it to begin "
            "anew: stains that are complete are not computed again."
        ) from error
    raise ImageFileError(
        f"{str(file)!r} is of schema {version}, this program knows 1 to {SCHEMA_VERSION}. "
        "Update napari-virtualstain."
    )


def change_state(
    out: Path, change: Callable[[BatchState], BatchState], *, new: BatchState | None = None
) -> BatchState:
    """Change the state on disk, and return it as it is then.

    Parameters
    ----------
    out
        Output of the batch; made if it is not there.
    change
        Given the state as it is now. What it raises leaves the file as it was.
    new
        What is changed if there is none yet; an empty list if not given.

    Raises
    ------
    ImageFileError
        See `load_state`.
    OutputBusyError
        If somebody else does not stop changing it.
    DiskError
        If it cannot be written.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            state = change(load_state(out) or new or BatchState())
            scratch = out / f".{FILE}.{os.getpid()}.partial"
            scratch.write_text(json.dumps(_plain(state), indent=1), encoding="utf-8")
            scratch.replace(out / FILE)
    return state


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold what only one process or thread can hold."""
    path, began = out / f".{FILE}.lock", time.monotonic()
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except (FileExistsError, PermissionError) as error:
            if isinstance(error, PermissionError) and sys.platform != "win32":
                raise  # on Windows also a lock that is just being removed
            waited = time.monotonic() - began
        if waited > 2 * _PATIENCE_S:
            raise OutputBusyError(
                f"{str(out / FILE)!r} is being changed by another program all the time. Wait "
                f"until it is done, or delete {str(path)!r} if nothing runs there."
            )
        try:
            if time.time() - path.stat().st_mtime > _PATIENCE_S:
                path.unlink(missing_ok=True)
        except OSError:
            pass  # gone meanwhile
        time.sleep(_TICK_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _plain(state: BatchState) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "begun": state.begun,
        "paused": state.paused,
        "settings": state.settings,
        "plate": None if state.plate is None else state.plate.to_json(),
        "items": [item.to_json() for item in state.items],
        "removed": [item.to_json() for item in state.removed],
    }


def _state(values: dict[str, Any]) -> BatchState:
    plate = values["plate"]
    return BatchState(
        settings=dict(values["settings"]),
        items=tuple(Item.from_json(item) for item in values["items"]),
        removed=tuple(Item.from_json(item) for item in values["removed"]),
        paused=bool(values["paused"]),
        begun=bool(values["begun"]),
        plate=None if plate is None else PlateShape(**plate),
    )


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """Return the values of version 1 as those of version 2."""
    settings = {k: v for k, v in old["settings"].items() if k not in ITEM_SETTINGS}
    own = {name: old["settings"].get(name) for name in ITEM_SETTINGS}
    fields = [item["field"] for item in old["items"] if item.get("field") is not None]
    plate = None
    if fields:
        rows, columns = (1 + max(place[axis] for place in fields) for axis in (0, 1))
        plate = PlateShape.sold(rows, columns).to_json()
    return {
        "settings": settings,
        "items": [{**item, **own} for item in old["items"]],
        "removed": [],
        "paused": False,
        "begun": True,
        "plate": plate,
    }
