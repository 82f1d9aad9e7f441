"""The only way in which a result is written: OME-Zarr 0.5, tile by tile.

A store is valid from its first moment and says of itself whether it is
complete. What no tile has written reads as NaN; which tiles are done is kept
in a file of its own, since a chunk that is absent may also be one that holds
nothing but the fill value.

Writes are aligned to chunks, so that tiles written at the same time by several
processes never share a chunk: nothing is lost, and no chunk needs a lock. The
store as a whole has one, so that two runs never write the same store.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from napari_virtualstain.axes import PixelSize, Region
from napari_virtualstain.errors import DiskError, ImageFileError, OutputBusyError, SettingsError
from napari_virtualstain.io.disk import (
    check_free_space,
    check_output,
    disk_errors,
    move_aside,
    put_back,
    waiting,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.interrupts import interrupts_held
from napari_virtualstain.io.ngff_write import PARTIAL, first_windows, omero
from napari_virtualstain.io.pyramid import (
    Extent,
    extrema,
    halve,
    level_shapes,
    levels_needed,
    windows_of,
)
from napari_virtualstain.io.record import COMMITS, KEY, SCHEMA_VERSION, read_commits, read_record
from napari_virtualstain.io.sink_lock import LOCK, StoreLock, check_unlocked
from napari_virtualstain.io.sink_store import (
    check_region,
    check_settings,
    describe,
    jsonable,
    new_array,
    new_group,
    reason,
    unfinished,
)

__all__ = ["OmeZarrSink", "check_output", "check_unlocked", "read_record"]


class OmeZarrSink:
    """A result being written; made by `create` or, for one that was cut off, by `resume`.

    As a context manager it finishes the store, or marks it as partial when the
    block is left by an exception or by Ctrl-C.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "out.zarr"
    >>> with OmeZarrSink.create(
    ...     place, shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=1
    ... ) as sink:
    ...     sink.write(tuple(slice(0, n) for n in sink.shape), np.ones((1, 1, 1, 8, 8)))
    ...     sink.commit(0)
    >>> read_record(place)["status"]
    'complete'
    """

    def __init__(self, path: Path, group: Any, previous: Path | None, lock: StoreLock) -> None:
        self.path = path
        self._lock = lock
        self._group = group
        self._array = group["0"]
        self._previous = previous
        self._open = True
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.chunks: tuple[int, ...] = tuple(self._array.chunks)
        self.dtype = np.dtype(self._array.dtype)
        state = group.attrs[KEY]
        self.n_tiles = int(state["tiles_total"])
        self._layout = state["layout"]
        self._seen = Extent(self.shape[1])

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        shape: Sequence[int],
        channels: Sequence[Channel],
        n_tiles: int,
        pixel_size_um: PixelSize = PixelSize(),  # noqa: B008 (frozen)
        origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
        time_interval_s: float | None = None,
        z_positions_um: Sequence[float] | None = None,
        dtype: str = "float32",
        chunks_yx: int = 512,
        record: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        levels: int | None = None,
        name: str | None = None,
    ) -> Self:
        """Begin a store: its metadata are on disk, its pixels are missing.

        Parameters
        ----------
        path
            Where; folders above are created.
        shape
            (T, C, Z, Y, X).
        channels
            One entry along C; colours come from the stain where none is given.
        n_tiles
            How many tiles make it complete.
        pixel_size_um, origin_um, time_interval_s
            As in `LazyImage`; unknown sizes are written without a unit.
        z_positions_um
            As in `LazyImage`; OME-Zarr has no place for it, so only this package reads it.
        dtype
            Type of a pixel. What is missing is NaN in floats, 0 in integers.
        chunks_yx
            Edge of a chunk in pixels; writes must be aligned to it.
        record
            The run, JSON-able.
        overwrite
            Whether an OME-Zarr store at `path` may be replaced. It comes back
            if this run does not finish.
        levels
            Number of resolutions; `None` for as many as make the coarsest fit a chunk.
        name
            Shown by viewers; the file name without suffixes if `None`.

        Raises
        ------
        OutputExistsError
            If something is at `path` and may not be replaced.
        OutputBusyError
            If another run is writing it.
        DiskError
            If there is no room, or the disk cannot be written.
        SettingsError
            If the settings contradict each other.
        """
        path = Path(path)
        size = tuple(int(n) for n in shape)
        check_settings(size, channels, chunks_yx, n_tiles, levels)
        entry = jsonable(record or {})
        pixel = np.dtype(dtype)
        needed = float(np.prod(size, dtype=np.float64)) * pixel.itemsize * 4 / 3
        with disk_errors(path, needed):
            check_free_space(path, needed)
            check_unlocked(path)
            previous = move_aside(path, overwrite=overwrite, unfinished=unfinished(path))
        shown = name or path.name.removesuffix(".zarr").removesuffix(".ome")
        layout = {
            "name": shown,
            "levels": levels or levels_needed(size[-2], size[-1], chunks_yx),
            "pixel_size_um": [pixel_size_um.z, pixel_size_um.y, pixel_size_um.x],
            "origin_um": list(origin_um),
            "time_interval_s": time_interval_s,
            "z_positions_um": None if z_positions_um is None else list(z_positions_um),
        }
        state = {
            "schema_version": SCHEMA_VERSION,
            "status": "partial",
            "reason": "still running, or killed",
            "tiles_done": 0,
            "tiles_total": int(n_tiles),
            "layout": layout,
            "record": entry,
        }
        try:
            with interrupts_held(), disk_errors(path, needed):
                (path / LOCK).parent.mkdir(parents=True, exist_ok=True)
                lock = StoreLock.take(path)
                group = new_group(path, size, pixel, chunks_yx)
                block = omero(shown + PARTIAL, channels, first_windows(pixel, size[1]))
                # Other programs see the name only: it says so until the store is complete.
                describe(group, layout, levels=1, omero_block=block, state=state, suffix=PARTIAL)
        except OutputBusyError:
            raise  # the store is of a run that began in the same moment
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            if previous is not None:
                put_back(path, previous)
            raise
        return cls(path, group, previous, lock)

    @classmethod
    def resume(cls, path: Path | str, *, record_update: Mapping[str, Any] | None = None) -> Self:
        """Go on with a store that was cut off, or of which only a part was asked for.

        Parameters
        ----------
        path
            Of the store.
        record_update
            Entries added to the record of the run, or taking the place of others.

        Raises
        ------
        SettingsError
            If the store is complete.
        OutputBusyError
            If another run is writing it.
        """
        import zarr

        path = Path(path)
        state = read_record(path)
        if state["status"] == "complete":
            raise SettingsError(f"{str(path)!r} is complete. There is nothing to go on with.")
        with disk_errors(path):
            lock = StoreLock.take(path)
        try:
            try:
                sink = cls(path, zarr.open_group(store=path, mode="r+"), waiting(path), lock)
            except (KeyError, ValueError) as error:
                raise ImageFileError(
                    f"{str(path)!r} is damaged: {error}. Run the command again with --overwrite."
                ) from error
            sink._begin_again(jsonable(record_update or {}))
        except BaseException:
            lock.release()
            raise
        return sink

    def _begin_again(self, update: dict[str, Any]) -> None:
        state = dict(self._group.attrs[KEY])
        state |= {
            "reason": "still running, or killed",
            "record": {**state["record"], **update},
            "tiles_done": len(self.committed()),
        }
        windows = [channel["window"] for channel in self._group.attrs["ome"]["omero"]["channels"]]
        unseen = first_windows(self.dtype, self.shape[1])[0]
        for channel, window in enumerate(windows):
            if window != unseen:
                self._seen(channel, np.array([window["min"], window["max"]]))
        with interrupts_held(), disk_errors(self.path):
            self._rewrite(state, 1, windows, suffix=PARTIAL)

    def write(self, region: Region, pixels: ArrayLike) -> None:
        """Write the pixels of a region, in the calling thread's time.

        Parameters
        ----------
        region
            One slice an axis of (T, C, Z, Y, X); starts at chunk borders and ends at
            chunk borders or at the end of the image.
        pixels
            Array of the shape of the region.

        Raises
        ------
        SettingsError
            If the region is not aligned or the shape differs.
        DiskError
            If the disk is full or cannot be written.
        """
        array = np.asarray(pixels)
        check_region(region, array.shape, shape=self.shape, chunks=self.chunks)
        if not np.can_cast(array.dtype, self.dtype, casting="same_kind"):
            raise SettingsError(
                f"Pixels of type {array.dtype} do not fit a store of {self.dtype}. "
                "Convert them first, or create the store with their type."
            )
        array = array.astype(self.dtype, copy=False)
        with disk_errors(self.path):
            self._array[tuple(region)] = array
        start = region[1].start
        for index in range(array.shape[1]):
            self._seen(start + index, array[:, index])

    def commit(self, tile: int) -> None:
        """Note that all pixels of a tile are on disk; a line appended to a file."""
        if not 0 <= tile < self.n_tiles:
            raise SettingsError(f"Tile {tile} is none of the {self.n_tiles} (0 to n - 1).")
        with disk_errors(self.path), (self.path / COMMITS).open("ab", buffering=0) as file:
            # Begins with a line end too: half a line left by a crash must not join the next.
            file.write(f"\n{tile}\n".encode("ascii"))

    def committed(self) -> set[int]:
        """Return the tiles whose pixels are on disk."""
        if self._group.attrs[KEY]["status"] == "complete":
            return set(range(self.n_tiles))
        return read_commits(self.path)

    def finish(self, record_update: Mapping[str, Any] | None = None) -> None:
        """Build the coarser levels, fill the display windows, and mark the store as complete.

        Parameters
        ----------
        record_update
            Entries added to the record of the run, for example its duration.

        Raises
        ------
        SettingsError
            If tiles are missing.
        """
        missing = self.n_tiles - len(self.committed())
        if missing:
            raise SettingsError(
                f"{missing} of {self.n_tiles} tiles of {str(self.path)!r} are not written. "
                "Write them before finish(), or call fail()."
            )
        update = jsonable(record_update or {})
        with disk_errors(self.path):
            extent = Extent(self.shape[1])
            fine = self._array
            for level, shape in enumerate(level_shapes(self.shape, self._layout["levels"])[1:], 1):
                coarse = new_array(self._group, str(level), shape, self.dtype, self.chunks[-1])
                halve(fine, coarse, extent if level == 1 else Extent(self.shape[1]))
                fine = coarse
            if fine is self._array:
                extrema(fine, extent)
            state = dict(self._group.attrs[KEY])
            state.pop("reason", None)
            state |= {
                "status": "complete",
                "tiles_done": self.n_tiles,
                "record": {**state["record"], **update},
            }
            self._rewrite(state, self._layout["levels"], windows_of(fine, extent), suffix="")
            (self.path / COMMITS).unlink(missing_ok=True)
            self._open = False
            self._lock.release()
            if self._previous is not None:
                shutil.rmtree(self._previous, ignore_errors=True)

    def leave(self, why: str, record_update: Mapping[str, Any] | None = None) -> None:
        """Leave a store that is partial on purpose: a part was asked for, and is there.

        Parameters
        ----------
        why
            Which part.
        record_update
            As of `finish`. As there, a store that was moved aside is deleted.
        """
        update = jsonable(record_update or {})
        with disk_errors(self.path):
            self._mark_partial(why, update)
            self._open = False
            self._lock.release()
            if self._previous is not None:
                shutil.rmtree(self._previous, ignore_errors=True)

    def fail(self, why: str) -> None:
        """Leave a valid store that says of itself that it is partial, and why.

        A store that was moved aside to make room is put back instead.
        """
        if not self._open:
            return
        self._open = False
        try:
            with disk_errors(self.path):
                if self._previous is not None:
                    put_back(self.path, self._previous)
                else:
                    self._mark_partial(why, {})
        finally:
            with suppress(OSError):
                self._lock.release()

    def _mark_partial(self, why: str, update: dict[str, Any]) -> None:
        state = dict(self._group.attrs[KEY])
        state |= {
            "status": "partial",
            "reason": why,
            "tiles_done": len(self.committed()),
            "record": {**state["record"], **update},
        }
        windows = first_windows(self.dtype, self.shape[1])
        for window, low, high in zip(windows, self._seen.low, self._seen.high, strict=True):
            if low < high:
                window.update(min=low, max=high, start=low, end=high)
        self._rewrite(state, 1, windows, suffix=PARTIAL)

    def _rewrite(
        self, state: dict[str, Any], levels: int, windows: list[dict[str, float]], *, suffix: str
    ) -> None:
        block = dict(self._group.attrs["ome"]["omero"])
        block["channels"] = [
            {**channel, "window": window}
            for channel, window in zip(block["channels"], windows, strict=True)
        ]
        block["name"] = self._layout["name"] + suffix
        describe(
            self._group, self._layout, levels=levels, omero_block=block, state=state, suffix=suffix
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        if error is None:
            try:
                self.finish()
            except BaseException as problem:
                self._fail_quietly(problem)
                raise
        else:
            self._fail_quietly(error)

    def _fail_quietly(self, error: BaseException) -> None:
        # The store has said that it is partial from its first moment: if the disk is full now,
        # only the reason is lost, and the first error is the one to show.
        with suppress(DiskError):
            self.fail(reason(error))
