"""Which pixels are painted, in memory and on disk: written by one thread, read by another.

A frame is a plane at a time point: of stains of one plane, the time point; of stained stacks,
``t * depth + z``. Of each frame there are coarser copies in memory, as many as a budget allows;
those that nobody has looked at longest are dropped, and painted again when somebody does.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.pyramid import level_shapes, levels_needed
from napari_virtualstain.io.scale import open_stored
from napari_virtualstain.napari_io.painted_arrays import (
    ChunkCache,
    Copies,
    copies_of,
    finest_copy,
)
from napari_virtualstain.tiling.plan import Tile, TilePlan

__all__ = ["PaintedPixels"]

_SHARE = 0.75
"""Of the budget for the coarser copies; the rest is for chunks at full resolution."""
_FEWEST = 16_000_000
"""Bytes of chunks that are kept in any case."""


class PaintedPixels:
    """The pixels of a store whose tiles are written one by one.

    Parameters
    ----------
    store
        OME-Zarr (T, C, Z, Y, X) of this package; read as grey values.
    plan
        Tiles over Y and X.
    budget
        Bytes to keep in memory.
    """

    def __init__(self, store: Path, plan: TilePlan, *, budget: int) -> None:
        self._store = store
        self._plan = plan
        self._complete = False
        # Raw rather than through dask, whose cache would keep what was read before it was painted.
        self._array = open_stored(store)
        n_t, self._n_c, self.depth, height, width = self._array.shape
        n_frames = n_t * self.depth
        self._lock = threading.Lock()
        self.tiles = tuple(plan)
        grid = (-(-n // core) for n, core in zip(plan.shape, plan.core, strict=True))
        self.done = np.zeros((n_frames, *grid), dtype=bool)
        count = levels_needed(height, width, int(self._array.chunks[-1]))
        self._shapes = level_shapes((height, width), count)
        self._first = finest_copy(self._shapes, self._n_c, _SHARE * budget)
        one = sum(4 * self._n_c * h * w for _, (h, w) in self.kept())
        self._frames = max(1, int(_SHARE * budget) // max(one, 1))
        # By frame, the one looked at last at the end.
        self._copies: OrderedDict[int, Copies] = OrderedDict()
        if n_frames == 1:
            self._copies[0] = self._blank()
        self.chunks = ChunkCache(
            self._array,
            budget=max(budget - one * min(self._frames, n_frames), _FEWEST),
            is_done=self._is_done,
        )

    @property
    def nbytes(self) -> int:
        """Bytes that are kept in memory now."""
        with self._lock:
            copies = sum(copy.nbytes for held in self._copies.values() for copy in held)
        return copies + self.chunks.nbytes

    def kept(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return number and shape (Y, X) of the copies that are kept, the finest first."""
        if self._first is None:
            return []
        return list(enumerate(self._shapes))[self._first :]

    def flat_copy(self, level: int, c: int) -> NDArray[np.float32]:
        """Return the memory of a copy (Y, X) where there is one frame; it grows in place."""
        whole: NDArray[np.float32] = self._copies[0][level - (self._first or 0)][c]
        return whole

    def paint(self, t: int, tile: Tile) -> None:
        """Read a tile once, and take it into the copies and, if there is room, the chunks.

        Of a stack only frames that somebody looked at are read; the others are painted then.
        """
        if self.depth == 1:
            self._paint(t, tile)
            return
        frames = range(t * self.depth, (t + 1) * self.depth)
        for frame in frames:
            with self._lock:
                held = frame in self._copies
                if not held:
                    self.done[(frame, *self._place(tile))] = True
            if held:
                self._paint(frame, tile)

    def _paint(self, t: int, tile: Tile) -> None:
        region = self._whole_blocks(tile)
        pixels = self._read(t, region, tile)
        self._offer(t, tile, region, pixels)
        copies = self._copies_of(pixels)
        place = self._place(tile)
        with self._lock:
            first_of_its_frame = not self.done[t].any()
            self.done[(t, *place)] = True
            if first_of_its_frame and t not in self._copies:
                self._keep(t, self._blank())
            # Copies that were dropped meanwhile are painted again when somebody looks at them.
            if t in self._copies:
                self._fold(self._copies[t], region, copies)

    def take_whole(self) -> None:
        """Take the copies of a complete store, which are those that painting on would make."""
        self._complete = True
        whole = None if len(self.done) > 1 else self._stored_copies(0)
        with self._lock:
            self.done[:] = True
            if whole is None:
                self._copies.clear()  # read again when somebody looks at them
            else:
                for mine, stored in zip(self._copies[0], whole, strict=True):
                    mine[:] = stored

    def copy(self, level: int, c: int, t: int, y: slice, x: slice) -> NDArray[np.float32]:
        """Read a part of a copy (Y, X) of a frame."""
        copies = self._copies_at(t)
        if copies is None:
            return np.full((y.stop - y.start, x.stop - x.start), np.nan, np.float32)
        return copies[level - (self._first or 0)][c, y, x]

    def _copies_at(self, t: int) -> Copies | None:
        """Return the copies of a time point, `None` if nothing is painted there."""
        while True:
            with self._lock:
                if t in self._copies:
                    self._copies.move_to_end(t)
                    return self._copies[t]
                done = self.done[t].copy()
            if not done.any():
                return None
            copies = self._stored_copies(t) if self._complete else self._repainted(t, done)
            with self._lock:
                # Not if another tile came meanwhile: it would be missing for good.
                if np.array_equal(done, self.done[t]):
                    self._keep(t, copies)

    def _repainted(self, t: int, done: NDArray[np.bool_]) -> Copies:
        copies = self._blank()
        for tile in self.tiles:
            if done[self._place(tile)]:
                region = self._whole_blocks(tile)
                self._fold(copies, region, self._copies_of(self._read(t, region)))
        return copies

    def _stored_copies(self, t: int) -> Copies:
        arrays = (open_stored(self._store, n) for n, _ in self.kept())
        t, z = divmod(t, self.depth)
        return [np.asarray(array[t, :, z], dtype=np.float32) for array in arrays]

    def _keep(self, t: int, copies: Copies) -> None:
        """Hold the copies of a frame; the one that nobody has looked at longest goes."""
        self._copies[t] = copies
        while len(self._copies) > self._frames:
            self._copies.popitem(last=False)

    def _blank(self) -> Copies:
        return [np.full((self._n_c, *shape), np.nan, np.float32) for _, shape in self.kept()]

    def _fold(self, into: Copies, region: tuple[slice, slice], copies: Copies) -> None:
        for level, (whole, part) in enumerate(zip(into, copies, strict=True), self._first or 0):
            top, left = (side.start >> level for side in region)
            whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part

    def _copies_of(self, pixels: NDArray[np.float32]) -> Copies:
        if self._first is None:
            return []
        return copies_of(pixels, levels=len(self._shapes), first=self._first)

    def _read(
        self, t: int, region: tuple[slice, slice], tile: Tile | None = None
    ) -> NDArray[np.float32]:
        """Read a region (C, Y, X): NaN but where tiles are painted, or in the tile given."""
        y, x = region
        at, z = divmod(t, self.depth)
        pixels = np.asarray(self._array[at, :, z, y, x], dtype=np.float32)
        for other in self._tiles_in(region):
            if (tile is not None and other.index == tile.index) or self.done[
                (t, *self._place(other))
            ]:
                continue
            ty, tx = other.write
            top, left = max(ty.start - y.start, 0), max(tx.start - x.start, 0)
            pixels[:, top : ty.stop - y.start, left : tx.stop - x.start] = np.nan
        return pixels

    def _offer(
        self, t: int, tile: Tile, region: tuple[slice, slice], pixels: NDArray[np.float32]
    ) -> None:
        (ty, tx), (y, x) = tile.write, region
        edge_y, edge_x = (int(n) for n in self._array.chunks[-2:])
        for top, left in product(
            range(ty.start, ty.stop, edge_y), range(tx.start, tx.stop, edge_x)
        ):
            ys = slice(top - y.start, min(top + edge_y, ty.stop) - y.start)
            xs = slice(left - x.start, min(left + edge_x, tx.stop) - x.start)
            for c in range(pixels.shape[0]):
                self.chunks.offer(t, c, top, left, pixels[c, ys, xs])

    def _whole_blocks(self, tile: Tile) -> tuple[slice, slice]:
        """Return the tile grown to whole blocks of the coarsest copy.

        Tiles smaller than a chunk may begin inside a block, which several of them then share.
        """
        block = 2 ** (len(self._shapes) - 1)
        y, x = (
            slice(part.start // block * block, min(-(-part.stop // block) * block, length))
            for part, length in zip(tile.write, self._plan.shape, strict=True)
        )
        return y, x

    def _place(self, tile: Tile) -> tuple[int, int]:
        y, x = (part.start // core for part, core in zip(tile.write, self._plan.core, strict=True))
        return y, x

    def _tiles_in(self, region: tuple[slice, slice]) -> Iterator[Tile]:
        rows, columns = (
            range(part.start // core, -(-part.stop // core))
            for part, core in zip(region, self._plan.core, strict=True)
        )
        for row, column in product(rows, columns):
            yield self.tiles[row * self.done.shape[2] + column]

    def _is_done(self, t: int, y: int, x: int) -> bool:
        """Return whether the tile that holds a pixel is painted."""
        return bool(self.done[t, y // self._plan.core[0], x // self._plan.core[1]])
