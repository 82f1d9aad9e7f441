"""A store that is being written: begun, or opened again to go on with it."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from napari_virtualstain.errors import ImageFileError, OutputBusyError, SettingsError
from napari_virtualstain.io.disk import (
    check_free_space,
    disk_errors,
    move_aside,
    put_back,
    waiting,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.interrupts import interrupts_held
from napari_virtualstain.io.ngff_write import PARTIAL, first_windows, omero
from napari_virtualstain.io.pyramid import level_shapes
from napari_virtualstain.io.record import KEY, SCHEMA_VERSION, read_record
from napari_virtualstain.io.scale import MISSING, scales_of
from napari_virtualstain.io.sink_lock import LOCK, StoreLock, check_unlocked
from napari_virtualstain.io.sink_store import describe, levels_of, new_group, unfinished

__all__ = ["OpenStore", "begin", "reopen"]

RUNNING = "still running, or killed"
"""Why a store is partial that nobody has said more about."""
_BEGUN = ".begun"


class OpenStore:
    """The arrays and the metadata of a store that is not complete.

    Parameters
    ----------
    path
        Where it is.
    group
        Its zarr group.
    lock
        The right to write it; `None` for a helper of the run that holds it.
    previous
        The store that was moved aside for it, if one was.
    """

    def __init__(
        self, path: Path, group: Any, lock: StoreLock | None, previous: Path | None
    ) -> None:
        self.path = path
        self.group = group
        self.lock = lock
        self.previous = previous
        state = group.attrs[KEY]
        self.n_tiles = int(state["tiles_total"])
        self.layout: dict[str, Any] = dict(state["layout"])
        self.scales = scales_of(state)
        self.arrays: list[Any] = levels_of(group, int(self.layout["levels"]), make=lock is not None)
        self.shape: tuple[int, ...] = tuple(self.arrays[0].shape)
        self.chunks: tuple[int, ...] = tuple(self.arrays[0].chunks)
        self.dtype = np.dtype(self.arrays[0].dtype)
        self.missing = MISSING if self.scales and self.dtype.kind in "iu" else None

    @property
    def state(self) -> dict[str, Any]:
        """What the metadata say of the run."""
        return dict(self.group.attrs[KEY])

    def file(self, place: Sequence[int]) -> Path:
        """Return where a chunk lies: level, time, channel, z, row and column."""
        level, *chunk = (str(n) for n in place)
        return self.path.joinpath(level, "c", *chunk)

    def rewrite(
        self,
        state: dict[str, Any],
        levels: int,
        windows: Sequence[Mapping[str, float]],
        suffix: str,
    ) -> None:
        """Replace the metadata in one step."""
        block = dict(self.group.attrs["ome"]["omero"])
        block["channels"] = [
            {**channel, "window": dict(window)}
            for channel, window in zip(block["channels"], windows, strict=True)
        ]
        block["name"] = self.layout["name"] + suffix
        describe(
            self.group, self.layout, levels=levels, omero_block=block, state=state, suffix=suffix
        )

    def release(self, *, drop_previous: bool) -> None:
        """Give the lock back, and delete the store that was moved aside if it is not wanted."""
        if self.lock is not None:
            self.lock.release()
        if drop_previous and self.previous is not None:
            shutil.rmtree(self.previous, ignore_errors=True)


def begin(
    path: Path,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: int,
    channels: Sequence[Channel],
    n_tiles: int,
    layout: dict[str, Any],
    record: dict[str, Any],
    overwrite: bool,
) -> OpenStore:
    """Begin a store; what was there is moved aside, and comes back if this fails.

    Parameters
    ----------
    path, channels, n_tiles, overwrite
        As of `OmeZarrSink.create`.
    shape, dtype, chunk
        Of the finest level.
    layout
        What the levels are built with.
    record
        The run.

    Raises
    ------
    OutputExistsError, OutputBusyError, DiskError
        As of `OmeZarrSink.create`.
    """
    sizes = level_shapes(shape, layout["levels"])
    needed = dtype.itemsize * float(sum(np.prod(size, dtype=np.float64) for size in sizes))
    with disk_errors(path, needed):
        check_free_space(path, needed)
        check_unlocked(path)
        previous = move_aside(path, overwrite=overwrite, unfinished=unfinished(path))
    state = {
        "schema_version": SCHEMA_VERSION,
        "status": "partial",
        "reason": RUNNING,
        "tiles_done": 0,
        "tiles_total": int(n_tiles),
        "layout": layout,
        "record": record,
    }
    try:
        with interrupts_held(), disk_errors(path, needed):
            return _made_beside(path, sizes, dtype, chunk, channels, state, previous)
    except BaseException:
        # If something is there, it is of a run that began in the same moment.
        if previous is not None and not path.exists():
            put_back(path, previous)
        raise


def _made_beside(
    path: Path,
    sizes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    chunk: int,
    channels: Sequence[Channel],
    state: dict[str, Any],
    previous: Path | None,
) -> OpenStore:
    """Make a store under another name, and give it its own once it is valid.

    A run that is killed while it begins leaves nothing at the path that is no store, and
    would be neither replaced nor gone on with.
    """
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_scraps(path)
    place = scratch = path.with_name(f".{path.name}.{uuid4().hex}{_BEGUN}")
    try:
        (scratch / LOCK).parent.mkdir(parents=True)
        lock = StoreLock.take(scratch)
        group = new_group(scratch, sizes, dtype, chunk)
        layout = state["layout"]
        block = omero(layout["name"] + PARTIAL, channels, first_windows(dtype, sizes[0][1]))
        # Other programs see the name only: it says so until the store is complete.
        describe(group, layout, levels=1, omero_block=block, state=state, suffix=PARTIAL)
        try:
            scratch.rename(path)
        except OSError:
            check_unlocked(path)  # somebody else was faster
            raise
        place = path
        lock.moved_to(path)
        return OpenStore(path, zarr.open_group(store=path, mode="r+"), lock, previous)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _remove_scraps(path: Path) -> None:
    """Delete what runs that were killed while they began have left beside a path."""
    for scrap in path.parent.glob(f".{glob.escape(path.name)}.*{_BEGUN}"):
        with suppress(OutputBusyError):
            check_unlocked(scrap)
            shutil.rmtree(scrap, ignore_errors=True)


def reopen(path: Path, *, own: bool) -> OpenStore:
    """Open a store that is not complete.

    Parameters
    ----------
    path
        Where it is.
    own
        Whether to take its lock, and with it the right to finish it.

    Raises
    ------
    SettingsError
        If it is complete.
    OutputBusyError
        If another run holds the lock that is asked for.
    ImageFileError
        If it is damaged.
    """
    import zarr

    if read_record(path)["status"] == "complete":
        raise SettingsError(f"{str(path)!r} is complete. There is nothing to go on with.")
    lock = None
    if own:
        with disk_errors(path):
            lock = StoreLock.take(path)
    try:
        group = zarr.open_group(store=path, mode="r+")
        return OpenStore(path, group, lock, waiting(path) if own else None)
    except (KeyError, ValueError) as error:
        if lock is not None:
            lock.release()
        raise ImageFileError(
            f"{str(path)!r} is damaged: {error}. Run the command again with --overwrite."
        ) from error
    except BaseException:
        if lock is not None:
            lock.release()
        raise
