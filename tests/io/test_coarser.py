"""Coarser levels come from the tiles in memory, and are those that reading again would make."""

import shutil
from itertools import product
from threading import Thread

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import RunCancelled
from napari_virtualstain.io import coarser, sink_end
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.pyramid import level_shapes
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.scale import Scale
from napari_virtualstain.io.sink import OmeZarrSink

SHAPE = (1, 2, 1, 150, 110)
CHUNK = 16


def regions(shape, core):
    """Tiles of a core (y, x) over (T, C, Z, Y, X), one time point each."""
    n_t, n_c, n_z, height, width = shape
    return [
        (
            slice(t, t + 1), slice(0, n_c), slice(0, n_z),
            slice(y, min(y + core[0], height)), slice(x, min(x + core[1], width)),
        )
        for t in range(n_t)
        for y, x in product(range(0, height, core[0]), range(0, width, core[1]))
    ]  # fmt: skip


def stains(n):
    return [Channel(f"stain {index}") for index in range(n)]


def picture(shape, *, seed=0, missing=0.0, low=0.0, high=1000.0):
    """Grey values with a share of pixels missing, some of them in whole blocks."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(low, high, shape).astype(np.float32)
    pixels[rng.random(shape) < missing] = np.nan
    if missing:
        pixels[..., : shape[-2] // 3, : shape[-1] // 2] = np.nan
    return pixels


def mean_2x2_twin(block, missing=None):
    """Average as it was done before anybody wanted it quick."""
    height, width = block.shape
    padded = np.full((-(-height // 2) * 2, -(-width // 2) * 2), np.nan, dtype=np.float64)
    padded[:height, :width] = (
        block if missing is None else np.where(block == missing, np.nan, block)
    )
    quads = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    there = ~np.isnan(quads)
    count = there.sum(axis=(1, 3))
    total = np.where(there, quads, 0).sum(axis=(1, 3))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if np.issubdtype(block.dtype, np.integer):
        mean = np.rint(mean) if missing is None else np.where(count > 0, np.rint(mean), missing)
    return mean.astype(block.dtype)


def levels_twin(finest, count, missing=None):
    """All levels of a stored array, plane by plane, each from the one before."""
    levels = [finest]
    for shape in level_shapes(finest.shape, count)[1:]:
        coarse = np.empty(shape, finest.dtype)
        for place in product(*(range(n) for n in shape[:3])):
            coarse[place] = mean_2x2_twin(levels[-1][place], missing)
        levels.append(coarse)
    return levels


def create(path, *, shape=SHAPE, core=(32, 32), chunk=CHUNK, **changes):
    return OmeZarrSink.create(
        path, shape=shape, channels=stains(shape[1]), chunks_yx=chunk,
        n_tiles=len(regions(shape, core)), **changes,
    )  # fmt: skip


def paint(sink, pixels, core=(32, 32), order=None):
    places = regions(pixels.shape, core)
    for tile in range(len(places)) if order is None else order:
        sink.write(places[tile], pixels[places[tile]])
        sink.commit(tile)


def stored(path):
    group = zarr.open_group(path, mode="r")
    return [group[str(level)][:] for level in range(len(list(group.array_keys())))]


def windows(path):
    channels = zarr.open_group(path, mode="r").attrs["ome"]["omero"]["channels"]
    return [channel["window"] for channel in channels]


def check_levels(path, *, missing=None):
    found = stored(path)
    for level, (one, twin) in enumerate(
        zip(found, levels_twin(found[0], len(found), missing), strict=True)
    ):
        np.testing.assert_array_equal(one, twin, err_msg=f"level {level}")
        assert one.tobytes() == twin.tobytes() or np.isnan(one).any()
    for c, window in enumerate(windows(path)):
        there = found[0][:, c][np.isfinite(found[0][:, c])]
        there = there if missing is None else there[there != missing]
        if there.size:
            assert (window["min"], window["max"]) == (there.min(), there.max())
    return found


def filled_from_disk(monkeypatch):
    """Count the chunks that are read again."""
    count = []
    fill = coarser.fill_chunk
    monkeypatch.setattr(
        coarser, "fill_chunk", lambda *args: count.append(args[2]) or fill(*args)
    )  # fmt: skip
    return count


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_levels_and_windows_are_those_of_reading_again(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "out.zarr"
    chunk = data.draw(st.integers(3, 12), label="chunk")
    core = tuple(chunk * data.draw(st.integers(1, 3), label="core") for _ in "yx")
    shape = (
        data.draw(st.integers(1, 2), label="t"), data.draw(st.integers(1, 2), label="c"),
        data.draw(st.integers(1, 2), label="z"),
        data.draw(st.integers(1, 40), label="y"), data.draw(st.integers(1, 40), label="x"),
    )  # fmt: skip
    order = data.draw(st.permutations(range(len(regions(shape, core)))), label="order")
    kind, scales = data.draw(
        st.sampled_from(
            [("float32", None), ("float16", None), ("uint16", Scale(gain=0.5, offset=-1.0))]
        ),
        label="kind",
    )
    share = data.draw(st.sampled_from([0.0, 0.4]), label="missing")
    first, second = (picture(shape, seed=seed, missing=share) for seed in (7, 8))
    again = data.draw(
        st.lists(st.tuples(*(st.sampled_from(order),) * 2), max_size=3), label="again"
    )
    with create(
        path, shape=shape, core=core, chunk=chunk, dtype=kind,
        scales=None if scales is None else [scales] * shape[1],
        budget=data.draw(st.sampled_from([0, 2000, 10**9]), label="budget"),
    ) as sink:  # fmt: skip
        for tile in order:
            paint(sink, first, core, [tile])
            # Some are written twice, at once or later.
            paint(sink, second, core, [other for when, other in again if when == tile])
    check_levels(path, missing=0 if kind == "uint16" else None)


def test_a_run_that_is_not_disturbed_reads_nothing_again(tmp_path, monkeypatch):
    count = filled_from_disk(monkeypatch)
    looked = []
    monkeypatch.setattr(sink_end, "extrema", lambda *_: looked.append(1))
    with create(tmp_path / "out.zarr") as sink:
        paint(sink, picture(SHAPE, missing=0.2))
    assert (count, looked) == ([], [])
    assert len(check_levels(tmp_path / "out.zarr")) == 5


def test_what_does_not_fit_the_budget_is_filled_from_disk(tmp_path, monkeypatch):
    count = filled_from_disk(monkeypatch)
    sink = create(tmp_path / "out.zarr", core=(16, 16), budget=5 * CHUNK * CHUNK * 4)
    most = 0
    for tile, place in enumerate(regions(SHAPE, (16, 16))):
        sink.write(place, picture(SHAPE)[place])
        most = max(most, sink._coarser.nbytes)
        sink.commit(tile)
    assert 0 < most <= 5 * CHUNK * CHUNK * 4
    sink.finish()
    assert 0 < len(count) < 60
    check_levels(tmp_path / "out.zarr")


def test_chunks_of_an_odd_edge_are_filled_from_disk(tmp_path, monkeypatch):
    count = filled_from_disk(monkeypatch)
    with create(tmp_path / "out.zarr", chunk=15, core=(15, 30)) as sink:
        paint(sink, picture(SHAPE, missing=0.1), (15, 30))
    assert count
    check_levels(tmp_path / "out.zarr")


def test_a_tile_that_is_written_again_replaces_what_lay_above_it(tmp_path):
    first, second = picture(SHAPE, seed=1), picture(SHAPE, seed=2)
    places = regions(SHAPE, (32, 32))
    sink = create(tmp_path / "out.zarr")
    paint(sink, first)
    for tile in (0, 7, 7):
        sink.write(places[tile], second[places[tile]])
        sink.commit(tile)
    sink.finish()
    found = check_levels(tmp_path / "out.zarr")
    np.testing.assert_array_equal(found[0][places[7]], second[places[7]])


def test_a_part_of_a_chunk_that_is_written_again_waits_for_the_rest(tmp_path):
    first, second = picture(SHAPE, seed=1), picture(SHAPE, seed=2)
    with create(tmp_path / "out.zarr", core=(16, 16)) as sink:
        n = sink.n_tiles
        paint(sink, first, (16, 16), [0, 1, 7, 8])  # one chunk of the next level
        paint(sink, second, (16, 16), [0])
        paint(sink, first, (16, 16), sorted(set(range(n)) - {0, 1, 7, 8}))
    check_levels(tmp_path / "out.zarr")


def test_what_is_written_after_the_last_tile_was_listed_is_seen(tmp_path):
    with create(tmp_path / "out.zarr", core=SHAPE[-2:]) as sink:
        sink.commit(0)
        sink.write(tuple(slice(0, n) for n in SHAPE), picture(SHAPE))
    check_levels(tmp_path / "out.zarr")


def test_a_tile_that_is_written_again_in_another_run_too(tmp_path):
    path = tmp_path / "out.zarr"
    first, second = picture(SHAPE, seed=1), picture(SHAPE, seed=2)
    sink = create(path)
    paint(sink, first)
    sink.leave("for now")
    sink = OmeZarrSink.resume(path)
    place = regions(SHAPE, (32, 32))[5]
    sink.write(place, second[place])
    del sink  # killed before the tile was listed again
    with OmeZarrSink.resume(path):
        pass
    check_levels(path)


@pytest.mark.parametrize("noted", [True, False], ids=["notes", "store of an earlier version"])
def test_a_store_in_parts_reads_again_only_what_lay_between_them(tmp_path, monkeypatch, noted):
    path, pixels = tmp_path / "out.zarr", picture(SHAPE, missing=0.1)
    n = len(regions(SHAPE, (32, 32)))
    sink = create(path)
    paint(sink, pixels, order=range(n // 2))
    sink.leave("for now")
    if not noted:
        (path / "0" / "notes").unlink()
        for level in range(1, 5):
            shutil.rmtree(path / str(level))
    count = filled_from_disk(monkeypatch)
    with OmeZarrSink.resume(path) as sink:
        paint(sink, pixels, order=range(n // 2, n))
    finest = sum(1 for place in count if place)
    everything = sum(np.prod([-(-n // CHUNK) for n in a.shape[-2:]]) * 2 for a in stored(path)[1:])
    assert (finest < everything / 2) if noted else finest > everything / 2
    check_levels(path)
    assert sorted(p.name for p in (path / "0").iterdir()) == ["c", "zarr.json"]


def test_the_end_tells_how_far_it_is_and_can_be_cancelled(tmp_path):
    path, pixels = tmp_path / "out.zarr", picture(SHAPE)
    told = []

    def cancel(done, total):
        told.append((done, total))
        if done == 20:
            raise RunCancelled("cancelled")

    with pytest.raises(RunCancelled), create(path, budget=0) as sink:  # noqa: PT012
        paint(sink, pixels)
        sink.finish(on_progress=cancel)
    total = told[0][1]
    assert told == [(n, total) for n in range(1, 21)]
    found = read_record(path)
    assert (found["status"], found["reason"]) == ("partial", "cancelled")
    assert found["tiles_done"] == found["tiles_total"] == len(regions(SHAPE, (32, 32)))
    np.testing.assert_array_equal(open_image(path).data.compute(), pixels)

    told.clear()
    sink = OmeZarrSink.resume(path)
    sink.finish(on_progress=lambda *step: told.append(step))
    assert told == [(n, total - 20) for n in range(1, total - 19)], (
        "what was filled was filled again"
    )
    check_levels(path)


def test_a_level_alone_is_looked_at_only_if_nobody_noted_its_values(tmp_path):
    path, pixels = tmp_path / "out.zarr", picture(SHAPE)
    told = []
    sink = create(path, levels=1)
    paint(sink, pixels)
    (path / "0" / "notes").unlink()
    sink.finish(on_progress=lambda *step: told.append(step))
    assert told[-1] == (2 * 10 * 7, 2 * 10 * 7)
    check_levels(path)


def test_a_thread_that_did_not_make_the_sink_may_write(tmp_path):
    path, pixels = tmp_path / "out.zarr", picture(SHAPE)
    sink = create(path)
    n = sink.n_tiles
    # Two at once, which the sink lets in one after the other.
    threads = [Thread(target=paint, args=(sink, pixels, (32, 32), range(k, n, 2))) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ending = Thread(target=sink.finish)
    ending.start()
    ending.join()
    assert read_record(path)["status"] == "complete"
    np.testing.assert_array_equal(check_levels(path)[0], pixels)
