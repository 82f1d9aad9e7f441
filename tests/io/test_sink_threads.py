"""Several threads may write one store at once: what it holds is what one thread would have written."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io import coarser
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.scale import Scale
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.io.tile_log import NOTES

SHAPE, CHUNK = (1, 2, 1, 75, 58), 8
KINDS = {"float32": None, "float16": None, "uint16": [Scale(gain=0.5, offset=-1.0)] * 2}
TILES = [
    (slice(0, 1), slice(0, 2), slice(0, 1), slice(y, min(y + 16, 75)), slice(x, min(x + 8, 58)))
    for y, x in product(range(0, 75, 16), range(0, 58, 8))
]


def picture(seed):
    pixels = np.random.default_rng(seed).uniform(0, 1000, SHAPE).astype(np.float32)
    pixels[..., :20, :20] = np.nan
    return pixels


def create(path, *, dtype="float32", **changes):
    return OmeZarrSink.create(
        path, shape=SHAPE, channels=[Channel("a"), Channel("b")], chunks_yx=CHUNK,
        n_tiles=len(TILES), dtype=dtype, scales=KINDS[dtype], name="same", **changes,
    )  # fmt: skip


def write(sink, jobs, threads):
    """Write (tile, pixels), as many at once as there are threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(
            pool.map(
                lambda job: sink.write(TILES[job[0]], job[1][TILES[job[0]]], tile=job[0]), jobs
            )
        )


def files(store):
    """Return every file by its name."""
    return {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_many_threads_leave_the_bytes_of_one(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("threads")
    dtype = data.draw(st.sampled_from(list(KINDS)), label="dtype")
    budget = data.draw(st.sampled_from([0, 1500, 10**9]), label="budget")
    order = data.draw(st.permutations(range(len(TILES))), label="order")
    again = data.draw(st.lists(st.sampled_from(order), max_size=4), label="again")
    first, last = picture(1), picture(2)
    # What is written twice is the same by all threads last, and once something else before.
    jobs = [(tile, first) for tile in again] + [(tile, last) for tile in order]
    with create(folder / "one.zarr", dtype=dtype, budget=budget) as sink:
        write(sink, jobs[len(again) :], 1)
    with create(folder / "many.zarr", dtype=dtype, budget=budget) as sink:
        write(sink, jobs[: len(again)], 1)
        write(sink, jobs[len(again) :], 5)
    one, many = files(folder / "one.zarr"), files(folder / "many.zarr")
    levels = {name for name in one if "/c/" in name}
    assert {name for name in many if "/c/" in name} == levels
    assert [name for name in levels if one[name] != many[name]] == []
    if not again:  # else pixels were clipped that are no longer there
        assert one == many


def test_threads_that_write_the_same_tile_wait_for_each_other(tmp_path):
    pictures = [picture(seed) for seed in range(4)]
    with create(tmp_path / "out.zarr") as sink:
        for turn in range(6):
            write(sink, [(turn, pixels) for pixels in pictures], 4)
        write(sink, [(tile, pictures[0]) for tile in range(6, len(TILES))], 4)
    with create(tmp_path / "twin.zarr") as twin:
        finest = sink._store.arrays[0]
        for tile, region in enumerate(TILES):
            twin.write(region, finest[region], tile=tile)
    levels = {n: b for n, b in files(tmp_path / "out.zarr").items() if "/c/" in n}
    assert levels == {n: b for n, b in files(tmp_path / "twin.zarr").items() if "/c/" in n}
    for region in TILES[:6]:
        assert any(np.array_equal(finest[region], p[region], equal_nan=True) for p in pictures)


def test_a_store_that_was_killed_between_two_threads_reads_nothing_again(tmp_path, monkeypatch):
    path, pixels = tmp_path / "out.zarr", picture(1)
    sink, started, go_on = create(path), threading.Event(), threading.Event()
    fold = sink._coarser.fold

    def slow(region, stored):
        fold(region, stored)
        if region == TILES[0]:  # folded into the levels above, and not listed
            started.set()
            go_on.wait(10)

    monkeypatch.setattr(sink._coarser, "fold", slow)
    late = threading.Thread(target=write, args=(sink, [(0, pixels)], 1))
    late.start()
    started.wait(10)
    write(sink, [(tile, pixels) for tile in range(1, len(TILES))], 3)
    shutil.copytree(path, tmp_path / "killed.zarr")
    go_on.set()
    late.join()
    sink.finish()

    lines = [
        json.loads(line)
        for line in (tmp_path / "killed.zarr" / NOTES).read_text().split("\n")
        if line
    ]
    built = {tuple(place) for line in lines for place in line.get("built", ())}
    assert built  # others are noted, none over the tile that is not listed
    assert not [place for place in built if place[4] == place[5] == 0]
    count = []
    fill = coarser.fill_chunk
    monkeypatch.setattr(coarser, "fill_chunk", lambda *args: count.append(args[2]) or fill(*args))
    again = OmeZarrSink.resume(tmp_path / "killed.zarr")
    write(again, [(0, pixels)], 1)
    again.finish()
    # Those above the one tile and no more; a level of each of the two channels.
    assert len(count) <= 2 * len(sink._store.arrays)
    assert files(path).keys() == files(tmp_path / "killed.zarr").keys()
    levels = {n: b for n, b in files(path).items() if "/c/" in n}
    assert levels == {n: files(tmp_path / "killed.zarr")[n] for n in levels}


def test_two_tiles_are_in_the_making_at_once(tmp_path, monkeypatch):
    sink, both = create(tmp_path / "out.zarr"), threading.Barrier(2, timeout=10)
    fold = sink._coarser.fold
    monkeypatch.setattr(
        sink._coarser,
        "fold",
        lambda region, stored: both.wait() is not None and fold(region, stored),
    )
    write(sink, [(0, picture(1)), (1, picture(1))], 2)
    assert sink.committed() == {0, 1}
    sink.fail("enough")


def test_a_store_is_not_ended_while_a_thread_writes(tmp_path, monkeypatch):
    sink, inside, go_on = create(tmp_path / "out.zarr"), threading.Event(), threading.Event()
    fold = sink._coarser.fold
    monkeypatch.setattr(
        sink._coarser, "fold", lambda *args: (inside.set(), go_on.wait(10), fold(*args))
    )
    writing = threading.Thread(target=write, args=(sink, [(3, picture(1))], 1))
    writing.start()
    inside.wait(10)
    ending = threading.Thread(target=sink.fail, args=("enough",))
    ending.start()
    ending.join(0.05)
    assert ending.is_alive()
    go_on.set()
    ending.join()
    writing.join()
    assert OmeZarrSink.resume(tmp_path / "out.zarr").committed() == {3}


def test_a_tile_that_is_none_is_refused_before_its_pixels_are_written(tmp_path):
    sink = create(tmp_path / "out.zarr")
    with pytest.raises(SettingsError, match="Tile 99 is none of the 40"):
        sink.write(TILES[0], picture(1)[TILES[0]], tile=99)
    assert np.isnan(sink._store.arrays[0][TILES[0]]).all()
    sink.fail("enough")
