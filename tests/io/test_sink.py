"""Results are written tile by tile, and are valid whatever happens."""

import errno
import json
import re
import shutil
import tracemalloc
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    DiskError,
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    SettingsError,
)
from napari_virtualstain.io import disk, sink_open, tile_log
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.scale import Scale
from napari_virtualstain.io.sink import OmeZarrSink, check_output, read_record

STAINS = tuple(Channel(name) for name in ("DNA", "ER", "RNA", "AGP", "Mito"))
SHAPE = (1, 2, 1, 40, 56)


def create(path, **changes):
    stated = {
        "shape": SHAPE,
        "channels": STAINS[:2],
        "pixel_size_um": PixelSize(y=0.5, x=0.25),
        "chunks_yx": 16,
        "record": {"seed": 1},
        "n_tiles": 2,
    }
    return OmeZarrSink.create(path, **{**stated, **changes})


def tiles(shape=SHAPE, edge=32):
    """Regions that cover the image: halves along x."""
    t, c, z, y, x = shape
    whole = (slice(0, t), slice(0, c), slice(0, z), slice(0, y))
    return [(*whole, slice(0, edge)), (*whole, slice(edge, x))]


def pixels(region, seed=0):
    shape = tuple(one.stop - one.start for one in region)
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def write_all(sink):
    for index, region in enumerate(tiles()):
        sink.write(region, pixels(region, index))
        sink.commit(index)


def test_a_finished_store_opens_as_what_was_written(tmp_path):
    with create(tmp_path / "out.ome.zarr", origin_um=(0.0, 5.0, 7.0), time_interval_s=30.0) as sink:
        write_all(sink)
    image = open_image(tmp_path / "out.ome.zarr")
    assert (image.shape, image.axes, image.dtype) == (SHAPE, "tczyx", np.float32)
    assert image.channel_names == ("DNA", "ER")
    assert [c.colour for c in image.channels] == ["0000FF", "00FF00"]
    assert image.pixel_size_um == PixelSize(y=0.5, x=0.25)
    assert image.origin_um == (0.0, 5.0, 7.0)
    assert image.time_interval_s == 30.0
    assert image.guesses == ()
    for index, region in enumerate(tiles()):
        np.testing.assert_array_equal(image.read(region), pixels(region, index))


def test_the_record_says_that_the_run_is_complete(tmp_path):
    with create(tmp_path / "out.zarr") as sink:
        write_all(sink)
        sink.finish({"seconds": 1.5})
    found = read_record(tmp_path / "out.zarr")
    assert found["status"] == "complete"
    assert (found["tiles_done"], found["tiles_total"]) == (2, 2)
    assert found["schema_version"] == 1
    assert found["record"] == {"seed": 1, "seconds": 1.5}
    assert "reason" not in found
    root = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())
    assert root["attributes"]["napari_virtualstain"]["status"] == "complete"
    assert not (tmp_path / "out.zarr" / "0" / "commits").exists()


def test_the_five_stains_have_the_colours_of_cell_painting(tmp_path):
    with create(tmp_path / "o.zarr", shape=(1, 5, 1, 8, 8), channels=STAINS, n_tiles=1) as sink:
        sink.write(tuple(slice(0, n) for n in sink.shape), np.ones(sink.shape))
        sink.commit(0)
    channels = zarr.open_group(tmp_path / "o.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert [(c["label"], c["color"]) for c in channels] == [
        ("DNA", "0000FF"), ("ER", "00FF00"), ("RNA", "FFFF00"), ("AGP", "FFA500"),
        ("Mito", "FF00FF"),
    ]  # fmt: skip


def test_display_windows_follow_the_data(tmp_path):
    with create(tmp_path / "out.zarr") as sink:
        write_all(sink)
    window = zarr.open_group(tmp_path / "out.zarr")["0"]
    data = window[0, 0]
    found = zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["omero"]["channels"][0]["window"]
    assert found["min"] == data.min()
    assert found["max"] == data.max()
    assert found["min"] <= found["start"] < found["end"] <= found["max"]


def test_the_store_opens_with_zarr_without_a_warning(tmp_path):
    with create(tmp_path / "out.zarr") as sink:
        sink.write(tiles()[0], pixels(tiles()[0]))
        sink.commit(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            members = zarr.open_group(tmp_path / "out.zarr").members()
            assert sorted(name for name, _ in members) == ["0", "1", "2"]
        sink.fail("stopped")
    with create(tmp_path / "full.zarr") as sink:
        write_all(sink)
    group = zarr.open_group(tmp_path / "full.zarr", mode="r")
    assert sorted(name for name, _ in group.members()) == ["0", "1", "2"]
    assert group["0"].chunks == (1, 1, 1, 16, 16)
    assert group["0"].metadata.dimension_names == tuple("tczyx")


@pytest.mark.filterwarnings("ignore")
def test_the_store_validates_with_ngff_zarr(tmp_path):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    with create(tmp_path / "out.ome.zarr") as sink:
        write_all(sink)
    found = ngff_zarr.from_ngff_zarr(tmp_path / "out.ome.zarr", validate=False)
    assert found.metadata.omero.channels[0].label == "DNA"
    assert [axis.name for axis in found.metadata.axes] == list("tczyx")
    first, second = found.images[:2]
    assert (first.scale["y"], first.scale["x"]) == (0.5, 0.25)
    assert (second.scale["y"], second.translation["x"]) == (1.0, 0.125)
    pytest.importorskip("jsonschema")
    ngff_zarr.from_ngff_zarr(tmp_path / "out.ome.zarr", validate=True, version="0.5")


def test_a_coarser_level_averages_and_lies_half_a_pixel_further(tmp_path):
    with create(tmp_path / "out.zarr", origin_um=(0.0, 5.0, 7.0)) as sink:
        write_all(sink)
    fine, coarse, coarsest = open_levels(tmp_path / "out.zarr")
    assert coarse.shape == (1, 2, 1, 20, 28)
    assert coarsest.shape == (1, 2, 1, 10, 14)
    full = fine.compute()
    mean = full.reshape(1, 2, 1, 20, 2, 28, 2).mean(axis=(4, 6))
    np.testing.assert_allclose(coarse.compute(), mean, rtol=1e-6)
    steps = zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["multiscales"][0]["datasets"]
    for level, step in enumerate(steps):
        scale, translation = (one[one["type"]] for one in step["coordinateTransformations"])
        assert scale == [1.0, 1.0, 1.0, 0.5 * 2**level, 0.25 * 2**level]
        # The upper left corner of the image is the same at every level.
        assert translation[3] - scale[3] / 2 == pytest.approx(5.0 - 0.25)
        assert translation[4] - scale[4] / 2 == pytest.approx(7.0 - 0.125)


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((0, 8), "The region 0:8 along x is not aligned to chunks of 16 px"),
        ((8, 32), "The region 8:32 along x is not aligned to chunks of 16 px"),
        ((16, 60), "The region 16:60 along x is not inside 0:56"),
        ((16, 16), "The region 16:16 along x is not inside 0:56"),
    ],
)
def test_a_misaligned_region_is_refused(tmp_path, region, said):
    sink = create(tmp_path / "out.zarr")
    start, stop = region
    place = (*tiles()[0][:4], slice(start, stop))
    with pytest.raises(SettingsError, match=re.escape(said)):
        sink.write(place, np.zeros((1, 2, 1, 40, stop - start)))


def test_pixels_of_another_shape_or_type_are_refused(tmp_path):
    sink = create(tmp_path / "out.zarr", dtype="uint8")
    region = tiles()[0]
    with pytest.raises(SettingsError, match=r"Pixels of shape \(3, 3\) were given for the region"):
        sink.write(region, np.zeros((3, 3), np.uint8))
    with pytest.raises(SettingsError, match="Pixels of type float32 do not fit a store of uint8"):
        sink.write(region, pixels(region))
    with pytest.raises(SettingsError, match="A region has 5 slices, got 2"):
        sink.write(region[:2], pixels(region))


def test_what_is_not_written_is_missing_not_dark(tmp_path):
    with pytest.raises(KeyboardInterrupt), create(tmp_path / "out.zarr") as sink:  # noqa: PT012
        sink.write(tiles()[0], pixels(tiles()[0]))
        sink.commit(0)
        raise KeyboardInterrupt
    image = open_image(tmp_path / "out.zarr")
    assert np.isnan(image.read(tiles()[1])).all()
    np.testing.assert_array_equal(image.read(tiles()[0]), pixels(tiles()[0]))


@pytest.mark.parametrize(
    ("error", "reason"),
    [(KeyboardInterrupt(), "cancelled"), (RuntimeError("out of memory"), "out of memory")],
)
def test_a_run_that_stops_leaves_a_valid_store_that_says_so(tmp_path, error, reason):
    path = tmp_path / "out.ome.zarr"
    with pytest.raises(type(error)), create(path) as sink:  # noqa: PT012
        sink.write(tiles()[0], pixels(tiles()[0]))
        sink.commit(0)
        raise error
    found = read_record(path)
    assert (found["status"], found["reason"]) == ("partial", reason)
    assert (found["tiles_done"], found["tiles_total"]) == (1, 2)
    group = zarr.open_group(path, mode="r")
    assert group.attrs["ome"]["multiscales"][0]["name"] == "out (partial)"
    image = open_image(path)
    assert image.guesses[0].startswith("Only 1 of 2 tiles are there: the run that wrote the store")


def test_a_killed_run_says_partial_and_can_be_resumed(tmp_path):
    path = tmp_path / "out.zarr"
    killed = create(path)
    killed.write(tiles()[0], pixels(tiles()[0]))
    killed.commit(0)
    with (path / "0" / "commits").open("ab") as file:
        file.write(b"\n1")  # cut off in the middle of a line
    del killed  # what is gone holds no lock
    assert read_record(path)["tiles_done"] == 1
    assert read_record(path)["status"] == "partial"
    with OmeZarrSink.resume(path) as sink:
        assert sink.committed() == {0}
        sink.write(tiles()[1], pixels(tiles()[1], 1))
        sink.commit(1)
        assert sink.committed() == {0, 1}
    assert read_record(path)["status"] == "complete"
    assert open_image(path).guesses == ()
    with pytest.raises(SettingsError, match="is complete. There is nothing to go on with"):
        OmeZarrSink.resume(path)


def test_a_store_with_missing_tiles_cannot_be_finished(tmp_path):
    with (  # noqa: PT012
        pytest.raises(SettingsError, match="1 of 2 tiles of .* are not written"),
        create(tmp_path / "out.zarr") as sink,
    ):
        sink.write(tiles()[0], pixels(tiles()[0]))
        sink.commit(0)
    assert read_record(tmp_path / "out.zarr")["status"] == "partial"
    with pytest.raises(SettingsError, match="Tile 2 is none of the 2"):
        sink.commit(2)


def test_an_existing_output_is_kept_unless_somebody_says_otherwise(tmp_path):
    path = tmp_path / "out.zarr"
    with create(path) as sink:
        write_all(sink)
    with pytest.raises(OutputExistsError, match=r"hoose another --out or add --overwrite\.$"):
        create(path)
    with create(path, overwrite=True, record={"seed": 2}) as sink:
        assert (tmp_path / "out.zarr.previous").is_dir()
        write_all(sink)
    assert read_record(path)["record"] == {"seed": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]


def test_the_previous_result_comes_back_when_its_successor_fails(tmp_path):
    path = tmp_path / "out.zarr"
    with create(path) as sink:
        write_all(sink)
    with pytest.raises(KeyboardInterrupt), create(path, overwrite=True, record={"seed": 2}):
        raise KeyboardInterrupt
    assert read_record(path)["record"] == {"seed": 1}
    assert read_record(path)["status"] == "complete"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]


def test_the_previous_result_survives_a_killed_successor(tmp_path):
    path = tmp_path / "out.zarr"
    with create(path) as sink:
        write_all(sink)
    create(path, overwrite=True, record={"seed": 2})  # killed: neither finished nor failed
    with pytest.raises(KeyboardInterrupt), create(path, overwrite=True, record={"seed": 3}):
        raise KeyboardInterrupt
    assert read_record(path)["record"] == {"seed": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("kind", ["file", "folder", "zarr without images"])
def test_what_is_no_ome_zarr_is_never_replaced(tmp_path, kind):
    path = tmp_path / "out.zarr"
    if kind == "file":
        path.write_text("thesis")
    elif kind == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("thesis")
    else:
        zarr.create_group(store=path)
    with pytest.raises(OutputExistsError, match="which is never replaced. Choose another --out"):
        create(path, overwrite=True)
    assert path.exists()


def test_an_empty_folder_is_no_obstacle_and_parents_are_made(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    create(tmp_path / "empty.zarr")
    create(tmp_path / "a" / "b" / "out.zarr")
    assert (tmp_path / "a" / "b" / "out.zarr" / "zarr.json").is_file()


@pytest.mark.parametrize(
    ("out", "source", "said"),
    [
        ("in.tif", "in.tif", "is the input itself"),
        ("in.zarr/out.zarr", "in.zarr", "lies inside the input"),
        ("plate", "plate/images", "holds the input"),
        ("x/../in.zarr", "in.zarr", "is the input itself"),
    ],
)
def test_an_output_never_touches_its_input(tmp_path, out, source, said):
    (tmp_path / "in.zarr").mkdir()
    with pytest.raises(SettingsError, match=f"{said}.*Choose another --out"):
        check_output(tmp_path / out, [None, tmp_path / source])


def test_an_output_beside_its_input_is_fine(tmp_path):
    check_output(tmp_path / "in_stained.zarr", [tmp_path / "in.zarr", None], overwrite=False)


def test_a_link_to_the_input_is_the_input(tmp_path):
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "link.zarr").symlink_to(tmp_path / "in.zarr")
    with pytest.raises(SettingsError, match="is the input itself"):
        check_output(tmp_path / "link.zarr", [tmp_path / "in.zarr"])


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, "14.3 GB"),
        ({"dtype": "float16"}, "7.1 GB"),
        ({"dtype": "uint16", "scales": [Scale()] * 2}, "7.1 GB"),
        ({"levels": 1}, "10.7 GB"),
    ],
    ids=["float32", "float16", "uint16", "one level"],
)
def test_too_small_a_disk_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, changes, needed
):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10**6))
    with pytest.raises(
        DiskError, match=f"needs about {needed}, but only 1.0 MB are free there. Make room, or"
    ):
        create(tmp_path / "out.zarr", shape=(1, 2, 1, 36_600, 36_600), **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alive", [False, True])
def test_what_was_killed_while_it_began_is_removed_by_the_next(tmp_path, alive):
    begun = tmp_path / ".out.zarr.0123.begun"
    held = create(begun)
    if not alive:
        del held
    with create(tmp_path / "out.zarr") as sink:
        write_all(sink)
    assert begun.exists() == alive


def test_of_two_that_begin_at_once_one_gets_the_place(tmp_path, monkeypatch):
    path = tmp_path / "out.zarr"
    describe = sink_open.describe

    def slow(*args, **kwargs):
        monkeypatch.setattr(sink_open, "describe", describe)
        with create(path) as faster:
            write_all(faster)
        return describe(*args, **kwargs)

    monkeypatch.setattr(sink_open, "describe", slow)
    with pytest.raises(DiskError, match="cannot be written"):
        create(path, record={"seed": 2})
    assert read_record(path)["record"] == {"seed": 1}
    assert read_record(path)["status"] == "complete"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "there is no permission to write there"),
    ],
)
@pytest.mark.parametrize("when", ["create", "write", "commit", "finish"])
def test_a_disk_that_refuses_is_one_sentence(tmp_path, monkeypatch, number, why, when):
    def refuse(*_args, **_kwargs):
        raise OSError(number, "said the system")

    path = tmp_path / "out.zarr"
    with pytest.raises(DiskError, match=f"out.zarr' cannot be written: {why}.*hoose another --ou"):  # noqa: PT012
        if when == "create":
            monkeypatch.setattr(sink_open, "new_group", refuse)
        with create(path) as sink:
            if when == "write":
                monkeypatch.setattr(zarr.storage.LocalStore, "set", refuse)
            write_all(sink)
            if when == "commit":
                monkeypatch.setattr(tile_log.Path, "open", refuse)
                sink.commit(0)
            if when == "finish":
                monkeypatch.setattr(sink_open, "describe", refuse)
    monkeypatch.undo()
    if when == "create":
        assert not path.exists()
    else:
        assert read_record(path)["status"] == "partial"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": (2, 40, 56)}, "A result has the shape (T, C, Z, Y, X), got (2, 40, 56)"),
        ({"channels": STAINS}, "5 channels were named for 2"),
        ({"n_tiles": 0}, "Chunk edge, tiles and levels must be 1 or more"),
        ({"record": {"path": object()}}, "The run record cannot be written as JSON"),
        ({"record": {"loss": float("nan")}}, "The run record cannot be written as JSON"),
    ],
    ids=["axes", "channels", "tiles", "object", "nan"],
)
def test_settings_that_cannot_be_are_refused(tmp_path, changes, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        create(tmp_path / "out.zarr", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_asked_for_where_there_is_none(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        read_record(tmp_path / "none.zarr")
    zarr.create_group(store=tmp_path / "other.zarr")
    for path in (tmp_path / "other.zarr", tmp_path):
        with pytest.raises(ImageFileError, match="holds no run record: it was not written by"):
            read_record(path)
    (tmp_path / "other.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ImageFileError, match=r"zarr.json' is damaged"):
        read_record(tmp_path / "other.zarr")


def test_integers_are_written_with_a_missing_value_of_zero(tmp_path):
    with create(tmp_path / "out.zarr", dtype="uint8", n_tiles=1, shape=(1, 2, 1, 33, 35)) as sink:
        sink.write(tuple(slice(0, n) for n in sink.shape), np.full(sink.shape, 7, np.uint8))
        sink.commit(0)
    levels = open_levels(tmp_path / "out.zarr")
    assert [level.shape[-2:] for level in levels] == [(33, 35), (17, 18), (9, 9)]
    assert all((level.compute() == 7).all() for level in levels)


def test_finishing_a_large_store_holds_a_few_chunks_only(tmp_path):
    shape = (1, 1, 1, 4096, 4096)
    sink = create(tmp_path / "out.zarr", shape=shape, channels=STAINS[:1], chunks_yx=256, n_tiles=1)
    strip = np.ones((1, 1, 1, 256, 4096), np.float32)
    for y in range(0, 4096, 256):
        sink.write((*(slice(0, 1),) * 3, slice(y, y + 256), slice(0, 4096)), strip)
    sink.commit(0)
    tracemalloc.start()
    sink.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < np.prod(shape) * 4 / 6


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    names=st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=9
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    colour=st.from_regex(r"[0-9A-F]{6}", fullmatch=True),
    size=st.tuples(*(st.none() | st.floats(1e-3, 1e3),) * 3),
    origin=st.tuples(*(st.floats(-1e4, 1e4),) * 3),
    edges=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_names_colours_and_sizes_come_back(tmp_path_factory, names, colour, size, origin, edges):
    path = tmp_path_factory.mktemp("round") / "out.zarr"
    channels = [Channel(name, colour=colour) for name in names]
    shape = (1, len(names), 1, *edges)
    pixel = PixelSize(*size)
    with create(
        path,
        shape=shape,
        channels=channels,
        pixel_size_um=pixel,
        origin_um=origin,
        n_tiles=1,
        chunks_yx=8,
    ) as sink:
        data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        sink.write(tuple(slice(0, n) for n in shape), data)
        sink.commit(0)
    image = open_image(path)
    assert image.channel_names == tuple(names)
    assert {channel.colour for channel in image.channels} == {colour}
    assert image.pixel_size_um == pixel
    for axis, found, stated in zip("zyx", image.origin_um, origin, strict=True):
        assert found == (stated if getattr(pixel, axis) is not None else 0.0)
    np.testing.assert_array_equal(image.data.compute(), data)
