"""A picture that is saved is found again: pixels, coarser copies, names, sizes; and a PNG shows what it says."""

import json

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import PEERS, read_with
from PIL import Image

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import DiskError, OutputExistsError, PixelDataError
from napari_virtualstain.io import save
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.pyramid import mean_2x2
from napari_virtualstain.io.save import ImagePicture, blocks_of, coarse_block, write_ome_zarr
from napari_virtualstain.io.save_png import bar_length_um, compose, write_png
from napari_virtualstain.io.save_tiff import write_ome_tiff


def png(path):
    """Return size, pixels (Y, X, 3) and text entries of a PNG."""
    with Image.open(path) as image:
        return image.size, np.asarray(image), dict(image.text)


def picture(shape=(1, 2, 1, 1100, 700), dtype=np.uint16, size=0.5):
    pixels = np.random.default_rng(0).integers(0, 4000, shape)
    image = LazyImage(
        data=da.from_array(pixels.astype(dtype), chunks=(1, 1, 1, 300, 300)),
        channels=(Channel("DNA", colour="0000FF"), Channel("ER", colour="00FF00"))[: shape[1]],
        pixel_size_um=PixelSize(y=size, x=size),
    )
    return ImagePicture(image), pixels.astype(dtype)


WRITE = {
    ".ome.tif": lambda path, pic: write_ome_tiff(path, pic),
    ".ome.zarr": lambda path, pic: write_ome_zarr(str(path), pic),
}


@pytest.mark.parametrize("ending", WRITE)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
@pytest.mark.parametrize("shape", [(1, 2, 1, 600, 530), (2, 1, 3, 40, 50)])
def test_what_is_saved_is_read_again(tmp_path, ending, dtype, shape):
    pic, pixels = picture(shape, dtype)
    path = tmp_path / f"a{ending}"
    WRITE[ending](path, pic)
    image = open_image(path)
    assert image.shape == shape
    assert image.channel_names == ("DNA", "ER")[: shape[1]]
    assert [c.colour for c in image.channels] == ["0000FF", "00FF00"][: shape[1]]
    assert (image.pixel_size_um.y, image.pixel_size_um.x) == (0.5, 0.5)
    np.testing.assert_array_equal(image.data.compute(), pixels)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("program", "ending"), PEERS)
def test_other_programs_read_the_same_pixels_names_and_sizes(tmp_path, program, ending, dtype):
    pixels = np.random.default_rng(0).integers(0, 250, (2, 2, 3, 40, 50)).astype(dtype)
    image = LazyImage(
        data=da.from_array(pixels), channels=(Channel("DNA"), Channel("ER")),
        pixel_size_um=PixelSize(z=2.0, y=0.5, x=0.25), time_interval_s=30.0,
    )  # fmt: skip
    WRITE[ending](tmp_path / f"a{ending}", ImagePicture(image))
    found = read_with(program, ending, tmp_path / f"a{ending}")
    assert found.pixels.dtype == dtype
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.steps in [(30.0, 2.0, 0.5, 0.25), (None, 2.0, 0.5, 0.25)]
    assert found.steps[0] == 30.0 or (program, ending) == ("bioio", ".ome.tif")
    assert found.names in (("DNA", "ER"), None)


def test_a_tiff_has_the_coarser_copies_where_others_look_for_them(tmp_path):
    pic, pixels = picture()
    write_ome_tiff(tmp_path / "a.ome.tif", pic)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        (series,) = file.series
        levels = [level.asarray() for level in series.levels]
    expected = pixels[0, :, 0]
    for level in levels:
        np.testing.assert_array_equal(level, expected)
        expected = np.stack([mean_2x2(plane) for plane in expected])
    assert [level.shape[-2:] for level in levels] == [(1100, 700), (550, 350), (275, 175)]


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), level=st.integers(0, 3))
def test_a_coarse_block_is_the_mean_of_means(height, width, level):
    pic, pixels = picture((1, 1, 1, height, width))
    expected = pixels[0, 0, 0]
    for _ in range(level):
        expected = mean_2x2(expected)
    before, save.CHUNK = save.CHUNK, 16
    try:
        whole = (slice(0, expected.shape[0]), slice(0, expected.shape[1]))
        np.testing.assert_array_equal(coarse_block(pic, (0, 0, 0), level, *whole), expected)
    finally:
        save.CHUNK = before


@given(height=st.integers(1, 40), width=st.integers(1, 40), edge=st.integers(1, 17))
def test_blocks_cover_every_pixel_once(height, width, edge):
    seen = np.zeros((height, width), int)
    for y, x in blocks_of(height, width, edge=edge):
        seen[y, x] += 1
    assert (seen == 1).all()


def test_a_writing_that_is_stopped_leaves_no_file_that_looks_whole(tmp_path):
    pic, _ = picture()

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ome_tiff(tmp_path / "a.ome.tif", pic, on_tile=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_begins_with_nothing_and_ends_with_all(tmp_path):
    pic, _ = picture((1, 1, 1, 1100, 20))
    for name, write in (
        ("tif", lambda tell: write_ome_tiff(tmp_path / "a.tif", pic, on_tile=tell)),
        ("zarr", lambda tell: write_ome_zarr(str(tmp_path / "a.ome.zarr"), pic, on_block=tell)),
    ):
        told = []
        write(lambda done, total, told=told: told.append((done, total)))
        total = told[0][1]
        assert (told[0], told[-1]) == ((0, total), (total, total)), name


# --- pictures -------------------------------------------------------------------------------------


def test_a_png_shows_black_and_full_colour_where_it_says(tmp_path):
    pic, pixels = picture((1, 2, 1, 200, 300), np.uint16)
    shown = write_png(
        tmp_path / "a.png", pic, limits={"dna": (0, 1), "DNA": (1000, 3000)}, bar=False
    )
    _, got, text = png(tmp_path / "a.png")
    assert got.shape == (200, 300, 3)
    dna = np.clip((pixels[0, 0, 0].astype(float) - 1000) / 2000, 0, 1)
    np.testing.assert_allclose(got[..., 2], np.rint(255 * dna), atol=0)
    low, high = shown.limits["ER"]
    assert (low, high) == tuple(np.quantile(pixels[0, 1, 0], (0.002, 0.998)))
    noted = json.loads(text["virtualstain"])
    assert noted["limits"]["DNA"] == [1000, 3000]
    assert noted["bar_um"] is None


def test_channels_without_a_colour_are_told_apart_in_a_png(tmp_path):
    planes = np.zeros((1, 3, 1, 4, 4), np.uint8)
    planes[0, 0, 0, 0], planes[0, 1, 0, 1], planes[0, 2, 0, 2] = 200, 200, 200
    image = LazyImage(
        data=da.from_array(planes),
        channels=(Channel("a"), Channel("b"), Channel("Brightfield", "transmitted")),
    )
    limits = dict.fromkeys(image.channel_names, (0.0, 200.0))
    shown = write_png(tmp_path / "a.png", ImagePicture(image), limits=limits)
    assert len(set(shown.colours.values())) == 3
    with Image.open(tmp_path / "a.png") as picture:
        first, second, third = (picture.getpixel((0, y)) for y in range(3))
    assert (first, second, third) == ((0, 255, 0), (255, 0, 255), (255, 255, 255))


def test_a_scale_bar_is_as_long_as_it_says(tmp_path):
    pic, _ = picture((1, 1, 1, 400, 600), np.uint8, size=0.5)
    shown = write_png(tmp_path / "a.png", pic, limits={"DNA": (5000, 6000)})
    assert shown.bar_um == 50.0  # of 300 µm
    white = (png(tmp_path / "a.png")[1] == 255).all(axis=-1)
    rows = [np.flatnonzero(row) for row in white]
    longest = max(len(row) for row in rows)
    assert abs(longest - 50 / 0.5) <= 1


@pytest.mark.parametrize(
    ("size", "shape"),
    [(None, (1, 1, 1, 400, 600)), (0.5, (1, 1, 1, 60, 57))],
    ids=["unknown", "tiny"],
)
def test_a_bar_that_cannot_be_is_left_out(tmp_path, size, shape):
    pic, _ = picture(shape, size=size)
    assert write_png(tmp_path / "a.png", pic).bar_um is None


def test_a_large_picture_is_reduced(tmp_path):
    pic, _ = picture((1, 1, 1, 300, 500))
    shown = write_png(tmp_path / "a.png", pic, largest=128)
    assert shown.reduced == 4
    assert png(tmp_path / "a.png")[0] == (125, 75)


def test_what_is_missing_is_black():
    plane = np.array([[np.nan, 1.0]])
    assert compose({"a": plane}, {"a": "FFFFFF"}, {"a": (0.0, 1.0)}).tolist() == [
        [[0, 0, 0], [255, 255, 255]]
    ]


@given(width=st.floats(1e-3, 1e6))
def test_a_bar_is_round_and_fits(width):
    length = bar_length_um(width)
    assert width / 15 < length <= width / 5 * (1 + 1e-9)
    assert f"{length:.0e}"[0] in "125"


def test_a_channel_without_a_pixel_is_one_sentence(tmp_path):
    empty = LazyImage(data=da.full((1, 1, 1, 8, 8), np.nan), channels=(Channel("DNA"),))
    with pytest.raises(
        PixelDataError, match=r"^Channel 'DNA' has no pixels in this plane\. .*out\.$"
    ):
        write_png(tmp_path / "a.png", ImagePicture(empty))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_written_over(tmp_path):
    pic, _ = picture((1, 1, 1, 8, 8))
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputExistsError, match="is a folder. Choose another name.$"):
        write_png(tmp_path / "a.png", pic)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    pic, _ = picture((1, 1, 1, 8, 8))
    (tmp_path / "file").write_text("")
    for name, write in (("a.png", write_png), ("a.ome.tif", write_ome_tiff)):
        with pytest.raises(DiskError):
            write(tmp_path / "file" / name, pic)
