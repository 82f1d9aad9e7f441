"""Grey values come back from small types, to half a step, with what is missing."""

import re

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import KEY, read_record
from napari_virtualstain.io.scale import Scale, ScaledArray, open_stored, to_grey, to_stored
from napari_virtualstain.io.sink import OmeZarrSink

SHAPE = (1, 2, 1, 40, 56)
WHOLE = tuple(slice(0, n) for n in SHAPE)


def create(path, **changes):
    stated = {
        "shape": SHAPE, "channels": [Channel("DNA"), Channel("ER")], "chunks_yx": 16,
        "n_tiles": 1, "dtype": "uint16",
    }  # fmt: skip
    return OmeZarrSink.create(path, **{**stated, **changes})


def write(path, pixels, **changes):
    with create(path, shape=pixels.shape, **changes) as sink:
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return open_image(path)


def rounding(grey):
    """Half a unit in the last place of what is given back as float32."""
    return np.spacing(np.abs(grey).astype(np.float32)) / 2


@given(
    low=st.floats(-1e5, 1e5),
    span=st.floats(1e-3, 1e6),
    shares=st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=50),
    kind=st.sampled_from(["uint8", "uint16"]),
)
def test_integers_are_right_to_half_a_step(low, span, shares, kind):
    high = low + span
    scale = Scale.for_range(low, high, kind)
    grey = np.clip((low + span * np.array(shares)), low, high).reshape(1, 1, 1, 1, -1)
    stored, clipped = to_stored(grey, [scale], np.dtype(kind))
    found = to_grey(stored, scale)
    assert clipped == [0]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(grey))
    there = ~np.isnan(grey)
    most = scale.gain / 2 * (1 + 1e-9) + rounding(grey[there])
    assert (np.abs(found[there] - grey[there]) <= most).all()


@given(
    values=st.lists(st.floats(-65504, 65504, width=32) | st.just(np.nan), min_size=1, max_size=50),
    offset=st.sampled_from([0.0, 1000.0]),
)
def test_halves_are_right_to_eleven_bits(values, offset):
    scale = Scale(offset=offset)
    grey = np.clip(np.array(values, np.float32), -64000, 64000).reshape(1, 1, 1, 1, -1)
    stored, clipped = to_stored(grey, [scale], np.dtype("float16"))
    found = to_grey(stored, scale)
    assert clipped == [0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(grey))
    step = np.maximum(np.abs(grey.astype(float) - offset) * 2**-11, 2.0**-25)
    assert (np.abs(found - grey.astype(float)) <= step + rounding(grey))[~np.isnan(grey)].all()


@pytest.mark.parametrize(
    ("kind", "scale", "values", "stored", "clipped"),
    [
        ("uint16", Scale(), [0, 1, 65535, 65536, -5, np.nan], [1, 1, 65535, 65535, 1, 0], 3),
        ("uint16", Scale(offset=-1), [0, 65534, 65534.4, 65536], [1, 65535, 65535, 65535], 1),
        ("uint16", Scale(), [np.inf, -np.inf, np.nan, 70_000], [0, 0, 0, 65535], 1),
        ("float16", Scale(gain=2), [np.inf, -np.inf, 4], [np.nan, np.nan, 2], 0),
        ("uint8", Scale(gain=4, offset=-4), [0, 2, 6, 1020], [1, 2, 2, 255], 1),
        ("float16", Scale(), [70_000, -70_000, np.nan, 5], [65504, -65504, np.nan, 5], 2),
        ("float16", Scale(gain=2), [70_000, 131_008, -2e5], [35_008, 65504, -65504], 1),
    ],
    ids=[
        "uint16",
        "with an offset",
        "infinity is missing",
        "infinity is missing in halves",
        "uint8",
        "float16",
        "float16 with a gain",
    ],
)
def test_what_does_not_fit_is_clipped_and_counted(kind, scale, values, stored, clipped):
    grey = np.array(values, np.float32).reshape(1, 1, 1, 1, -1)
    found, count = to_stored(grey, [scale], np.dtype(kind))
    np.testing.assert_array_equal(found.ravel(), np.array(stored, kind))
    assert count == [clipped]


@pytest.mark.parametrize(
    ("low", "high", "kind", "scale"),
    [
        (0, 65534, "uint16", Scale(gain=1.0, offset=-1.0)),
        (-1000, 1000, "uint8", Scale(gain=2000 / 254, offset=-1000 - 2000 / 254)),
        (-500, 65504, "float16", Scale()),
        (0, 65505, "float16", Scale(gain=2.0)),
        (-3e6, 10, "float16", Scale(gain=64.0)),
    ],
)
def test_a_range_gets_the_smallest_steps_that_hold_it(low, high, kind, scale):
    assert Scale.for_range(low, high, kind) == scale


def test_the_store_says_what_its_numbers_mean_and_readers_undo_it(tmp_path):
    scales = [Scale.for_range(-100, 900, "uint16"), Scale(gain=2.0, offset=-2.0)]
    grey = np.random.default_rng(0).uniform(0, 800, SHAPE).astype(np.float32)
    grey[..., :20, :20] = np.nan
    image = write(tmp_path / "out.zarr", grey, scales=scales)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert (group["0"].dtype, group["0"].fill_value) == (np.uint16, 0)
    noted = group.attrs[KEY]["layout"]["scales"]
    assert noted == [{"gain": s.gain, "offset": s.offset} for s in scales]
    assert read_record(tmp_path / "out.zarr")["record"]["clipped_pixels"] == [0, 0]

    assert image.dtype == np.float32
    found = image.data.compute()
    for c, scale in enumerate(scales):
        np.testing.assert_array_equal(np.isnan(found[:, c]), np.isnan(grey[:, c]))
        assert np.nanmax(np.abs(found[:, c] - grey[:, c])) <= scale.gain / 2 + 1e-4
    np.testing.assert_array_equal(image.select(["ER"]).data.compute()[:, 0], found[:, 1])
    np.testing.assert_array_equal(image.data[:, [1, 0]].compute(), found[:, ::-1])
    levels = open_levels(tmp_path / "out.zarr")
    assert len(levels) == 3
    for level, plane in enumerate(levels):
        assert plane.dtype == np.float32
        np.testing.assert_array_equal(
            plane.compute()[:, 1], to_grey(group[str(level)][:][:, 1], scales[1])
        )
    coarse = levels[1].compute()
    full = np.nanmean(found[..., 20:, 20:].reshape(1, 2, 1, 10, 2, 18, 2), axis=(4, 6))
    for c, scale in enumerate(scales):
        assert np.abs(coarse[:, c, :, 10:, 10:] - full[:, c]).max() <= scale.gain / 2 + 1e-4
    assert np.isnan(coarse[..., :10, :10]).all()


def test_windows_are_those_of_the_stored_numbers(tmp_path):
    grey = np.linspace(0, 1000, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    grey[..., :4] = np.nan
    write(tmp_path / "out.zarr", grey, scales=[Scale(gain=0.5, offset=-0.5)] * 2)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    stored = group["0"][:]
    for c, channel in enumerate(group.attrs["ome"]["omero"]["channels"]):
        there = stored[:, c][stored[:, c] > 0]
        assert channel["window"]["min"] == there.min()
        assert channel["window"]["max"] == there.max()
        assert there.min() <= channel["window"]["start"] < channel["window"]["end"] <= there.max()


@pytest.mark.parametrize("kind", ["float16", "uint16"])
def test_what_no_tile_has_written_is_missing_in_small_types_too(tmp_path, kind):
    scales = [Scale()] * 2 if kind == "uint16" else None
    sink = create(tmp_path / "out.zarr", dtype=kind, scales=scales, n_tiles=2)
    first = (*WHOLE[:3], slice(0, 16), slice(0, 56))
    sink.write(first, np.full((1, 2, 1, 16, 56), 7.0, np.float32))
    sink.commit(0)
    sink.leave("a part was asked for")
    fill = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r").fill_value
    assert np.isnan(fill) if kind == "float16" else fill == 0
    for found in (
        open_image(tmp_path / "out.zarr").data.compute(),
        open_stored(tmp_path / "out.zarr")[:],
    ):
        assert found.dtype == np.float32
        assert (found[..., :16, :] == 7).all()
        assert np.isnan(found[..., 16:, :]).all()


def test_clipped_pixels_are_counted_over_all_runs_and_helpers(tmp_path):
    path = tmp_path / "out.zarr"
    strips = [(*WHOLE[:3], slice(y, min(y + 16, 40)), WHOLE[4]) for y in (0, 16, 32)]
    grey = np.full(SHAPE, 7.0, np.float32)
    grey[:, 0, :, 0, :3] = 1e9
    grey[:, 1, :, 20, :5] = -1e9
    grey[:, 1, :, 39, :1] = 1e9
    sink = create(path, scales=[Scale()] * 2, n_tiles=3)
    sink.write(strips[0], grey[strips[0]])
    sink.commit(0)
    sink.leave("a part was asked for")
    assert read_record(path)["record"]["clipped_pixels"] == [3, 0]
    sink = OmeZarrSink.resume(path)
    with OmeZarrSink.join(path) as helper:
        helper.write(strips[1], grey[strips[1]])
        helper.commit(1)
    sink.write(strips[2], grey[strips[2]])
    sink.fail("written, but not listed: the one that does it again counts")
    sink = OmeZarrSink.resume(path)
    for _ in range(2):
        sink.write(strips[2], grey[strips[2]])
        sink.commit(2)
    sink.finish()
    assert read_record(path)["record"]["clipped_pixels"] == [3, 6]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint16"])
def test_pixels_that_are_no_number_are_counted_over_all_runs_and_helpers(tmp_path, dtype):
    path = tmp_path / "out.zarr"
    strips = [(*WHOLE[:3], slice(y, min(y + 16, 40)), WHOLE[4]) for y in (0, 16, 32)]
    grey = np.full(SHAPE, 7.0, np.float32)
    n_t, _, n_z = SHAPE[:3]
    grey[:, 0, :, 0, :3] = np.nan
    grey[:, 1, :, 20, :5] = np.inf
    grey[:, 1, :, 39, :1] = -np.inf
    sink = create(
        path, scales=None if dtype == "float32" else [Scale()] * 2, n_tiles=3, dtype=dtype
    )
    sink.write(strips[0], grey[strips[0]], tile=0)
    sink.leave("a part was asked for")
    assert read_record(path)["record"]["missing_pixels"] == [3 * n_t * n_z, 0]
    sink = OmeZarrSink.resume(path)
    with OmeZarrSink.join(path) as helper:
        helper.write(strips[1], grey[strips[1]], tile=1)
    sink.write(strips[2], grey[strips[2]])
    sink.commit(2)
    assert sink.gaps() == [3 * n_t * n_z, 6 * n_t * n_z]
    sink.finish()
    assert read_record(path)["record"]["missing_pixels"] == [3 * n_t * n_z, 6 * n_t * n_z]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scales": [Scale()]}, "1 scales were given for 2 channels. Give one a channel."),
        ({"scales": [Scale()] * 2, "dtype": "int32"}, "type int32 are stored without a scale"),
        ({"scales": [Scale(gain=2)] * 2, "dtype": "float32"}, "type float32 are stored without"),
    ],
    ids=["number", "int32", "float32"],
)
def test_scales_that_cannot_be_are_refused(tmp_path, changes, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        create(tmp_path / "out.zarr", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("gain", "offset"), [(0, 0), (-1, 0), (np.nan, 0), (1, np.inf)])
def test_a_scale_can_be_undone(gain, offset):
    with pytest.raises(SettingsError, match="A scale has a positive gain and a finite offset"):
        Scale(gain=gain, offset=offset)
    with pytest.raises(SettingsError, match="A range of grey values goes up, got 5 to 5"):
        Scale.for_range(5, 5, "uint16")


def test_integers_without_a_scale_stay_what_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, SHAPE, dtype=np.uint16)
    image = write(tmp_path / "out.zarr", pixels)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.data.compute(), pixels)
    assert "scales" not in read_record(tmp_path / "out.zarr")["layout"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_scaled_array_is_indexed_like_any_other(data):
    shape = (2, 3, 1, 5, 4)
    stored = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    array = zarr.create_array({}, shape=shape, chunks=(1, 1, 1, 3, 3), dtype="uint16")
    array[:] = stored
    scales = [Scale(gain=k + 0.5, offset=-k) for k in range(3)]
    grey = np.stack([to_grey(stored[:, c], scale) for c, scale in enumerate(scales)], axis=1)
    key = data.draw(
        st.tuples(
            *(
                st.integers(0, n - 1) | st.slices(n).filter(lambda s: (s.step or 1) > 0)
                for n in shape
            )
        )
        | st.tuples(st.integers(0, 1), st.just(Ellipsis))
        | st.tuples(st.just(Ellipsis), st.slices(4).filter(lambda s: (s.step or 1) > 0))
        | st.integers(0, 1)
    )
    np.testing.assert_array_equal(ScaledArray(array, scales)[key], grey[key])


def test_the_same_place_with_other_scales_has_another_name(tmp_path):
    """Statistics are remembered by it."""
    names = set()
    for gain in (1.0, 2.0):
        pixels = np.full(SHAPE, 9.0, np.float32)
        scales = [Scale(gain=gain)] * 2
        names.add(write(tmp_path / "out.zarr", pixels, scales=scales, overwrite=True).data.name)
    assert len(names) == 2
