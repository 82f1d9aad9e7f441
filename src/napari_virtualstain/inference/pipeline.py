"""The threads beside the network: they read what is wanted next, and hand on what is done.

One of each for a processor, which more of them would only take time from. Beside a
graphics card there are several, since decoding and encoding take longer than it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.inference.device import processors
from napari_virtualstain.inference.memory import free_memory
from napari_virtualstain.inference.planner import RunPlan, host_bytes
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.transfer import Stains
from napari_virtualstain.tiling.plan import Tile

__all__ = ["AHEAD", "Ahead", "Cutter", "Write", "Writing", "threads_beside"]

AHEAD = 2
"""Pieces that are read before they are wanted, and as many that wait to be written."""
_MOST_THREADS = 8
"""That read, and as many that write: more of them wait for each other."""
Write = Callable[[int, Tile, NDArray[np.float32]], None]


def threads_beside(stainer: Stainer, plan: RunPlan) -> int:
    """Return how many threads read, and how many write: as many as processors and memory allow.

    Parameters
    ----------
    stainer
        What predicts.
    plan
        What is read and written.
    """
    if not stainer.on_card or plan.mode == "stream" or plan.together:
        return 1
    room = free_memory("cpu") // 2
    one = host_bytes(plan, len(stainer.outputs), stainer.typical.in_channels)
    tiles = stainer.source.times * len(plan.tiles)
    return max(1, min(_MOST_THREADS, processors() // 2, tiles, room // one))


class Writing:
    """The threads that return to grey values and hand on, and how far they are.

    As a context manager it waits for what it was given, also when the block ends by an error,
    and raises what went wrong in a thread.

    Parameters
    ----------
    stainer, write
        See `engine.stain_tiles`.
    report
        Told how many tiles are handed on.
    most
        Tiles that may be on their way; the next one waits.
    threads
        Tiles that are handed on at once.
    """

    def __init__(
        self,
        stainer: Stainer,
        write: Write,
        report: Callable[[int], None],
        *,
        most: int = AHEAD,
        threads: int = 1,
    ) -> None:
        self._stainer, self._write, self._report = stainer, write, report
        self._most = most
        self._thread = ThreadPoolExecutor(threads, thread_name_prefix="virtualstain-write")
        self._waiting: deque[Future[None]] = deque()
        self._done = 0

    def put(self, t: int, tile: Tile, stains: Stains) -> None:
        """Hand on a tile; waits while too many wait."""
        self._waiting.append(self._thread.submit(self._finish, t, tile, stains))
        while len(self._waiting) > self._most:
            self._take()
        self.tell()

    def tell(self) -> None:
        """Say how far the run is, which may end it."""
        while self._waiting and self._waiting[0].done():
            self._take()
        self._report(self._done)

    def _take(self, *, report: bool = True) -> None:
        self._waiting.popleft().result()
        self._done += 1
        if report:
            self._report(self._done)

    def _finish(self, t: int, tile: Tile, stains: Stains) -> None:
        self._write(t, tile, self._stainer.finish(t, tile, stains))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            while self._waiting:
                self._take(report=error is None)
        except Exception:
            if error is None:
                raise
            # What ended the run is what is told.
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)


class Ahead:
    """Reads in threads what will be wanted next, and gives it in the order of the jobs.

    Parameters
    ----------
    jobs
        What to read, asked for one by one.
    count
        How many are read before they are wanted.
    threads
        How many are read at once.
    """

    def __init__(
        self, jobs: Iterator[Callable[[], Any]], count: int = AHEAD, *, threads: int = 1
    ) -> None:
        self._jobs, self._count = jobs, count
        self._thread = ThreadPoolExecutor(threads, thread_name_prefix="virtualstain-read")
        self._coming: deque[Future[Any]] = deque()

    def __iter__(self) -> Iterator[Any]:
        while True:
            while len(self._coming) < self._count and (job := next(self._jobs, None)) is not None:
                self._coming.append(self._thread.submit(job))
            if not self._coming:
                return
            yield self._coming.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


class Cutter:
    """Cuts rows that come one after the other into tiles."""

    def __init__(self, tiles: tuple[Tile, ...], axis: int, first: int) -> None:
        self._left = deque(tiles)
        self._axis, self._row = axis, first
        self._filling: NDArray[np.float32] | None = None

    @property
    def finished(self) -> bool:
        """Whether every tile was given."""
        return not self._left

    def take(self, rows: NDArray[np.float32]) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Take the next rows (C, *S); yield the tiles that are complete now."""
        axis, dim = self._axis, self._axis + 1
        low, high = self._row, self._row + rows.shape[dim]
        self._row = high
        while self._left:
            tile = self._left[0]
            own = tile.write[axis]
            start, stop = max(low, own.start), min(high, own.stop)
            if start >= stop:
                return
            if self._filling is None:
                lengths = [part.stop - part.start for part in tile.write]
                self._filling = np.empty((rows.shape[0], *lengths), np.float32)
            source: list[slice] = [slice(None), *tile.keep]
            source[dim] = slice(start - low, stop - low)
            target: list[slice] = [slice(None)] * rows.ndim
            target[dim] = slice(start - own.start, stop - own.start)
            self._filling[tuple(target)] = rows[tuple(source)]
            if stop < own.stop:
                return
            done, self._filling = self._filling, None
            self._left.popleft()
            yield tile, done
