"""How tiles come into a store that is being written, by the run that began it or by its helpers.

Writes are aligned to chunks, so that processes that write at the same time never
share a chunk: nothing is lost, and no chunk needs a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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

    Any thread may call it, not only the one that made it. Calls of several threads
    at once wait for each other. Leaving the context of a helper ends its help, and
    nothing else.
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
        self._one = threading.RLock()
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

    def write(self, region: Region, pixels: ArrayLike) -> None:
        """Write the pixels of a region, in the calling thread's time.

        Parameters
        ----------
        region
            One slice an axis of (T, C, Z, Y, X); starts at chunk borders and ends at
            chunk borders or at the end of the image.
        pixels
            Array of the shape of the region: grey values, NaN where missing. Where the
            store has scales, what does not fit is clipped and counted.

        Raises
        ------
        SettingsError
            If the region is not aligned or the shape or type differs.
        DiskError
            If the disk is full or cannot be written.
        """
        array = np.asarray(pixels)
        check_region(region, array.shape, shape=self.shape, chunks=self.chunks)
        takes = self.dtype if self.scales is None else np.dtype(np.float64)
        if not np.can_cast(array.dtype, takes, casting="same_kind"):
            raise SettingsError(
                f"Pixels of type {array.dtype} do not fit a store of {self.dtype}. "
                "Convert them first, or create the store with their type."
            )
        region = tuple(slice(int(part.start), int(part.stop)) for part in region)
        with self._one, disk_errors(self.path):
            start = region[1].start
            stored = self._stored(array, start)
            if gone := self._coarser.forget(region):
                self._log.note(gone=gone)
            self._store.arrays[0][region] = stored
            self._log.written(self._files(region))
            for index in range(stored.shape[1]):
                self._seen(start + index, stored[:, index])
            self._coarser.fold(region, stored)

    def _stored(self, array: NDArray[Any], start: int) -> NDArray[Any]:
        if self.scales is None:
            return array.astype(self.dtype, copy=False)
        stored, clipped = to_stored(array, self.scales[start : start + array.shape[1]], self.dtype)
        for channel, count in enumerate(clipped, start):
            self._clipped[channel] += count
        return stored

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
        if not 0 <= tile < self.n_tiles:
            raise SettingsError(f"Tile {tile} is none of the {self.n_tiles} (0 to n - 1).")
        with self._one, disk_errors(self.path):
            built = self._coarser.news()
            self._log.written(self._store.file(place) for place in built)
            self._log.commit(tile, self._seen, self._clipped, built)
            self._begin_tile()

    def committed(self) -> set[int]:
        """Return the tiles whose pixels are written, by whichever process."""
        if self._store.state["status"] == "complete":
            return set(range(self.n_tiles))
        return self._log.committed()

    def sync(self) -> None:
        """Hand to the disk what was written."""
        with self._one, disk_errors(self.path):
            self._log.sync()

    def close(self) -> None:
        """End the help: what was written is handed to the disk, and memory given back."""
        with self._one, disk_errors(self.path):
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
