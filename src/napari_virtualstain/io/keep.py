"""How a temporary result becomes one of the user's: copied whole, with all that repeats it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import parse_json
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.io.folder import review_folder
from napari_virtualstain.io.record import KEY

__all__ = ["beside", "keep_result"]


def beside(store: Path) -> Path:
    """Return a free place next to a result for its input, if that was in memory."""
    stem = store.name.removesuffix(".zarr").removesuffix(".ome")
    names = (f"{stem}-input{n}.ome.zarr" for n in ("", *(f"-{k}" for k in range(2, 1000))))
    return next(p for p in (store.with_name(name) for name in names) if not p.exists())


def keep_result(store: Path, target: Path, inputs: Path | None = None) -> None:
    """Copy a complete store, so that the copy is whole or not there, and what was decided of it.

    Parameters
    ----------
    store
        Temporary result of a run.
    target
        Where the copy goes.
    inputs
        Temporary store that the run has read; copied beside the result, whose record then
        names the copy. `None` where the input is a file of the user's.

    Raises
    ------
    OutputExistsError
        If something is in the way.
    DiskError
        If the disk is full or cannot be written.
    """
    check_output(target, inputs=[str(store)], overwrite=False)
    place = None if inputs is None else beside(target)
    scratch = target.with_name(f".{target.name}.partial")
    with disk_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(store, scratch)
            if inputs is not None and place is not None:
                shutil.copytree(inputs, place)
            _rename_in_record(scratch / "zarr.json", target, place)
            decided = review_folder(store)
            if decided.is_dir() and not review_folder(target).exists():
                shutil.copytree(decided, review_folder(target))
            scratch.rename(target)
        except BaseException:
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _rename_in_record(file: Path, target: Path, inputs: Path | None) -> None:
    """Let the record of a copy name the places of the copies."""
    metadata: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
    record = metadata["attributes"][KEY]["record"]
    record["settings"]["out"] = str(target)
    if inputs is not None:
        record["settings"]["input"] = str(inputs)
        record["input"]["path"] = str(inputs.resolve())
    file.write_text(json.dumps(metadata, indent=2), encoding="utf-8")
