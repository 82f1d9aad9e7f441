"""How a store ends: complete, with all its levels, or partial, and saying so."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.coarser import Coarser
from napari_virtualstain.io.ngff_write import PARTIAL, first_windows
from napari_virtualstain.io.pixels import one_line
from napari_virtualstain.io.pyramid import chunk_slices
from napari_virtualstain.io.record import COMMITS
from napari_virtualstain.io.sink_lock import LOCK
from napari_virtualstain.io.sink_open import OpenStore
from napari_virtualstain.io.tile_log import NOTES, Notes, TileLog, read_notes
from napari_virtualstain.io.windows import Extent, extrema, windows_of

__all__ = ["CLIPPED", "GAPS", "complete", "mark_partial", "tidy"]

CLIPPED = "clipped_pixels"
"""Entry of a record: how many pixels of each channel did not fit the type of the store."""
GAPS = "missing_pixels"
"""Entry of a record where there are any: how many pixels of each channel were written as NaN,
infinity or missing."""

Progress = Callable[[int, int], None]


def complete(
    store: OpenStore,
    log: TileLog,
    coarser: Coarser,
    seen: Extent,
    update: dict[str, Any],
    on_progress: Progress | None,
) -> None:
    """Fill what is missing of the coarser levels, choose the windows, and say that it is all there.

    Parameters
    ----------
    store, log, coarser
        Of the sink.
    seen
        Of pixels that were written since the last tile was listed.
    update
        Entries of the record.
    on_progress
        Told of chunks filled and chunks to fill. What it raises leaves the store partial.
    """
    extent = _fill(store, log, coarser, on_progress)
    extent.merge(seen)
    state = store.state
    state.pop("reason", None)
    tiles = range(store.n_tiles)
    update = update | _counts(store, read_notes(store.path), tiles)
    state |= {
        "status": "complete",
        "tiles_done": store.n_tiles,
        "record": {**state["record"], **update},
    }
    log.sync()  # all pixels are on the disk before it says that they are
    store.rewrite(state, len(store.arrays), windows_of(store.arrays[-1], extent), "")
    tidy(store.path)


def _fill(store: OpenStore, log: TileLog, coarser: Coarser, on_progress: Progress | None) -> Extent:
    """Fill the coarser levels; return what the values lie between."""
    if news := coarser.news():
        log.note(built=news)
    coarser.clear()
    tiles = range(store.n_tiles)
    notes = read_notes(store.path)
    known = notes.covers(tiles)
    # Where nobody noted what was seen, all pixels are read once, for windows and level alike.
    coarser.adopt(p for p in notes.built if known or p[0] > 1)
    extent = (
        notes.extent(tiles, store.shape[1], store.missing)
        if known
        else Extent(store.shape[1], store.missing)
    )
    places = coarser.unbuilt()
    finest = store.arrays[0]
    only_look = not known and len(store.arrays) == 1
    total = _n_chunks(finest) if only_look else len(places)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    if only_look:
        extrema(finest, extent, step)
    try:
        for place in places:
            try:
                coarser.fill(place, None if known or place[0] > 1 else extent)
            except (RuntimeError, ValueError) as error:  # what decoders raise
                raise ImageFileError(
                    f"{str(store.path)!r} is damaged: {one_line(error)}. "
                    "Run the command again with --overwrite."
                ) from error
            step()
    finally:
        if news := coarser.news():
            log.written(store.file(place) for place in news)
            with suppress(OSError):  # the next run would fill them again
                log.note(built=news)
    return extent


def _n_chunks(array: Any) -> int:
    count = 1
    for length, chunk in zip(array.shape, array.chunks, strict=True):
        count *= len(list(chunk_slices(length, chunk)))
    return count


def mark_partial(store: OpenStore, log: TileLog, why: str, update: dict[str, Any]) -> None:
    """Write down that a store is partial, and why.

    Parameters
    ----------
    store, log
        Of the sink.
    why
        In words.
    update
        Entries of the record.
    """
    tiles, notes = log.committed(), read_notes(store.path)
    state = store.state
    update = update | _counts(store, notes, tiles)
    state |= {
        "status": "partial",
        "reason": why,
        "tiles_done": len(tiles),
        "record": {**state["record"], **update},
    }
    windows = first_windows(store.dtype, store.shape[1])
    extent = notes.extent(tiles, store.shape[1], store.missing)
    for window, low, high in zip(windows, extent.low, extent.high, strict=True):
        if low < high:
            window.update(min=low, max=high, start=low, end=high)
    log.sync()
    store.rewrite(state, 1, windows, PARTIAL)


def _counts(store: OpenStore, notes: Notes, tiles: Collection[int]) -> dict[str, list[int]]:
    n = store.shape[1]
    found = {} if store.scales is None else {CLIPPED: notes.counted("clipped", tiles, n)}
    gaps = notes.counted("gaps", tiles, n)
    return found | ({GAPS: gaps} if any(gaps) else {})


def tidy(path: Path) -> None:
    """Delete from a complete store what only a run that writes it needs.

    That is the lists of tiles, the lock, and halves of files that a killed writer left beside the
    whole ones.

    Parameters
    ----------
    path
        Of the store.
    """
    for name in (COMMITS, NOTES, LOCK):
        (path / name).unlink(missing_ok=True)
    for pattern in ("*.partial", "*/c/**/*.partial"):
        for scrap in path.glob(pattern):
            scrap.unlink(missing_ok=True)
