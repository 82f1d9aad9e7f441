"""Shards: every tile in one of them, no chunk in two, and streams that seldom begin anew."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.jobs.prepare import CHUNK
from napari_virtualstain.jobs.shards import cut_shards
from napari_virtualstain.tiling.plan import plan_tiles


def make_plan(mode, shape, core, *, halo=96, band=128):
    tiles = plan_tiles(shape, core=core, halo=halo, multiple_of=16)
    return RunPlan(mode=mode, tiles=tiles, axis=0, band=band)


def chunks(plan, shard):
    """The chunks that a shard writes, as the store is cut."""
    edge = min(CHUNK, *plan.tiles.core)
    found = set()
    for number in shard:
        t, index = divmod(number, len(plan.tiles))
        rows, columns = plan.tiles.tile(index).write
        found |= {
            (t, y, x)
            for y in range(rows.start // edge, -(-rows.stop // edge))
            for x in range(columns.start // edge, -(-columns.stop // edge))
        }
    return found


@given(
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    core=st.sampled_from([(512, 512), (1024, 1024), (512, 2048), (64, 64)]),
    mode=st.sampled_from(["halo", "stream", "stitch"]),
    workers=st.integers(1, 9),
    times=st.integers(1, 3),
    data=st.data(),
)
def test_every_tile_is_in_one_shard_and_no_chunk_in_two(shape, core, mode, workers, times, data):
    plan = make_plan(mode, tuple(min(n, 6 * c) for n, c in zip(shape, core, strict=True)), core)
    everything = list(range(times * len(plan.tiles)))
    numbers = data.draw(st.lists(st.sampled_from(everything), unique=True, min_size=1))
    shards = cut_shards(plan, numbers, workers)
    assert sorted(n for shard in shards for n in shard) == sorted(numbers)
    assert all(len({n // len(plan.tiles) for n in shard}) == 1 for shard in shards)
    for a, b in combinations((chunks(plan, shard) for shard in shards), 2):
        assert not a & b


@pytest.mark.parametrize(
    ("rows", "workers", "sizes"),
    [
        (8 * 512, 2, [4, 4]),  # more pieces would compute too many rows twice
        (48 * 512, 2, [8] * 6),
        (512, 4, [1]),
        (3 * 512, 4, [1, 1, 1]),  # all have something to do
    ],
    ids=["short", "tall", "one strip", "fewer strips than workers"],
)
def test_a_stream_begins_seldom_and_leaves_nobody_idle(rows, workers, sizes):
    plan = make_plan("stream", (rows, 2048), (512, 2048))
    shards = cut_shards(plan, range(len(plan.tiles)), workers)
    assert [len(shard) for shard in shards] == sizes
    assert all(list(s) == list(range(s[0], s[-1] + 1)) for s in shards)


def test_tiles_keep_the_order_in_which_they_are_wanted():
    plan = make_plan("halo", (4096, 4096), (512, 512))
    numbers = plan.tiles.touching((slice(0, 4096), slice(0, 4096)))
    assert [n for shard in cut_shards(plan, numbers, 3) for n in shard] == numbers


def test_a_shard_is_never_so_large_that_its_loss_hurts():
    plan = make_plan("halo", (65536, 65536), (1024, 1024))
    assert max(map(len, cut_shards(plan, range(len(plan.tiles)), 2))) == 64


def test_nothing_asked_for_is_no_shard():
    assert cut_shards(make_plan("halo", (64, 64), (64, 64)), [], 2) == []


def test_a_time_point_that_is_stitched_is_one_shard():
    plan = make_plan("stitch", (2048, 2048), (512, 512))
    shards = cut_shards(plan, range(3 * len(plan.tiles)), 2)
    assert [len(shard) for shard in shards] == [16, 16, 16]
