"""A store that is being written is shown as it is: painted where tiles are, nothing elsewhere."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("napari")

from napari.layers import Layer

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.scale import Scale, to_grey, to_stored
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.napari_io.painted_arrays import PaintedLevel, copies_of
from napari_virtualstain.napari_io.painting import Painting
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.tiling.plan import plan_tiles

NAMES = ("DNA", "Mito")


class Run:
    """A stain run whose tiles are written when the test says so."""

    def __init__(self, path, *, shape=(70, 90), core=32, n_t=1, n_z=1, seed=0, **stored):
        self.path = path
        self.plan = plan_tiles(shape, core=core, halo=4, multiple_of=4)
        self.tiles = list(self.plan)
        rng = np.random.default_rng(seed)
        self.pixels = rng.normal(size=(n_t, 2, n_z, *shape)).astype(np.float32)
        self.pixels[rng.random(self.pixels.shape) < 0.05] = np.nan
        self.sink = OmeZarrSink.create(
            path, shape=self.pixels.shape, channels=[Channel(n, "fluorescence") for n in NAMES],
            n_tiles=n_t * len(self.tiles), chunks_yx=core, time_interval_s=60.0,
            pixel_size_um=PixelSize(None, 0.6, 0.5), origin_um=(0.0, 10.0, 20.0),
            record={
                "job": "stain", "created": f"{seed}", "model": {"name": "tiny"},
                "plan": {"core": [core, core], "halo": 4, "multiple_of": 4},
                "normalisation": {"outputs": {"DNA": {"offset": 10.0, "scale": 2.0}}},
            },
            **stored,
        )  # fmt: skip
        self.all = list(range(n_t * len(self.tiles)))
        self.written = np.full_like(self.pixels, np.nan)

    def write(self, number, *, commit=True):
        t, index = divmod(number, len(self.tiles))
        region = (slice(t, t + 1), slice(0, 2), slice(None), *self.tiles[index].write)
        region = tuple(
            slice(*part.indices(n)) for part, n in zip(region, self.pixels.shape, strict=True)
        )
        self.sink.write(region, self.pixels[region])
        if commit:
            self.sink.commit(number)
            self.written[region] = self.pixels[region]


def block_means(plane, levels):
    """The stupid twin: each level the mean of 2 x 2, of what is there, pixel by pixel."""
    found = [plane.astype(np.float64)]
    for _ in range(levels - 1):
        fine = found[-1].astype(np.float32).astype(np.float64)
        height, width = (-(-n // 2) for n in fine.shape)
        coarse = np.full((height, width), np.nan)
        for y in range(height):
            for x in range(width):
                part = fine[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                if np.isfinite(part).any():
                    coarse[y, x] = part[np.isfinite(part)].mean()
        found.append(coarse)
    return found


def assert_shows(painting, run):
    """Every level of every channel is the twin of what is written."""
    for c in range(2):
        levels = painting.levels(c)
        for t in range(run.pixels.shape[0]):
            expected = block_means(run.written[t, c, 0], len(levels))
            for level, twin in zip(levels, expected, strict=True):
                shown = np.asarray(level if level.ndim == 2 else level[t])
                np.testing.assert_allclose(shown, twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "float16"])
def test_a_store_of_a_small_type_is_painted_in_grey_values(tmp_path, dtype):
    scale = Scale(gain=0.01, offset=-20.0)
    run = Run(tmp_path / "p.ome.zarr", dtype=dtype, scales=[scale] * 2)
    painting = Painting.open(run.path)
    stored, _ = to_stored(run.pixels, [scale] * 2, np.dtype(dtype))
    run.pixels = to_grey(stored, scale)
    for number in run.all[:-1]:
        run.write(number)
    painting.update()
    assert_shows(painting, run)
    run.write(run.all[-1])
    run.sink.finish()
    painting.update()
    for c in range(2):
        twins = block_means(run.pixels[0, c, 0], len(painting.levels(c)))
        for shown, final, twin in zip(
            painting.levels(c), painting.final_levels(c), twins, strict=True
        ):
            assert np.nanmax(np.abs(np.asarray(final) - twin)) < 0.02
            np.testing.assert_array_equal(np.asarray(shown), np.asarray(final))


CASES = {
    "whole chunks": {"shape": (70, 90), "core": 32},
    "tiles that share blocks": {"shape": (41, 53), "core": 10},
    "one level": {"shape": (20, 30), "core": 32},
    "a time-lapse": {"shape": (40, 33), "core": 16, "n_t": 3},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@settings(max_examples=8)
@given(data=st.data())
def test_tiles_in_any_order_are_shown_as_block_means(tmp_path_factory, case, data):
    run = Run(tmp_path_factory.mktemp("run") / "p.ome.zarr", **case)
    painting = Painting.open(run.path)
    order = data.draw(st.permutations(run.all))
    stop = data.draw(st.integers(0, len(order)))
    for number in order[:stop]:
        run.write(number)
        if data.draw(st.booleans()):
            painting.update()
    painting.update()
    assert_shows(painting, run)
    assert painting.tiles_done == stop
    for number in order[stop:]:
        run.write(number)
    run.sink.finish()
    painting.update()
    assert painting.complete
    assert_shows(painting, run)
    # What a layer's data are replaced by is what was shown.
    for c in range(2):
        final = painting.final_levels(c)
        assert (len(final) > 1) is painting.multiscale
        assert len(final) == len(painting.levels(c))
        for shown, stored in zip(painting.levels(c), final, strict=True):
            np.testing.assert_array_equal(np.asarray(shown), stored.compute())


def test_only_committed_tiles_are_told_and_each_once(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    assert painting.update() == []
    run.write(3)
    run.write(1)
    run.write(4, commit=False)
    assert [(t, tile.index) for t, tile in painting.update()] == [(0, 1), (0, 3)]
    assert painting.update() == []
    assert_shows(painting, run)  # the tile that is written and not committed is not shown
    run.sink.commit(4)
    assert [tile.index for _, tile in painting.update()] == [4]


def test_a_neighbour_that_is_not_committed_does_not_enter_a_block(tmp_path):
    run = Run(tmp_path / "p.ome.zarr", shape=(41, 53), core=10)
    painting = Painting.open(run.path)
    run.write(1, commit=False)  # half of a tile may be on disk
    run.write(0)
    painting.update()
    assert_shows(painting, run)


def test_a_tile_that_comes_while_another_time_is_painted_again_is_not_lost(tmp_path, monkeypatch):
    run = Run(tmp_path / "p.ome.zarr", n_t=2, core=16)
    painting = Painting.open(run.path, budget=24_000)  # the copies of one time point
    pixels = painting._pixels
    run.write(0)
    run.write(len(run.tiles))
    painting.update()  # the copies of the first time point are dropped for those of the second
    again = pixels._repainted

    def meanwhile(t, done):
        found = again(t, done)
        monkeypatch.setattr(pixels, "_repainted", again)
        run.write(1)
        painting.update()
        return found

    monkeypatch.setattr(pixels, "_repainted", meanwhile)
    np.asarray(painting.levels(0)[1][0])
    assert_shows(painting, run)


def test_a_run_that_is_far_ahead_shows_early(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    for number in run.all:
        run.write(number)
    told = [len(painting.update(at_most=4)) for _ in range(4)]
    assert sum(told) == len(run.all)
    assert max(told) == 4


def test_nothing_new_costs_no_reading(tmp_path, monkeypatch):
    run = Run(tmp_path / "p.ome.zarr")
    run.write(0)
    painting = Painting.open(run.path)
    painting.update()

    def refuse(*_):
        raise AssertionError("the list of tiles was read again")

    monkeypatch.setattr("napari_virtualstain.napari_io.painting.read_commits", refuse)
    assert painting.update() == []


def test_what_is_not_painted_is_not_looked_for_on_disk(tmp_path, monkeypatch):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    run.write(0)
    painting.update()
    painting._pixels.chunks._held.clear()
    asked = []

    class Counting:
        shape, chunks = painting._pixels._array.shape, painting._pixels._array.chunks

        def __getitem__(self, key):
            asked.append(key)
            return run.sink._store.arrays[0][key]

    painting._pixels.chunks._array = Counting()
    level = painting.levels(0)[0]
    assert np.isnan(level[40:70, 40:90]).all()
    assert asked == []
    first = level[0:10, 0:10]
    np.testing.assert_array_equal(first, run.pixels[0, 0, 0, :10, :10])
    level[3:30, 2:9]
    assert len(asked) == 1  # the chunk is kept


@pytest.mark.parametrize("budget", [1, 200_000])
def test_memory_is_bounded_and_what_was_dropped_is_painted_again(tmp_path, budget):
    run = Run(tmp_path / "p.ome.zarr", n_t=6)
    painting = Painting.open(run.path, budget=budget)
    for number in run.all[::2]:
        run.write(number)
    painting.update()
    one = sum(4 * 2 * level.shape[1] * level.shape[2] for level in painting.levels(0)[1:])
    assert len(painting._pixels._copies) <= max(1, int(0.75 * budget) // one)
    for c in range(2):
        levels = painting.levels(c)
        for t in (5, 0, 3):
            *_, coarsest = block_means(run.written[t, c, 0], 3)
            np.testing.assert_allclose(levels[-1][t], coarsest, rtol=1e-5, atol=1e-6)


def test_chunks_are_dropped_when_they_fill_the_budget(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    for number in run.all:
        run.write(number)
    painting.update()
    painting._pixels.chunks._held.clear()
    painting._pixels.chunks.nbytes, painting._pixels.chunks._budget = 0, 3 * 4 * 32 * 32
    level = painting.levels(0)[0]
    np.testing.assert_array_equal(np.asarray(level), run.pixels[0, 0, 0])
    assert painting._pixels.chunks.nbytes <= 3 * 4 * 32 * 32
    assert painting._pixels.chunks.nbytes == sum(
        c.nbytes for c in painting._pixels.chunks._held.values()
    )


def test_reading_while_painting_ends_with_the_whole(tmp_path):
    run = Run(tmp_path / "p.ome.zarr", n_t=2, core=16)
    painting = Painting.open(run.path, budget=24_000)  # the copies of one time point
    assert painting._pixels._frames == 1
    stop, looks, wrong = threading.Event(), [], []

    def look():
        try:
            while not stop.is_set():
                looks.extend(np.asarray(le[t]).shape for le in painting.levels(0) for t in (0, 1))
                time.sleep(0.005)  # zarr's threads need the interpreter too
        except BaseException as error:
            wrong.append(error)
            raise

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in run.all:
            run.write(number)
            painting.update()
    finally:
        stop.set()
        reader.join()
    assert looks
    assert not wrong
    assert_shows(painting, run)


def test_a_run_that_failed_leaves_what_was_painted(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    run.write(0)
    run.sink.fail("cancelled")
    painting.update()
    assert not painting.complete
    assert_shows(painting, run)


def test_the_store_that_a_failed_run_puts_back_is_not_its_painting(tmp_path):
    first = Run(tmp_path / "p.ome.zarr", seed=1)
    for number in first.all:
        first.write(number)
    first.sink.finish()
    (tmp_path / "p.ome.zarr").rename(tmp_path / "before.ome.zarr")
    second = Run(tmp_path / "p.ome.zarr", seed=2)
    painting = Painting.open(second.path)
    import shutil

    shutil.rmtree(second.path)
    (tmp_path / "before.ome.zarr").rename(second.path)
    assert painting.update() == []
    assert not painting.complete
    assert np.isnan(np.asarray(painting.levels(0)[0])).all()


def test_what_no_stain_run_wrote_is_refused(tmp_path):
    with pytest.raises(MissingInputError):
        Painting.open(tmp_path / "nothing.ome.zarr")
    with OmeZarrSink.create(
        tmp_path / "a.ome.zarr", shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=1
    ) as sink:
        sink.commit(0)
    with pytest.raises(ImageFileError, match="no stain run wrote it. Open it as an image instead."):
        Painting.open(tmp_path / "a.ome.zarr")


def test_layers_lie_over_their_image_in_their_colours(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    layers = [Layer.create(*d) for d in painting.layers(name="well A1", contrast={"Mito": (1, 2)})]
    assert [layer.name for layer in layers] == ["DNA (tiny) well A1", "Mito (tiny) well A1"]
    for layer, stain in zip(layers, NAMES, strict=True):
        assert layer.multiscale
        assert layer.blending == "additive"
        assert layer.scale.tolist() == [0.6, 0.5]
        assert layer.translate.tolist() == [10.0, 20.0]
        assert layer.axis_labels == ("y", "x")
        source = source_of(layer)
        assert (source.path, source.role, source.stain) == (str(run.path), "prediction", stain)
    # DNA: from below the mean of its training images to five standard deviations above it.
    assert layers[0].contrast_limits == [8.5, 20.0]
    assert layers[1].contrast_limits == [1, 2]


@pytest.mark.parametrize("case", [{}, {"shape": (20, 30)}], ids=["multiscale", "single scale"])
def test_final_levels_take_the_place_of_a_layer_s_data(tmp_path, case):
    run = Run(tmp_path / "p.ome.zarr", **case)
    painting = Painting.open(run.path)
    layer = Layer.create(*painting.layers(name="x")[0])
    layer.colormap, layer.contrast_limits, layer.gamma = "red", (0.25, 0.5), 0.7
    before = layer.as_layer_data_tuple()[1]
    for number in run.all:
        run.write(number)
    run.sink.finish()
    painting.update()
    levels = painting.final()[0]
    layer.data = levels if layer.multiscale else levels[0]
    after = layer.as_layer_data_tuple()[1]
    for key in ("scale", "translate", "contrast_limits", "multiscale", "gamma", "name", "units"):
        assert before[key] == after[key], key
    finest = layer.data[0] if layer.multiscale else layer.data
    np.testing.assert_array_equal(np.asarray(finest), run.pixels[0, 0, 0])


def test_a_flat_layer_that_shows_its_coarsest_level_follows_the_painting(tmp_path):
    run = Run(tmp_path / "p.ome.zarr")
    painting = Painting.open(run.path)
    layer = Layer.create(*painting.layers(name="x")[0])
    assert layer.data_level == len(layer.data) - 1
    assert np.isnan(layer._data_view).all()
    run.write(0)
    painting.update()
    layer.refresh(extent=False, highlight=False, thumbnail=False)
    assert np.isfinite(layer._data_view).any()


def test_a_time_lapse_over_a_stack_has_the_axes_of_the_stack(tmp_path):
    import dask.array as da
    from napari.components import ViewerModel

    from napari_virtualstain.io.image import LazyImage
    from napari_virtualstain.napari_io.layers import image_layers

    run = Run(tmp_path / "p.ome.zarr", n_t=3)
    over = LazyImage(
        data=da.zeros((3, 1, 4, 70, 90)), channels=(Channel("BF", "transmitted"),),
        pixel_size_um=PixelSize(2.0, 0.6, 0.5), origin_um=(-4.0, 10.0, 20.0), time_interval_s=60.0,
    )  # fmt: skip
    painting = Painting.open(run.path)
    viewer = ViewerModel()
    for data in [*image_layers(over), *painting.layers(name="x", over=over)]:
        viewer.add_layer(Layer.create(*data))
    below, stain, _ = viewer.layers
    np.testing.assert_allclose(stain.extent.world, below.extent.world)
    for number in run.all:
        run.write(number)
    painting.update()
    for t, z in ((0, 0), (2, 3)):
        viewer.dims.set_current_step((0, 1), (t, z))
        stain.refresh()
        level = painting.levels(0)[stain.data_level][t]
        np.testing.assert_array_equal(stain._data_view, level)
    run.sink.finish()
    painting.update()
    assert painting.final()[0][0].shape == (3, 4, 70, 90)


KEYS = (
    np.s_[2], np.s_[...], np.s_[1, 3:7], np.s_[:, 2:9, 1:8], np.s_[1:, 4, 5], np.s_[..., 3],
    np.s_[-1, ::2, ::-1], np.s_[0, 5:5], np.s_[[0, 2]], np.s_[1, 2:-3, 4],
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_level_is_indexed_like_numpy(key):
    twin = np.arange(3 * 10 * 12, dtype=np.float32).reshape(3, 10, 12)
    level = PaintedLevel(lambda t, y, x: twin[t, y, x], (3,), (10, 12))
    np.testing.assert_array_equal(np.asarray(level[key]), twin[key])


def test_a_window_of_all_times_reads_nothing_until_one_is_picked():
    asked = []

    def read(t, y, x):
        asked.append(t)
        return np.zeros((y.stop - y.start, x.stop - x.start), np.float32)

    level = PaintedLevel(read, (50,), (10, 12))
    window = level[:, 2:5, 3:9]
    assert asked == []
    assert window.shape == (50, 3, 6)
    assert window[7, :, :].shape == (3, 6)
    assert asked == [7]


def test_copies_are_those_of_the_finest_that_is_kept_on():
    pixels = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    copies = copies_of(pixels, levels=4, first=2)
    assert [copy.shape for copy in copies] == [(2, 2, 2), (2, 1, 1)]
    np.testing.assert_allclose(copies[1].ravel(), pixels.mean(axis=(1, 2)))


@pytest.mark.parametrize("n_t", [1, 2])
def test_every_plane_of_a_stack_shows_what_was_written_of_it(tmp_path, n_t):
    run = Run(tmp_path / "p.ome.zarr", n_t=n_t, n_z=3)
    painting = Painting.open(run.path)
    assert painting.tiles_total == len(run.all)
    levels = painting.levels(1)
    outer = (3,) if n_t == 1 else (n_t, 3)
    assert [level.shape[:-2] for level in levels] == [outer] * len(levels)
    for some in (run.all[:2], run.all[2:5], run.all[5:]):
        for number in some:
            run.write(number)
        painting.update()
        for t in range(n_t):
            for z in range(3):
                place = (z,) if n_t == 1 else (t, z)
                twin = block_means(run.written[t, 1, z], len(levels))
                for level, expected in zip(levels, twin, strict=True):
                    np.testing.assert_allclose(np.asarray(level[place]), expected, rtol=1e-5)
    assert painting.tiles_done == len(run.all)
    run.sink.finish()
    painting.update()
    whole = [np.asarray(level) for level in painting.final_levels(1)]
    assert whole[0].shape == levels[0].shape
    np.testing.assert_array_equal(whole[0].reshape(-1), np.asarray(levels[0]).reshape(-1))
