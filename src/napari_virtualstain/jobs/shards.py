"""How the tiles of a run are cut into shards, each of which one worker computes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_virtualstain.inference.strips import strips_of

if TYPE_CHECKING:
    from napari_virtualstain.inference.planner import RunPlan

__all__ = ["Shard", "cut_shards"]

Shard = tuple[int, ...]
"""Tiles of one time point, as `inference.engine.stain_tiles` numbers them."""

_A_WORKER = 3
"""Shards a worker: with fewer all wait for the slowest, with more streams begin too often."""
_MOST_PIXELS = 1 << 26
"""Of a shard: so much is computed again, at most, where a worker dies."""
_OVERHEAD = 0.1
"""Share of rows that may be computed twice so that there are more shards."""


def cut_shards(plan: RunPlan, numbers: Sequence[int], workers: int) -> list[Shard]:
    """Cut tiles into shards.

    Tiles are whole chunks of the output, so that two shards never write the same chunk.

    Parameters
    ----------
    plan
        Of the run.
    numbers
        Tiles that are asked for, in the order in which they are wanted.
    workers
        That share them.

    Returns
    -------
    list of tuple of int
        Each tile once, never of two time points together. Of a stream a shard is
        a run of strips that follow on each other, as long as is needed to begin seldom; of
        stitching and of drawing in steps a time point.
    """
    if not numbers:
        return []
    tiles = plan.tiles
    size = ceil(len(numbers) / (_A_WORKER * workers))
    if plan.mode == "stream":
        # A stream that begins in the middle reads above and below what it keeps.
        again = 2 * tiles.halo[plan.axis] + 1.5 * plan.band
        seldom = ceil(again / _OVERHEAD / tiles.core[plan.axis])
        size = max(size, min(seldom, ceil(len(numbers) / workers)))
    size = max(1, min(size, _MOST_PIXELS // prod(tiles.core)))
    if plan.together:
        size = len(tiles)
    if plan.mode == "stream":
        runs = [
            [strip.t * len(tiles) + tile.index for tile in strip.tiles]
            for strip in strips_of(plan, numbers)
        ]
    else:
        runs = [list(run) for _, run in groupby(numbers, key=lambda n: n // len(tiles))]
    return [shard for run in runs for shard in _evenly(run, size)]


def _evenly(run: list[int], size: int) -> list[Shard]:
    """Cut a run into pieces of about the same length, none longer than a size."""
    count = ceil(len(run) / size)
    ends = [len(run) * part // count for part in range(count + 1)]
    return [tuple(run[a:b]) for a, b in pairwise(ends)]
