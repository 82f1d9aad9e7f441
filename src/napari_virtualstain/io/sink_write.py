"""How tiles come into a store that is being written, by the run that began it or by its helpers.

Writes are aligned to chunks, so that processes that write at the same time never
share a chunk: nothing is lost, and no chunk needs a lock. Threads of one process may
write at the same time too: encoding, means and files go on beside each other, what is
kept about them is changed under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.coarser import BUDGET, Coarser
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.scale import to_stored
from napari_virtualstain.io.sink_open import OpenStore, reopen
from napari_virtualstain.io.sink_store import check_region
from napari_virtualstain.io.tile_log import TileLog, read_notes
from napari_virtualstain.io.windows import Extent

__all__ = ["TileWriter"]


class TileWriter:
    """Writes tiles into a store; made by `join` for one that another process began.

    Any thread may call it, and several may at once; those whose regions overlap wait for
    each other. Leaving the context of a helper ends its help, and nothing else.
    """

    def __init__(
        self,
        store: OpenStore,
        *,
        budget: int = BUDGET,
        send: Callable[[str, str], None] | None = None,
    ) -> None:
        self.path = store.path
        self.shape = store.shape
        self.chunks = store.chunks
        self.dtype = store.dtype
        self.scales = store.scales
        self.n_tiles = store.n_tiles
        self._store = store
        self._log = TileLog(store.path, send)
        self._coarser = Coarser(
            store.arrays, built=read_notes(store.path).built, missing=store.missing, budget=budget
        )
        self._open = True
        self._one = threading.Condition(threading.RLock())
        self._busy: list[Region] = []
        self._begin_tile()

    def _begin_tile(self) -> None:
        self._seen = Extent(self.shape[1], self._store.missing)
        self._clipped = [0] * self.shape[1]

    @staticmethod
    def join(
        path: Path | str,
        *,
        budget: int = BUDGET,
        send: Callable[[str, str], None] | None = None,
    ) -> TileWriter:
        """Help to write a store that another process has begun, and will finish.

        Both may write and commit, each its own tiles. Leaving the context ends the
        help, and nothing else.

        Parameters
        ----------
        path
            Of the store.
        budget
            As of `create`.
        send
            Takes what is to be noted (the name of a file, a line), for the process that
            finishes the store to `OmeZarrSink.take`; written by this process if `None`.

        Raises
        ------
        SettingsError
            If the store is complete.
        """
        return TileWriter(reopen(Path(path), own=False), budget=budget, send=send)

    def write(self, region: Region, pixels: ArrayLike, *, tile: int | None = None) -> None:
        """Write the pixels of a region, in the calling thread's time.

        Parameters
        ----------
        region
            One slice an axis of (T, C, Z, Y, X); starts at chunk borders and ends at
            chunk borders or at the end of the image.
        pixels
            Array of the shape of the region: grey values, NaN where missing. Where the
            store has scales, what does not fit is clipped and counted.
        tile
            Number of the tile that is all written by this; `commit` says so later if `None`.
            Threads that write at once give it: what is noted with a tile is then its own.

        Raises
        ------
        SettingsError
            If the region is not aligned, the shape or type differs, or there is no such tile.
        DiskError
            If the disk is full or cannot be written.
        """
        if tile is not None:
            self._check(tile)
        array = np.asarray(pixels)
        check_region(region, array.shape, shape=self.shape, chunks=self.chunks)
        takes = self.dtype if self.scales is None else np.dtype(np.float64)
        if not np.can_cast(array.dtype, takes, casting="same_kind"):
            raise SettingsError(
                f"Pixels of type {array.dtype} do not fit a store of {self.dtype}. "
                "Convert them first, or create the store with their type."
            )
        region = tuple(slice(int(part.start), int(part.stop)) for part in region)
        start = region[1].start
        stored, clipped = self._stored(array, start)
        seen = Extent(self.shape[1], self._store.missing)
        for index in range(stored.shape[1]):
            seen(start + index, stored[:, index])
        with disk_errors(self.path), self._undisturbed(region):
            self._store.arrays[0][region] = stored
            self._coarser.fold(region, stored)
            with self._one:
                self._log.written(self._files(region))
                if tile is not None:
                    self._commit(tile, seen, clipped, besides=region)
                else:
                    self._seen.merge(seen)
                    self._clipped = [a + b for a, b in zip(self._clipped, clipped, strict=True)]

    @contextmanager
    def _undisturbed(self, region: Region) -> Iterator[None]:
        """Wait until no other thread writes where this one will."""
        with self._one:
            self._one.wait_for(lambda: self._free_for(region))
            if self._coarser.touched(region):
                # Written before: what was made of it is in chunks above, so all others wait.
                if gone := self._coarser.forget(region):
                    self._log.note(gone=gone)
                yield
                return
            self._busy.append(region)
        try:
            yield
        finally:
            with self._one:
                self._busy.remove(region)
                self._one.notify_all()

    def _free_for(self, region: Region) -> bool:
        if self._coarser.touched(region):
            return not self._busy
        return not any(_overlap(region, other) for other in self._busy)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no thread writes, and let none begin."""
        with self._one:
            self._one.wait_for(lambda: not self._busy)
            yield

    def _stored(self, array: NDArray[Any], start: int) -> tuple[NDArray[Any], list[int]]:
        """Return pixels as they are stored, and how many of each channel were clipped."""
        clipped = [0] * self.shape[1]
        if self.scales is None:
            return array.astype(self.dtype, copy=False), clipped
        stop = start + array.shape[1]
        stored, clipped[start:stop] = to_stored(array, self.scales[start:stop], self.dtype)
        return stored, clipped

    def _files(self, region: Region) -> Iterator[Path]:
        grid = (
            range(part.start // chunk, -(-part.stop // chunk))
            for part, chunk in zip(region, self.chunks, strict=True)
        )
        return (self._store.file((0, *place)) for place in product(*grid))

    def commit(self, tile: int) -> None:
        """Note that all pixels of a tile are written; a line appended to a file.

        Raises
        ------
        SettingsError
            If there is no such tile.
        DiskError
            If the disk is full or cannot be written.
        """
        self._check(tile)
        with self._one, disk_errors(self.path):
            self._commit(tile, self._seen, self._clipped)
            self._begin_tile()

    def _check(self, tile: int) -> None:
        if not 0 <= tile < self.n_tiles:
            raise SettingsError(f"Tile {tile} is none of the {self.n_tiles} (0 to n - 1).")

    def _commit(
        self, tile: int, seen: Extent, clipped: list[int], *, besides: Region | None = None
    ) -> None:
        # A chunk is noted as complete when every tile below it is listed: one that is not, since
        # the process is killed now, will be written again.
        built = self._coarser.news([region for region in self._busy if region is not besides])
        self._log.written(self._store.file(place) for place in built)
        self._log.commit(tile, seen, clipped, built)

    def committed(self) -> set[int]:
        """Return the tiles whose pixels are written, by whichever process."""
        if self._store.state["status"] == "complete":
            return set(range(self.n_tiles))
        return self._log.committed()

    def gaps(self) -> list[int]:
        """Return how many pixels of each channel were written as NaN, infinity or missing.

        In all tiles that are listed, by whichever process and run.
        """
        tiles = self.committed()
        return read_notes(self.path).counted("gaps", tiles, self.shape[1])

    def sync(self) -> None:
        """Hand to the disk what was written."""
        with self._one, disk_errors(self.path):
            self._log.sync()

    def close(self) -> None:
        """End the help: what was written is handed to the disk, and memory given back."""
        with self._alone(), disk_errors(self.path):
            if self._open:
                self._close()
                self._log.sync()

    def _close(self) -> None:
        self._open = False
        self._coarser.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _overlap(one: Region, other: Region) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
