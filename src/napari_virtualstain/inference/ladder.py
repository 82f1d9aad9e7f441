"""What a run does when memory runs out: less at once, smaller pieces, the processor.

Fewer tiles at once change no number. Smaller pieces and another device are another
plan: between plans numbers differ by rounding (1e-5 of the range), so every tile
that was computed in another way than planned is told by its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import ComputeError
from napari_virtualstain.inference.memory import release_freed_memory
from napari_virtualstain.inference.stainer import Pixels, Stainer
from napari_virtualstain.inference.transfer import Stains, arrived
from napari_virtualstain.tiling.plan import Tile, tile_around

__all__ = ["Ladder", "Piece", "out_of_memory"]

Piece = tuple[int, Tile, Pixels]
"""Time point, tile, and what it is predicted from."""
_SMALLEST = 64
"""Edge of the smallest pieces in pixels."""
_WORDS = ("can't allocate memory", "out of memory", "not enough memory", "alloc_failed")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there was no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in _WORDS)


class Ladder:
    """Predicts tiles with as much memory as there is.

    Parameters
    ----------
    stainer
        What to predict with.
    batch
        Tiles of one size that go through the network together.
    on_step
        Told in words what is done differently from now on.
    on_tile
        Told time point, tile and in what way it was computed, of each that was not as planned.
    """

    def __init__(
        self,
        stainer: Stainer,
        *,
        batch: int = 1,
        on_step: Callable[[str], None] | None = None,
        on_tile: Callable[[int, Tile, str], None] | None = None,
    ) -> None:
        self._stainer = stainer
        self.batch = batch
        self._edge: int | None = None
        self._on_processor = False
        self._say = on_step or (lambda _words: None)
        self._mark = on_tile or (lambda _t, _tile, _words: None)

    def predict(self, pieces: Sequence[Piece]) -> list[Stains]:
        """Return the normalised stains of each piece's core.

        Raises
        ------
        ComputeError
            If the smallest piece does not fit either.
        """
        done: list[Stains] = []
        while len(done) < len(pieces):
            some = pieces[len(done) : len(done) + self.batch]
            try:
                done += self._together(some)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self.step_down(some[0][1])
        return done

    def _together(self, pieces: Sequence[Piece]) -> list[Stains]:
        if self._edge is None and not self._on_processor:
            return self._stainer.predict(pieces)
        found: list[Stains] = []
        for t, tile, pixels in pieces:
            found.append(self._in_cells(t, tile) if self._edge else self._plain(t, tile, pixels))
            self._mark(t, tile, self.way)
        return found

    @property
    def way(self) -> str:
        """How tiles are computed now, in words."""
        size = "" if self._edge is None else f"in pieces of {self._edge} px"
        where = "on the processor" if self._on_processor else ""
        return " ".join(part for part in (size, where) if part)

    def _plain(self, t: int, tile: Tile, pixels: Pixels) -> Stains:
        return self._stainer.predict([(t, tile, pixels)])[0]

    def _in_cells(self, t: int, tile: Tile) -> NDArray[np.float32]:
        """Predict a tile's core from smaller pieces, each with its own halo."""
        stainer, edge = self._stainer, self._edge or _SMALLEST
        reach = stainer.network(t).reach
        whole: NDArray[np.float32] | None = None
        for core in _cells(tile.write, edge):
            cell = tile_around(
                core, shape=stainer.source.shape, halo=reach.halo, multiple_of=reach.multiple_of
            )
            part = arrived(self._plain(t, cell, stainer.read(t, cell)))
            if whole is None:
                lengths = (side.stop - side.start for side in tile.write)
                whole = np.empty((part.shape[0], *lengths), np.float32)
            place = tuple(
                slice(a.start - b.start, a.stop - b.start)
                for a, b in zip(core, tile.write, strict=True)
            )
            whole[(slice(None), *place)] = part
        assert whole is not None
        return whole

    def step_down(self, tile: Tile) -> None:
        """Take less memory from now on.

        Raises
        ------
        ComputeError
            If there is nothing left to try.
        """
        release_freed_memory()
        if self.batch > 1:
            self.batch //= 2
            self._say(f"memory ran out: {self.batch} tiles at once from now on")
            return
        largest = max(part.stop - part.start for part in tile.write)
        before = self._edge or largest
        if self._stainer.ratios is None and before > _SMALLEST:
            # From a strip as wide as the image to a square in one step.
            short = min(part.stop - part.start for part in tile.write)
            self._edge = max(
                _SMALLEST, short if self._edge is None and short < largest else before // 2
            )
            self._say(f"memory ran out: tiles are computed {self.way} from now on")
            return
        if self._stainer.typical.device.type != "cpu" and not self._on_processor:
            self._on_processor, self._edge = True, None
            self._stainer = self._stainer.on_processor()
            self._say("memory ran out: tiles are computed on the processor from now on")
            return
        raise ComputeError(
            f"There is not enough memory for pieces of {before} px. Close other programs, or run "
            "the command on a machine with more memory; add --resume to go on with what is done."
        )


def _cells(region: Region, edge: int) -> list[Region]:
    lines = [
        [slice(a, min(a + edge, part.stop)) for a in range(part.start, part.stop, edge)]
        for part in region
    ]
    return list(product(*lines))
