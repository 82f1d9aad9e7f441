"""Coarser levels, made from tiles while these are in memory.

A chunk of a coarser level waits in memory until all chunks below it have been
folded into it, is written once, and is folded up in turn. What waits is bounded:
beyond a budget the chunk that was touched longest ago is given up, with those
above it, and filled from disk when the store is finished.

Chunks of an odd edge begin inside a block of 2 x 2 pixels; levels above those
are all filled from disk.

Several threads may fold at once, each a region of its own: what is kept is
changed under a lock; means are computed, and chunks written, beside each other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.io.pyramid import fill_chunk, mean_2x2

__all__ = ["BUDGET", "Coarser", "Place"]

BUDGET = 256_000_000
"""Bytes of unfinished chunks that are kept in memory."""

Place = tuple[int, ...]
"""Level, time, channel, z, row and column of a chunk."""


class _Waiting:
    """A chunk that is not complete."""

    def __init__(self, pixels: NDArray[Any], children: int) -> None:
        self.pixels = pixels
        self.children = children
        self.there: set[tuple[int, int]] = set()


class Coarser:
    """The coarser levels of a store that is being written.

    Parameters
    ----------
    arrays
        Zarr arrays (T, C, Z, Y, X) of all levels, the finest first.
    built
        Chunks that are on disk already.
    missing
        Number that stands for a missing pixel, if one does.
    budget
        Bytes that unfinished chunks may take.
    """

    def __init__(
        self,
        arrays: Sequence[Any],
        *,
        built: Iterable[Place] = (),
        missing: int | None = None,
        budget: int = BUDGET,
    ) -> None:
        self._arrays = tuple(arrays)
        self._missing = missing
        self._budget = budget
        self._shapes = [tuple(int(n) for n in array.shape[-2:]) for array in arrays]
        self._edges = [tuple(int(n) for n in array.chunks[-2:]) for array in arrays]
        self._waiting: OrderedDict[Place, _Waiting] = OrderedDict()
        self._given_up: set[Place] = set()
        self._built = set(built)
        self._news: list[Place] = []
        self._writing: set[Place] = set()
        self._lock = threading.RLock()
        self._highest = self._highest_folded()
        self.nbytes = 0

    def _highest_folded(self) -> int:
        """Return the coarsest level to which every chunk can be folded by itself."""
        for level, (shape, edges) in enumerate(zip(self._shapes, self._edges, strict=True)):
            if any(e % 2 and e < n for e, n in zip(edges, shape, strict=True)):
                return level
        return len(self._arrays) - 1

    @property
    def built(self) -> frozenset[Place]:
        """The chunks of the coarser levels that are complete on disk."""
        with self._lock:
            return frozenset(self._built)

    def news(self, unfinished: Sequence[Region] = ()) -> list[Place]:
        """Return the chunks that were completed since the last call.

        Parameters
        ----------
        unfinished
            Regions that are being written: chunks over them are kept for a later call.
        """
        with self._lock:
            later = {place for region in unfinished for place in self._above(region)}
            news = [place for place in self._news if place not in later]
            self._news = [place for place in self._news if place in later]
        return news

    def touched(self, region: Region) -> bool:
        """Return whether something of a region is in a coarser level already."""
        with self._lock:
            if any(p in self._built or p in self._writing for p in self._above(region)):
                return True
            if self._highest < 1:
                return False
            waiting = ((c, self._waiting.get(self._parent(c))) for c in self._chunks(region))
            return any(chunk is not None and c[-2:] in chunk.there for c, chunk in waiting)

    def forget(self, region: Region) -> list[Place]:
        """Before a region is written: return the complete chunks that it makes invalid.

        They count as missing from now on, until all chunks below have been folded again.
        """
        with self._lock:
            gone = [place for place in self._above(region) if place in self._built]
            for place in gone:
                self._built.discard(place)
                if place in self._news:
                    self._news.remove(place)
                above = self._waiting.get(self._parent(place)) if place[0] < self._highest else None
                if above is not None:
                    above.there.discard(place[-2:])
        return gone

    def fold(self, region: Region, pixels: NDArray[Any]) -> None:
        """Take a written region into the levels above it.

        Threads may do so at once with regions that were not `touched` before, and share no chunk.

        Parameters
        ----------
        region
            Whole chunks of the finest level, or up to its end.
        pixels
            As stored, of the shape of the region.

        Raises
        ------
        OSError
            If the disk refuses a chunk that is complete.
        """
        if self._highest < 1:
            return
        outer, (y, x) = [part.start for part in region[:3]], region[3:]
        edge_y, edge_x = self._edges[0]
        for place in self._chunks(region):
            top, left = place[-2] * edge_y, place[-1] * edge_x
            rows = slice(top - y.start, min(top + edge_y, y.stop) - y.start)
            columns = slice(left - x.start, min(left + edge_x, x.stop) - x.start)
            plane = tuple(k - start for k, start in zip(place[1:4], outer, strict=True))
            self._take(place, pixels[(*plane, rows, columns)])

    def _take(self, child: Place, pixels: NDArray[Any]) -> None:
        place = self._parent(child)
        if place in self._given_up:
            return
        half = mean_2x2(pixels, self._missing)
        with self._lock:
            whole = self._put(child, place, half)
        if whole is None:
            return
        (y, x), array = self._span(place), self._arrays[place[0]]
        array[(*place[1:4], y, x)] = whole
        with self._lock:
            # Not where the disk refused it: what lies below stays touched.
            self._writing.discard(place)
            self._built.add(place)
            self._news.append(place)
        if place[0] < self._highest:
            self._take(place, whole)

    def _put(self, child: Place, place: Place, half: NDArray[Any]) -> NDArray[Any] | None:
        """Lay the mean of a chunk into the one above it; return that if it is complete now."""
        if place in self._given_up:
            return None
        chunk = self._waiting.pop(place, None)
        if chunk is None:
            chunk = self._begin(place)
        top, left = (
            k * fine // 2 - own * coarse
            for k, fine, own, coarse in zip(
                child[-2:], self._edges[child[0]], place[-2:], self._edges[place[0]], strict=True
            )
        )
        chunk.pixels[top : top + half.shape[0], left : left + half.shape[1]] = half
        chunk.there.add((child[-2], child[-1]))
        if len(chunk.there) < chunk.children:
            self._waiting[place] = chunk  # at the end: touched last
            self._keep_to_budget()
            return None
        self.nbytes -= chunk.pixels.nbytes
        self._writing.add(place)
        return chunk.pixels

    def _begin(self, place: Place) -> _Waiting:
        level, span = place[0], self._span(place)
        children = 1
        for part, fine, length in zip(
            span, self._edges[level - 1], self._shapes[level - 1], strict=True
        ):
            children *= -(-min(2 * part.stop, length) // fine) - 2 * part.start // fine
        shape = tuple(part.stop - part.start for part in span)
        chunk = _Waiting(np.empty(shape, self._arrays[level].dtype), children)
        self.nbytes += chunk.pixels.nbytes
        return chunk

    def _keep_to_budget(self) -> None:
        while self.nbytes > self._budget:
            place, _ = next(iter(self._waiting.items()))
            # Those above can no longer be completed from memory either.
            while True:
                self._given_up.add(place)
                chunk = self._waiting.pop(place, None)
                self.nbytes -= 0 if chunk is None else chunk.pixels.nbytes
                if place[0] >= self._highest:
                    break
                place = self._parent(place)

    def _parent(self, place: Place) -> Place:
        level = place[0]
        row, column = (
            k * fine // 2 // coarse
            for k, fine, coarse in zip(
                place[-2:], self._edges[level], self._edges[level + 1], strict=True
            )
        )
        return (level + 1, *place[1:4], row, column)

    def _span(self, place: Place) -> tuple[slice, slice]:
        """Return rows and columns of a chunk in its level."""
        level = place[0]
        y, x = (
            slice(k * edge, min((k + 1) * edge, length))
            for k, edge, length in zip(
                place[-2:], self._edges[level], self._shapes[level], strict=True
            )
        )
        return y, x

    def _chunks(self, region: Region) -> Iterator[Place]:
        """Yield the chunks of the finest level that a region takes."""
        grid = (
            range(part.start // edge, -(-part.stop // edge))
            for part, edge in zip(region[3:], self._edges[0], strict=True)
        )
        outer = (range(part.start, part.stop) for part in region[:3])
        yield from ((0, *place) for place in product(*outer, *grid))

    def _above(self, region: Region) -> Iterator[Place]:
        """Yield the chunks of all coarser levels that hold pixels of a region."""
        outer = [range(part.start, part.stop) for part in region[:3]]
        for level in range(1, len(self._arrays)):
            grid = (
                range(part.start // (edge << level), (part.stop - 1) // (edge << level) + 1)
                for part, edge in zip(region[3:], self._edges[level], strict=True)
            )
            yield from ((level, *place) for place in product(*outer, *grid))

    def unbuilt(self) -> list[Place]:
        """Return the chunks that are not complete, the finest first."""
        places: list[Place] = []
        for level in range(1, len(self._arrays)):
            grid = (
                range(-(-length // edge))
                for length, edge in zip(self._shapes[level], self._edges[level], strict=True)
            )
            outer = (range(n) for n in self._arrays[level].shape[:3])
            places += (
                (level, *place)
                for place in product(*outer, *grid)
                if (level, *place) not in self._built
            )
        return places

    def fill(self, place: Place, see: Callable[[int, NDArray[Any]], None] | None = None) -> None:
        """Fill a chunk from the level below it, which has to be complete there.

        Parameters
        ----------
        place
            One of `unbuilt`, in its order.
        see
            Told of the channel and the pixels that were read.
        """
        level = place[0]
        block = fill_chunk(self._arrays[level - 1], self._arrays[level], place[1:], self._missing)
        if see is not None:
            see(place[2], block)
        self._built.add(place)
        self._news.append(place)

    def clear(self) -> None:
        """Give up all that waits, and its memory."""
        self._waiting.clear()
        self.nbytes = 0

    def adopt(self, built: Iterable[Place]) -> None:
        """Believe that these chunks are complete on disk, and no others."""
        self._built = {place for place in built if 0 < place[0] < len(self._arrays)}
