"""Run a network over an image piece by piece, so that the pieces leave no trace.

Threads in a row, each a few pieces ahead of the next: one reads and normalises,
the caller's computes, one returns to grey values and hands on. Beside a graphics
card, which normalises too, several read and several hand on. Memory depends on the
piece and not on the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.inference.ladder import Ladder, Piece, out_of_memory
from napari_virtualstain.inference.pipeline import (
    AHEAD,
    Ahead,
    Cutter,
    Write,
    Writing,
    threads_beside,
)
from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.inference.sampled import SampledStainer
from napari_virtualstain.inference.source import padded
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.stitch import stitch_tiles
from napari_virtualstain.inference.strips import Strip, strips_of
from napari_virtualstain.tiling.plan import Tile

__all__ = ["stain_tiles"]


def stain_tiles(
    stainer: Stainer,
    plan: RunPlan,
    write: Write,
    *,
    numbers: Iterable[int] | None = None,
    total: Callable[[], int] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    on_pass: Callable[[int, int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    on_other_way: Callable[[int, Tile, str], None] | None = None,
) -> None:
    """Predict tiles and hand each on as soon as it is there.

    Parameters
    ----------
    stainer
        What to predict with.
    plan
        Over the image's spatial axes.
    write
        Takes time point, tile, and (stains, *S) grey values; called in a thread of its own, one
        tile after the other. Beside a graphics card in several threads, each with another tile.
    numbers
        Which tiles, in the order in which they are predicted: the time point
        times the number of tiles of the plan, plus the tile's position in it. Asked one by one
        while the run goes on. All of them, one time point after the other, if `None`. A
        stream takes them as they are before it begins, strip after strip.
    total
        Returns how many there are, if that changes or ``numbers`` does not know its length.
    on_tile
        Called in the caller's thread with tiles done and tiles in all, first of all with none done
        and at least once a tile. What it raises ends the run between two pieces.
    on_pass
        The same for the steps of a sampler, tile by tile, of all time points that are wanted.
    on_step, on_other_way
        Told what is done differently when memory runs out, and of which tiles; see `Ladder`.
    """
    if numbers is None:
        numbers = range(stainer.source.times * len(plan.tiles))
    if total is None:
        count = len(numbers) if isinstance(numbers, Sequence) else len(numbers := list(numbers))
        total = partial(int, count)
    tell = on_tile or (lambda _done, _total: None)

    def report(done: int) -> None:
        tell(done, total())

    report(0)
    ladder = Ladder(stainer, batch=plan.batch, on_step=on_step, on_tile=on_other_way)
    threads = threads_beside(stainer, plan)
    most = 1 if plan.mode == "stream" else max(AHEAD, threads)
    with Writing(stainer, write, report, most=most, threads=threads) as writing:
        if isinstance(stainer, SampledStainer):
            _sample(stainer, plan, numbers, writing, on_pass)
        elif plan.mode == "stream":
            _stream(stainer, plan, numbers, writing, ladder)
        elif plan.mode == "stitch":
            _stitch(stainer, plan, numbers, writing)
        else:
            _tile_by_tile(stainer, plan, numbers, writing, ladder, threads)


def _tile_by_tile(
    stainer: Stainer,
    plan: RunPlan,
    numbers: Iterable[int],
    writing: Writing,
    ladder: Ladder,
    threads: int = 1,
) -> None:
    def read(t: int, tile: Tile) -> Piece:
        return t, tile, stainer.read(t, tile)

    def jobs() -> Iterator[Callable[[], Piece]]:
        for number in numbers:
            t, index = divmod(number, len(plan.tiles))
            yield partial(read, t, plan.tiles.tile(index))

    with Ahead(jobs(), plan.batch + threads, threads=threads) as pieces:
        for together in _batches(pieces, plan.batch):
            stains = ladder.predict(together)
            for (t, tile, _), one in zip(together, stains, strict=True):
                writing.put(t, tile, one)


def _batches(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Yield pieces of one time point and size together."""
    some: list[Piece] = []
    for piece in pieces:
        if some and (piece[0] != some[0][0] or piece[2].shape != some[0][2].shape):
            yield some
            some = []
        some.append(piece)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


# --- streams --------------------------------------------------------------------------------------


def _first_row(plan: RunPlan, start: int) -> int:
    """Return where a stream begins whose result counts from ``start`` on.

    The same bits come out wherever a stream begins: on a band, so far above that what is kept
    depends neither on rows that were not read nor on the first band of any operation, the
    only one of another size.
    """
    above = start - plan.tiles.halo[plan.axis] - plan.band
    return max(0, above // plan.band * plan.band)


def _stream(
    stainer: Stainer, plan: RunPlan, numbers: Iterable[int], writing: Writing, ladder: Ladder
) -> None:
    left: list[int] = []
    for strip in strips_of(plan, numbers):
        mine = [strip.t * len(plan.tiles) + tile.index for tile in strip.tiles]
        if left:
            left += mine
            continue
        given = 0
        try:
            for t, tile, stains in _streamed(stainer, plan, strip, writing):
                writing.put(t, tile, stains)
                given += 1
        except Exception as error:
            if not out_of_memory(error):
                raise
            left = mine[given:]
            ladder.step_down(strip.tiles[0])
    if left:
        _tile_by_tile(stainer, plan, left, writing, ladder)


def _streamed(
    stainer: Stainer, plan: RunPlan, strip: Strip, writing: Writing
) -> Iterator[tuple[int, Tile, NDArray[np.float32]]]:
    axis = plan.axis
    stride = plan.tiles.multiple_of[axis]
    end = -(-plan.tiles.shape[axis] // stride) * stride
    first = _first_row(plan, strip.tiles[0].write[axis].start)
    across = strip.tiles[0].read

    # Blocks of the file are decoded once, not once a band.
    block = max(plan.band, stainer.source.blocks[axis] // plan.band * plan.band)

    def slabs() -> Iterator[Callable[[], NDArray[np.float32]]]:
        at = first
        while at < end:
            stop = min((at // block + 1) * block, end)
            region = (*across[:axis], slice(at, stop), *across[axis + 1 :])
            yield partial(padded, stainer.source, strip.t, region)
            at = stop

    stream = stainer.network(strip.t).stream(end - first, axis=axis)
    cutter = Cutter(strip.tiles, axis, first)
    with Ahead(slabs(), 1) as pieces:
        for piece in pieces:
            for band in _cut(piece, axis + 1, plan.band):
                for rows in stream.push(band):
                    for tile, stains in cutter.take(rows):
                        yield strip.t, tile, stains
                writing.tell()
                if cutter.finished:
                    return


def _cut(piece: NDArray[np.float32], dim: int, length: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, piece.shape[dim], length):
        part = [slice(None)] * piece.ndim
        part[dim] = slice(start, start + length)
        yield piece[tuple(part)]


def _sample(
    stainer: SampledStainer,
    plan: RunPlan,
    numbers: Iterable[int],
    writing: Writing,
    on_pass: Callable[[int, int], None] | None,
) -> None:
    """Draw time points, each as a whole, and hand on the tiles that are wanted of it."""
    members = [(t, list(some)) for t, some in groupby(sorted(numbers), _time_of(plan))]
    passes = stainer.rounds(plan.tiles)

    def tell(before: int, done: int) -> None:
        writing.tell()
        if on_pass is not None:
            on_pass(before + done, passes * len(members))

    for place, (t, own) in enumerate(members):
        with stainer.drawn(t, plan.tiles, partial(tell, place * passes)) as cut:
            for number in own:
                tile = plan.tiles.tile(number % len(plan.tiles))
                writing.put(t, tile, cut(tile))


def _time_of(plan: RunPlan) -> Callable[[int], int]:
    return lambda number: number // len(plan.tiles)


def _stitch(stainer: Stainer, plan: RunPlan, numbers: Iterable[int], writing: Writing) -> None:
    """Put the predictions of overlapping tiles together; a time point is done as a whole."""
    for t, members in groupby(sorted(numbers), _time_of(plan)):
        own = {number % len(plan.tiles) for number in members}

        def predict(region: Region, t: int = t) -> NDArray[np.float32]:
            writing.tell()
            pixels = padded(stainer.source, t, region)[None]
            stains: NDArray[np.float32] = stainer.network(t).forward(pixels)[0]
            return stains

        cutter = Cutter(tuple(plan.tiles), 0, 0)
        for _, rows in stitch_tiles(
            predict, plan.tiles.shape, method=plan.stitch, tile=plan.edge, stride=plan.stride
        ):
            for tile, stains in cutter.take(rows):
                if tile.index in own:
                    writing.put(t, tile, stains)
