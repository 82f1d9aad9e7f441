"""The only way in which a result is written: OME-Zarr 0.5, tile by tile.

A store is valid from its first moment and says of itself whether it is
complete. What no tile has written reads as NaN; which tiles are done is kept
in a file of its own, since a chunk that is absent may also be one that holds
nothing but the fill value.

Writes are aligned to chunks, so that tiles written at the same time by several
processes never share a chunk: nothing is lost, and no chunk needs a lock. The
store as a whole has one, so that two runs never write the same store.

Coarser levels are made of the tiles while they are in memory (`io.coarser`), so
that the end of a run has little left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import DiskError, SettingsError
from napari_virtualstain.io.coarser import BUDGET
from napari_virtualstain.io.disk import check_output, disk_errors, put_back
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.interrupts import interrupts_held
from napari_virtualstain.io.ngff_write import PARTIAL
from napari_virtualstain.io.pyramid import levels_needed
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.scale import Scale, check_scales, described
from napari_virtualstain.io.sink_end import complete, mark_partial
from napari_virtualstain.io.sink_lock import check_unlocked
from napari_virtualstain.io.sink_open import RUNNING, begin, reopen
from napari_virtualstain.io.sink_store import check_settings, jsonable, reason
from napari_virtualstain.io.sink_write import TileWriter
from napari_virtualstain.io.tile_log import read_notes

__all__ = ["OmeZarrSink", "check_output", "check_unlocked", "read_record"]


class OmeZarrSink(TileWriter):
    """A result being written; made by `create` or, for one that was cut off, by `resume`.

    As a context manager it finishes the store, or marks it as partial when the
    block is left by an exception or by Ctrl-C. Any thread may call it, several may write at
    once, and other processes may help: see `TileWriter`.

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
        scales: Sequence[Scale] | None = None,
        budget: int = BUDGET,
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
            Type of a stored pixel. What is missing is NaN in floats, 0 in integers.
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
        scales
            For float16, uint8 and uint16: what the stored numbers of each channel mean. Grey
            values are written, and grey values are read again by this package. `None` stores
            pixels as they are; an integer store then takes integers only.
        budget
            Bytes of memory for unfinished chunks of coarser levels.

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
        pixel = np.dtype(dtype)
        noted = described(check_scales(scales, pixel, size[1]))
        layout = {
            "name": name or path.name.removesuffix(".zarr").removesuffix(".ome"),
            "levels": levels or levels_needed(size[-2], size[-1], chunks_yx),
            "pixel_size_um": [pixel_size_um.z, pixel_size_um.y, pixel_size_um.x],
            "origin_um": list(origin_um),
            "time_interval_s": time_interval_s,
            "z_positions_um": None if z_positions_um is None else list(z_positions_um),
        } | ({} if noted is None else {"scales": noted})
        store = begin(
            path, shape=size, dtype=pixel, chunk=chunks_yx, channels=channels, n_tiles=n_tiles,
            layout=layout, record=jsonable(record or {}), overwrite=overwrite,
        )  # fmt: skip
        return cls(store, budget=budget)

    @classmethod
    def resume(
        cls,
        path: Path | str,
        *,
        record_update: Mapping[str, Any] | None = None,
        budget: int = BUDGET,
    ) -> Self:
        """Go on with a store that was cut off, or of which only a part was asked for.

        Parameters
        ----------
        path
            Of the store.
        record_update
            Entries added to the record of the run, or taking the place of others.
        budget
            As of `create`.

        Raises
        ------
        SettingsError
            If the store is complete.
        OutputBusyError
            If another run is writing it.
        """
        update = jsonable(record_update or {})
        store = reopen(Path(path), own=True)
        try:
            sink = cls(store, budget=budget)
            sink._begin_again(update)
        except BaseException:
            store.release(drop_previous=False)
            raise
        return sink

    def _begin_again(self, update: dict[str, Any]) -> None:
        store = self._store
        with disk_errors(self.path):
            self._log.strike(read_notes(self.path).doubtful(self.committed()))
        state = store.state
        state |= {
            "reason": RUNNING,
            "record": {**state["record"], **update},
            "tiles_done": len(self.committed()),
        }
        windows = [channel["window"] for channel in store.group.attrs["ome"]["omero"]["channels"]]
        with interrupts_held(), disk_errors(self.path):
            store.rewrite(state, 1, windows, PARTIAL)

    def take(self, lines: Iterable[tuple[str, str]]) -> None:
        """Note what helpers have written that send their notes here; see `TileWriter.join`.

        Parameters
        ----------
        lines
            In their order.
        """
        with self._one, disk_errors(self.path):
            for name, line in lines:
                self._log.append(name, line)

    def finish(
        self,
        record_update: Mapping[str, Any] | None = None,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Complete the coarser levels and the display windows, and mark the store as complete.

        Only chunks are read again that no process could make from its tiles in memory.

        Parameters
        ----------
        record_update
            Entries added to the record of the run, for example its duration.
        on_progress
            Told of chunks filled and chunks to fill. What it raises leaves the store
            partial, with all its tiles: `resume` and `finish` go on from there.

        Raises
        ------
        SettingsError
            If tiles are missing.
        """
        with self._alone():
            missing = self.n_tiles - len(self.committed())
            if missing:
                raise SettingsError(
                    f"{missing} of {self.n_tiles} tiles of {str(self.path)!r} are not written. "
                    "Write them before finish(), or call fail()."
                )
            update = jsonable(record_update or {})
            with disk_errors(self.path):
                complete(self._store, self._log, self._coarser, self._seen, update, on_progress)
                self._close()
                self._store.release(drop_previous=True)

    def leave(self, why: str, record_update: Mapping[str, Any] | None = None) -> None:
        """Leave a store that is partial on purpose: a part was asked for, and is there.

        Parameters
        ----------
        why
            Which part.
        record_update
            As of `finish`. As there, a store that was moved aside is deleted.
        """
        with self._alone():
            update = jsonable(record_update or {})
            with disk_errors(self.path):
                mark_partial(self._store, self._log, why, update)
                self._close()
                self._store.release(drop_previous=True)

    def fail(self, why: str) -> None:
        """Leave a valid store that says of itself that it is partial, and why.

        A store that was moved aside to make room is put back instead.
        """
        with self._alone():
            if not self._open:
                return
            self._close()
            try:
                with disk_errors(self.path):
                    if self._store.previous is not None:
                        put_back(self.path, self._store.previous)
                    else:
                        mark_partial(self._store, self._log, why, {})
            finally:
                with suppress(OSError):
                    self._store.release(drop_previous=False)

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
