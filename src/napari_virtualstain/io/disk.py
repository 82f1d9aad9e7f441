"""Whether something may be written here, and what becomes of what is there already.

A store that is replaced is moved aside first, and deleted only when the new
one is complete; when the run fails it is put back.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_virtualstain.errors import (
    DiskError,
    OutputExistsError,
    SettingsError,
    VirtualStainError,
    parse_json,
)

__all__ = [
    "check_free_space",
    "check_output",
    "check_report",
    "disk_errors",
    "free_bytes",
    "is_ome_zarr",
    "move_aside",
    "put_back",
    "waiting",
    "write_whole",
]

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EIO: "the disk reports an error",
}
"""What the system means, in words."""

SMALLEST_PART = 0.1
"""Refused at the start if less than this part of the uncompressed result would fit: results
compress, but not tenfold."""


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 5e7 else f"{number / 1e6:.1f} MB"


def _existing_parent(path: Path) -> Path:
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def free_bytes(path: Path) -> int:
    """Return how much room there is where a path is, or would be."""
    return shutil.disk_usage(_existing_parent(path)).free


_OTHER_FORMATS = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".h5", ".hdf5", ".npy", ".czi", ".nd2"}
)
"""Endings that would promise another format than OME-Zarr."""


@contextmanager
def disk_errors(path: Path, needed: float | None = None) -> Iterator[None]:
    """Turn what the system says about a disk into one sentence.

    Parameters
    ----------
    path
        What is being written.
    needed
        Bytes that the whole result takes, if known.
    """
    try:
        yield
    except VirtualStainError:
        raise
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        space = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = free_bytes(path)
            space = f" ({_gigabytes(free)} free"
            space += f", about {_gigabytes(needed)} needed)" if needed else ")"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "Make room, or choose another --out" if full else "Choose another --out"
        raise DiskError(
            f"{str(path)!r} cannot be written: {why}{space}. {advice} where it can be written."
        ) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a text, or bytes, in one step: what was there stays until all of it is.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    scratch = path.with_name(f"{path.name}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            scratch.write_bytes(content)
        else:
            scratch.write_text(content, encoding="utf-8", newline="")
        scratch.replace(path)


def check_free_space(path: Path, needed: float) -> None:
    """Refuse to begin what cannot end.

    Raises
    ------
    DiskError
        If less than a tenth of the needed bytes is free.
    """
    free = free_bytes(path)
    if free < SMALLEST_PART * needed:
        raise DiskError(
            f"{str(path)!r} needs about {_gigabytes(needed)}, but only {_gigabytes(free)} are "
            "free there. Make room, or choose another --out on a larger disk."
        )


def check_output(
    path: Path | str, inputs: Iterable[Path | str | None], *, overwrite: bool | None = None
) -> None:
    """Refuse an output that would touch an input, or what may not be replaced.

    Parameters
    ----------
    path
        Where the result shall go.
    inputs
        Paths that are read; `None` (an array in memory) is passed over.
    overwrite
        Whether an OME-Zarr store at `path` may be replaced; `None` not to ask,
        else it is said now what `OmeZarrSink.create` would say after the model has loaded.

    Raises
    ------
    SettingsError
        If the output is an input, lies inside one, or holds one.
    OutputExistsError
        If something is there that may not be replaced.
    """
    out = Path(os.path.realpath(path))
    for given in inputs:
        if given is None:
            continue
        source = Path(os.path.realpath(given))
        same = out == source or (out.exists() and source.exists() and out.samefile(source))
        if same:
            how = "is the input itself"
        elif source in out.parents:
            how = f"lies inside the input {str(given)!r}"
        elif out in source.parents:
            how = f"holds the input {str(given)!r}"
        else:
            continue
        raise SettingsError(f"The output {str(path)!r} {how}. Choose another --out.")
    if Path(path).suffix.lower() in _OTHER_FORMATS:
        raise SettingsError(
            f"The output {str(path)!r} would be an OME-Zarr folder, which no program expects under "
            f"that name. Name it {Path(path).with_suffix('.ome.zarr').name!r}."
        )
    if overwrite is not None:
        _refuse_existing(Path(path), overwrite=overwrite)


def check_report(
    folder: Path, names: Iterable[str], inputs: Iterable[Path | str | None], *, overwrite: bool
) -> None:
    """Refuse a folder for a report that would touch an input, or in which another report lies.

    Parameters
    ----------
    folder
        Where files shall be written; other files in it stay.
    names
        Of the files.
    inputs
        Paths that are read; `None` is passed over.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    SettingsError
        If the folder is an input, lies inside one, or holds one.
    OutputExistsError
        If it is a file, or holds a file that may not be replaced.
    """
    check_output(folder, inputs)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{str(folder)!r} exists and is a file. Choose another --out.")
    there = next((name for name in names if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise OutputExistsError(
            f"'{folder / there}' exists. Choose another --out, or replace it with --overwrite."
        )


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse what is never replaced, and what may not be."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_ome_zarr(path):
        what = "a folder that is no OME-Zarr store" if path.is_dir() else "a file"
        raise OutputExistsError(
            f"{str(path)!r} exists and is {what}, which is never replaced. Choose another --out."
        )
    if not overwrite:
        raise OutputExistsError(
            f"{str(path)!r} exists. To go on, choose another --out or add --overwrite."
        )


def is_ome_zarr(path: Path) -> bool:
    """Return whether a path is an OME-Zarr store, going by its root metadata."""
    for name in ("zarr.json", ".zattrs"):
        try:
            content = parse_json((path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(content, dict):
            continue
        attributes = content.get("attributes") or {} if name == "zarr.json" else content
        block = attributes.get("ome", attributes)
        if isinstance(block, dict) and {"multiscales", "plate", "well"} & set(block):
            return True
    return False


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def waiting(path: Path) -> Path | None:
    """Return where the store waits that was moved aside for `path`, if one does."""
    return _aside(path) if is_ome_zarr(_aside(path)) else None


def move_aside(path: Path, *, overwrite: bool, unfinished: bool) -> Path | None:
    """Make room at a path, and return where the store that was there waits.

    Parameters
    ----------
    path
        Where a store shall be written.
    overwrite
        Whether somebody said that a store there may be replaced.
    unfinished
        Whether the store there is what a killed run left; then the one that this
        run had moved aside is the previous one.

    Raises
    ------
    OutputExistsError
        If something is there and may not be replaced.
    """
    if not path.exists() and waiting(path) is not None:
        _aside(path).rename(path)  # a run was killed between moving and writing
    _refuse_existing(path, overwrite=overwrite)
    if not path.exists():
        return None
    if not is_ome_zarr(path):
        path.rmdir()  # empty
        return None
    aside = _aside(path)
    if aside.exists():
        if unfinished:
            shutil.rmtree(path)
            return aside
        if not is_ome_zarr(aside):
            raise OutputExistsError(
                f"{str(aside)!r} is in the way, where the previous result would wait. "
                "Move it, or choose another --out."
            )
        shutil.rmtree(aside)
    path.rename(aside)
    return aside


def put_back(path: Path, aside: Path) -> None:
    """Remove what a failed run wrote and restore what was there before."""
    shutil.rmtree(path, ignore_errors=True)
    aside.rename(path)
