"""Which tiles a stream gives one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.tiling.plan import Tile

__all__ = ["Strip", "strips_of"]


@dataclass(frozen=True, slots=True)
class Strip:
    """Tiles of one stripe that follow on each other along the streamed axis."""

    t: int
    tiles: tuple[Tile, ...]


def strips_of(plan: RunPlan, numbers: Iterable[int]) -> Iterator[Strip]:
    """Yield what is streamed without a gap, time point after time point.

    Parameters
    ----------
    plan
        Of a stream.
    numbers
        Tiles that are asked for, as `inference.engine.stain_tiles` numbers them.
    """
    tiles, axis = plan.tiles, plan.axis
    # A step along the streamed axis is so many tiles of the raster.
    step = 1
    for length in tiles.grid[axis + 1 :]:
        step *= length

    def stripe(number: int) -> tuple[int, int, int]:
        t, index = divmod(number, len(tiles))
        row = index // step % tiles.grid[axis]
        return t, index - row * step, row

    for (t, first), members in groupby(sorted(map(stripe, numbers)), key=lambda s: s[:2]):
        rows = [row for *_, row in members]
        begin = 0
        for at in range(1, len(rows) + 1):
            if at == len(rows) or rows[at] != rows[at - 1] + 1:
                yield Strip(t, tuple(tiles.tile(first + r * step) for r in rows[begin:at]))
                begin = at
