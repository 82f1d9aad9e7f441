"""How a viewer reads a picture that is still being painted, quickly and in bounded memory.

Full resolution comes from a cache of decoded chunks, coarser copies from planes in memory. Both
look to a layer like an array.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy as shallow_copy
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.pyramid import mean_2x2

__all__ = ["ChunkCache", "Copies", "PaintedLevel", "copies_of", "finest_copy"]

Copies = list[NDArray[np.float32]]
"""The coarser copies of a region or picture, the finest first, each (C, Y, X)."""

ReadPlane = Callable[[int, slice, slice], NDArray[np.float32]]
"""Returns the pixels (Y, X) of a part of a frame, see `painted_pixels`."""


def finest_copy(shapes: Sequence[tuple[int, ...]], n_channels: int, budget: float) -> int | None:
    """Return the finest level of which all coarser copies fit a budget.

    Parameters
    ----------
    shapes
        (Y, X) of each level, full resolution first.
    n_channels
        How many channels there are.
    budget
        Bytes; the coarsest copy is kept in any case.

    Returns
    -------
    int or None
        `None` if there is only the full resolution.

    Examples
    --------
    >>> shapes = [(4096, 4096), (2048, 2048), (1024, 1024), (512, 512)]
    >>> finest_copy(shapes, 1, 1e9), finest_copy(shapes, 5, 30e6), finest_copy(shapes[:1], 5, 1e9)
    (1, 2, None)
    """
    if len(shapes) < 2:
        return None
    first, used = len(shapes) - 1, 0
    for level in range(len(shapes) - 1, 0, -1):
        used += 4 * n_channels * shapes[level][0] * shapes[level][1]
        if used > budget:
            break
        first = level
    return first


def copies_of(pixels: NDArray[np.float32], *, levels: int, first: int) -> Copies:
    """Return the copies of a region that begins and ends on whole blocks of the coarsest.

    Parameters
    ----------
    pixels
        (C, Y, X), NaN where nothing is known.
    levels
        Number of levels, full resolution included.
    first
        The finest that is kept.
    """
    fine, kept = list(pixels), []
    for level in range(1, levels):
        fine = [mean_2x2(plane) for plane in fine]
        if level >= first:
            kept.append(np.stack(fine))
    return kept


class PaintedLevel:
    """One level of one channel as layers want it; indexing reads only what is asked for.

    A range of time points stays lazy, since napari cuts the window out of all of them before it
    picks one.

    Parameters
    ----------
    read
        Reads a part of a plane.
    outer
        Length of the axes before y and x: none, (T), (Z) or (T, Z).
    shape_yx
        In pixels.
    frame
        Number of the frame at a place on the outer axes; the first of them if not given.
    """

    dtype = np.dtype("float32")

    def __init__(
        self,
        read: ReadPlane,
        outer: Sequence[int],
        shape_yx: tuple[int, ...],
        frame: Callable[[tuple[int, ...]], int] | None = None,
    ) -> None:
        self._read = read
        self._frame = frame or _first
        self._axes: tuple[range | int, ...] = tuple(range(n) for n in (*outer, *shape_yx))

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis that is left."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def ndim(self) -> int:
        """Number of axes that are left."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in bytes, were all of it read."""
        return 4 * self.size

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return pixels; of several time points a view that has not been read."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        keys += [slice(None)] * (self.ndim - len(keys))
        simple = all(isinstance(k, (int, np.integer, slice)) for k in keys)
        if not simple or len(keys) > self.ndim:
            return np.asarray(self)[key]
        left = iter(keys)
        axes = tuple(
            axis if isinstance(axis, int) else axis[_plain(next(left))] for axis in self._axes
        )
        part = shallow_copy(self)
        vars(part)["_axes"] = axes
        return part if any(isinstance(axis, range) for axis in axes[:-2]) else np.asarray(part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything that is left."""
        *outer, y, x = (
            axis if isinstance(axis, range) else range(axis, axis + 1) for axis in self._axes
        )
        planes = []
        for place in product(*outer):
            whole = self._read(self._frame(place), _around(y), _around(x))
            planes.append(whole[_steps(y), _steps(x)])
        shape = (*(len(axis) for axis in outer), len(y), len(x))
        pixels = planes[0] if len(planes) == 1 else np.stack(planes)
        return pixels.reshape(shape).reshape(self.shape).astype(dtype or self.dtype, copy=False)


def _first(place: tuple[int, ...]) -> int:
    return place[0] if place else 0


def _plain(key: Any) -> Any:
    return key if isinstance(key, slice) else int(key)


def _around(axis: range) -> slice:
    """Return the part that holds all places of a range."""
    return slice(min(axis), max(axis) + 1) if len(axis) else slice(0, 0)


def _steps(axis: range) -> Any:
    """Return how a range is picked out of the part around it."""
    return slice(None, None, axis.step) if len(axis) > 1 else slice(None)


def _from(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


class ChunkCache:
    """Decoded chunks of the finest level, those that were looked at last.

    Parameters
    ----------
    array
        Zarr array (T, C, Z, Y, X).
    budget
        Bytes.
    is_done
        Whether the tile with a pixel (frame, y, x) is painted; what is not is never looked for.
    """

    def __init__(
        self, array: Any, *, budget: int, is_done: Callable[[int, int, int], bool]
    ) -> None:
        self._array = array
        self._edges: tuple[int, int] = (int(array.chunks[-2]), int(array.chunks[-1]))
        self._depth = int(array.shape[2])
        self._budget = budget
        self._is_done = is_done
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, ...], NDArray[np.float32]] = OrderedDict()
        self.nbytes = 0

    def read(self, c: int, t: int, y: slice, x: slice) -> NDArray[np.float32]:
        """Return a part of a plane (Y, X), NaN where nothing is painted."""
        pixels = np.full((y.stop - y.start, x.stop - x.start), np.nan, np.float32)
        (edge_y, edge_x), (height, width) = self._edges, self._array.shape[-2:]
        rows = range(y.start // edge_y, -(-y.stop // edge_y))
        columns = range(x.start // edge_x, -(-x.stop // edge_x))
        for row, column in product(rows, columns):
            top, left = row * edge_y, column * edge_x
            if not self._is_done(t, top, left):
                continue
            bottom, right = min(top + edge_y, height), min(left + edge_x, width)
            chunk = self._chunk((t, c, row, column), slice(top, bottom), slice(left, right))
            ys = slice(max(top, y.start), min(bottom, y.stop))
            xs = slice(max(left, x.start), min(right, x.stop))
            into = (_from(ys, y.start), _from(xs, x.start))
            pixels[into] = chunk[_from(ys, top), _from(xs, left)]
        return pixels

    def _chunk(self, key: tuple[int, ...], y: slice, x: slice) -> NDArray[np.float32]:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        t, z = divmod(key[0], self._depth)
        pixels = np.asarray(self._array[t, key[1], z, y, x], dtype=np.float32)
        self._keep(key, pixels, looked_at=True)
        return pixels

    def offer(self, t: int, c: int, y: int, x: int, pixels: NDArray[np.float32]) -> None:
        """Take a chunk that was read anyway, if there is room: it pushes nothing out.

        Parameters
        ----------
        t, c, y, x
            Its first pixel.
        pixels
            All of it, (Y, X).
        """
        key = (t, c, y // self._edges[0], x // self._edges[1])
        with self._lock:
            if key in self._held or self.nbytes + pixels.nbytes > self._budget:
                return
        self._keep(key, pixels.copy(), looked_at=False)

    def _keep(self, key: tuple[int, ...], pixels: NDArray[np.float32], *, looked_at: bool) -> None:
        with self._lock:
            if key in self._held:
                return
            self._held[key] = pixels
            self.nbytes += pixels.nbytes
            self._held.move_to_end(key, last=looked_at)
            while self.nbytes > self._budget and len(self._held) > 1:
                _, gone = self._held.popitem(last=False)
                self.nbytes -= gone.nbytes
