"""A stain is prepared, run and recorded: axes, scale and place come from the input."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ChannelError, PixelSizeError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.prepare import InputSettings, prepare
from napari_virtualstain.jobs.stain import StainSettings

BF = (Channel("Brightfield", "transmitted"),)


def image(shape=(1, 1, 3, 40, 48), *, seed=0, **described):
    pixels = np.random.default_rng(seed).normal(1000, 100, shape).astype(np.float32)
    described = {"pixel_size_um": PixelSize(4.0, 0.6, 0.6), **described}
    return LazyImage(data=da.from_array(pixels, chunks=(1, 1, 1, 32, 32)), channels=BF, **described)


@pytest.fixture
def run(tiny_model, tmp_path):
    def run(given, **settings):
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.ome.zarr"
        chosen = StainSettings(input="array", model=str(tiny_model), out=str(out), **settings)
        result = stain.run(chosen, image=given)
        return result, open_image(out)

    return run


def test_every_time_point_is_stained_with_its_own_numbers(run):
    once = image()
    # The second time point is the first under a brighter lamp: z-scored, they are alike.
    twice = replace(once, data=da.concatenate([once.data, once.data * 3 + 50]), time_interval_s=60)
    result, stained = run(twice, tile=16)
    assert result.shape == stained.shape == (2, 5, 1, 40, 48)
    assert stained.time_interval_s == 60
    first, second = stained.data.compute()
    np.testing.assert_allclose(first, second, atol=0.5)
    alone = run(once, tile=16)[1].data.compute()
    np.testing.assert_array_equal(alone[0], first)


PLACES = {
    "planes whose focus is known": (
        {"origin_um": (96.0, 5.0, 7.0), "z_positions_um": (-4.0, 0.0, 4.0)}, (100.0, 5.0, 7.0),
    ),
    "planes that say nothing of focus": ({"origin_um": (96.0, 5.0, 7.0)}, (96.0, 5.0, 7.0)),
}  # fmt: skip


@pytest.mark.parametrize(("described", "expected"), PLACES.values(), ids=PLACES)
def test_the_stain_lies_in_focus_over_its_image(described, expected, run):
    given = replace(image(**described), pixel_size_um=PixelSize(4.0, 0.6, 0.62))
    stained = run(given)[1]
    assert (stained.pixel_size_um.y, stained.pixel_size_um.x) == (0.6, 0.62)
    # OME-Zarr gives a plane no thickness here, so its place in z is not written.
    assert stained.origin_um[1:] == pytest.approx(expected[1:])
    assert stain.stain_origin(given) == pytest.approx(expected)


def test_a_part_of_an_image_is_stained_where_it_lies(run):
    part = image((1, 1, 3, 64, 64)).crop(slice(10, 50), slice(-40, None))
    stained = run(part)[1]
    assert stained.shape[3:] == (40, 40)
    assert stained.origin_um[1:] == pytest.approx((6.0, 14.4))


def test_what_is_seen_twice_as_finely_is_stained_alike_when_resampled(run):
    rng = np.random.default_rng(1)
    smooth = np.asarray(da.from_array(rng.normal(size=(3, 8, 8))))
    coarse = np.stack([np.kron(p, np.ones((6, 6))) for p in smooth])[None, None] * 100 + 1000
    fine = np.stack([np.kron(p, np.ones((12, 12))) for p in smooth])[None, None] * 100 + 1000
    at = [PixelSize(4.0, 0.6, 0.6), PixelSize(4.0, 0.3, 0.3)]
    grids = [
        LazyImage(data=da.from_array(p), channels=BF, pixel_size_um=s)
        for p, s in zip((coarse, fine), at, strict=True)
    ]
    plain = run(grids[0])[1].data.compute()
    result, resampled = run(grids[1], resample=True)
    assert resampled.shape[3:] == (96, 96)
    assert resampled.pixel_size_um.yx == pytest.approx(0.3)
    back = resampled.data.compute().reshape(1, 5, 1, 48, 2, 48, 2).mean(axis=(4, 6))
    for c in range(5):
        assert np.corrcoef(back[0, c].ravel(), plain[0, c].ravel())[0, 1] > 0.8
    assert read_record(result.out)["record"]["plan"]["resample_ratios_yx"] == [2.0, 2.0]


@pytest.mark.parametrize("size", [0.3, 0.9], ids="{} µm".format)
def test_tiles_leave_no_trace_when_resampled(size, run):
    given = replace(image((1, 1, 3, 75, 53)), pixel_size_um=PixelSize(None, size, size))
    small, large = (run(given, resample=True, tile=t)[1].data.compute() for t in (16, 512))
    np.testing.assert_allclose(small, large, rtol=1e-3, atol=0.5)


def test_a_coarse_image_gets_smaller_tiles_so_that_the_network_sees_no_more(tiny_model):
    given = replace(image((1, 1, 3, 300, 300)), pixel_size_um=PixelSize(None, 6.0, 6.0))
    settings = InputSettings(input="x", model=str(tiny_model), tile=200, resample=True)
    assert prepare(settings, image=given).plan.core == (20, 20)


@pytest.mark.parametrize("size", [1e-4, 600.0], ids="{} µm".format)
def test_a_pixel_size_in_another_unit_is_not_resampled(size, tiny_model):
    given = replace(image(), pixel_size_um=PixelSize(None, size, size))
    settings = InputSettings(input="x", model=str(tiny_model), resample=True)
    with pytest.raises(PixelSizeError, match="more than 16 times apart.*with --pixel-size"):
        prepare(settings, image=given)


@pytest.mark.parametrize("size", [(600, 40), (1100, 96), (40, 600)], ids="{0[0]} x {0[1]}".format)
def test_a_narrow_image_is_streamed_like_any_other(size, run):
    given = image((1, 1, 3, *size))
    streamed, tiled = (
        run(given, **how)[1].data.compute() for how in ({"mode": "stream"}, {"tile": 48})
    )
    np.testing.assert_allclose(streamed, tiled, rtol=1e-4, atol=0.05)


def test_a_size_that_nothing_states_is_recorded_as_the_model_s(run):
    result, found = run(replace(image(), pixel_size_um=PixelSize()))
    sizes = read_record(result.out)["record"]["plan"]["pixel_sizes_yx_um"]
    assert sizes == {"image": [None, None], "network": [0.6, 0.6]}
    assert found.pixel_size_um.yx is None  # nobody has measured it


def test_the_stated_pixel_size_wins_and_is_written(run):
    wrong = replace(image(), pixel_size_um=PixelSize(None, 6.45, 6.45))
    assert run(wrong, pixel_size=0.6)[1].pixel_size_um == PixelSize(None, 0.6, 0.6)


@pytest.mark.parametrize(
    ("name", "modality", "settings", "refused"),
    [
        ("DNA", "fluorescence", {}, True),
        ("DNA", "fluorescence", {"channel": "DNA"}, False),
        ("channel 0", "unknown", {}, False),
        ("Phase", "transmitted", {}, False),
    ],
)
def test_fluorescence_is_not_stained_unless_it_is_named(run, name, modality, settings, refused):
    given = replace(image(), channels=(Channel(name, modality),))
    if refused:
        with pytest.raises(ChannelError, match="'DNA' is of fluorescence.* with --channel"):
            run(given, tile=16, **settings)
    else:
        assert run(given, tile=16, **settings)[0].shape[1] == 5


def test_the_record_repeats_the_run(run, tmp_path):
    result, stained = run(image(), tile=16, seed=3)
    record = read_record(result.out)["record"]
    settings = StainSettings.model_validate(record["settings"])
    assert (settings.tile, settings.seed) == (16, 3)
    again = settings.model_copy(update={"out": str(tmp_path / "again.ome.zarr")})
    stain.run(again, image=image())
    np.testing.assert_array_equal(open_image(again.out).data.compute(), stained.data.compute())
    entry = record["normalisation"]["inputs"][0][0]
    assert entry["offset"] == pytest.approx(1000, abs=10)
    assert record["plan"]["tiles"] == 9
    assert record["input"]["shape_tczyx"] == [1, 1, 3, 40, 48]
    assert set(record["normalisation"]["units"].values()) == {"camera counts"}


def test_progress_counts_to_the_end(run, tiny_model, tmp_path):
    calls = []
    settings = StainSettings(
        input="array", model=str(tiny_model), out=str(tmp_path / "o.ome.zarr"), tile=16
    )
    stain.run(settings, image=image((2, 1, 3, 40, 48)), on_progress=lambda *a: calls.append(a))
    tiles = [done for done, total, what in calls if what == "tiles stained" and total == 18]
    # At every piece, so that a run can be ended there too.
    assert sorted(set(tiles)) == list(range(19))
    assert tiles == sorted(tiles)


def test_reading_a_tile_changes_no_setting_of_the_process(tiny_model):
    import dask

    before = dict(dask.config.config)
    prepared = prepare(InputSettings(input="x", model=str(tiny_model)), image=image())
    prepared.planes.read(0, (slice(0, 8), slice(0, 8)))
    assert dask.config.config == before
