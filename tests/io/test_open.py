"""Any path or array becomes an image, or one sentence says why not."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    ImageFileError,
    MissingInputError,
    PixelDataError,
    SettingsError,
    UnknownNameError,
    VirtualStainError,
)
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import OPENERS, find_opener, list_scenes, open_image
from napari_virtualstain.io.save import ImagePicture, write_ome_zarr


def write_ome(path, images):
    """Write an OME-TIFF with several images, name -> channel names."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        for number, (name, channels) in enumerate(images.items()):
            data = np.full((len(channels), 16, 20), number, np.uint16)
            tif.write(
                data,
                photometric="minisblack",
                metadata={"axes": "CYX", "Name": name, "Channel": {"Name": list(channels)}},
            )
    return path


def test_importing_the_registry_loads_no_reader():
    code = (
        "import sys, napari_virtualstain.io.open; "
        "print([m for m in ('tifffile', 'zarr', 'torch', 'imageio', 'napari', 'qtpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("opener", OPENERS.values(), ids=lambda opener: opener.name)
def test_every_registered_reader_can_be_imported(opener):
    from importlib import import_module

    module, _, function = opener.target.partition(":")
    assert callable(getattr(import_module(module), function))


def test_a_plane_in_memory_is_an_image():
    image = open_image(np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert image.shape == (1, 1, 1, 3, 4)
    assert image.axes == "yx"
    assert image.channel_names == ("channel 0",)
    assert image.source.identity() is None


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("zyx", (1, 1, 5, 3, 4)), ("tyx", (5, 1, 1, 3, 4)), ("CYX", (1, 5, 1, 3, 4))],
)
def test_stated_axes_say_what_an_array_is(axes, shape):
    image = open_image(np.zeros((5, 3, 4)), axes=axes)
    assert image.shape == shape
    assert image.axes == axes.lower()


def test_separate_fields_lie_where_time_does():
    array = np.arange(24).reshape(3, 4, 2)
    image = open_image(array, axes="fyx")
    assert (image.shape, image.axes) == ((3, 1, 1, 4, 2), "tyx")
    with pytest.raises(AxesError, match="Save each field as a file of its own"):
        open_image(array[None], axes="tfyx")


def test_axes_may_come_in_any_order():
    array = np.arange(24).reshape(3, 4, 2)
    image = open_image(array, axes="yxc")
    np.testing.assert_array_equal(image.data[0, 1, 0].compute(), array[..., 1])


def test_a_stack_in_memory_must_say_what_its_axes_are():
    with pytest.raises(
        AxesError,
        match=re.escape(
            "'array' has 3 axes (20, 512, 512) and does not say what the first is. "
            "State it, for example --axes zyx (or tyx, cyx; fyx for separate fields)."
        ),
    ):
        open_image(np.zeros((20, 512, 512), np.uint8))


def test_a_dask_array_stays_lazy():
    def explode(block):
        raise AssertionError("read")

    lazy = da.zeros((8, 8), chunks=4).map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    assert open_image(lazy).shape == (1, 1, 1, 8, 8)


def test_an_open_image_is_returned_as_it_is():
    image = open_image(np.zeros((3, 4)))
    assert open_image(image) is image
    assert open_image(image, channels=["Channel 0"]).channel_names == ("channel 0",)


@pytest.mark.parametrize("stated", [0.5, PixelSize(y=0.5, x=0.5)])
def test_a_stated_pixel_size_replaces_the_guess(tmp_path, stated):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), resolution=(20000, 20000), resolutionunit=3)
    assert len(open_image(path).guesses) == 1
    image = open_image(path, pixel_size_um=stated)
    assert (image.pixel_size_um.x, image.guesses) == (0.5, ())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), "An image has at least the axes y and x, got an array of shape (5,)."),
        (np.zeros((3, 3), complex), "Pixels of type complex128 are not intensities."),
        (np.zeros((0, 3)), "The image has no pixels: shape (1, 1, 1, 0, 3)"),
    ],
    ids=["one axis", "complex", "empty"],
)
def test_arrays_that_are_no_images_are_refused(array, message):
    with pytest.raises(PixelDataError, match=re.escape(message)):
        open_image(array)


def test_a_missing_file_is_named_with_the_one_that_was_perhaps_meant(tmp_path):
    (tmp_path / "brightfield.tif").touch()
    with pytest.raises(MissingInputError, match="does not exist. Did you mean 'brightfield.tif'?"):
        open_image(tmp_path / "brigthfield.tif")
    with pytest.raises(FileNotFoundError, match="nor does the folder"):
        open_image(tmp_path / "nowhere" / "a.tif")


def test_an_unknown_kind_of_file_gets_told_what_is_read(tmp_path):
    path = tmp_path / "movie.oib"
    path.write_bytes(b"OLYMPUS")
    with pytest.raises(
        ImageFileError, match=r"is of a kind that is not read \(ome-zarr, .* are\). Save"
    ):
        open_image(path)


def test_a_tiff_is_known_by_its_first_bytes_too(tmp_path):
    path = tmp_path / "image.dat"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    assert find_opener(path).name == "tiff"
    assert open_image(path).shape == (1, 1, 1, 4, 4)


def test_images_in_a_file_are_scenes_by_name(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", {"left": ["DAPI"], "right": ["BF", "GFP"]})
    scenes = list_scenes(path)
    assert [(s.name, s.shape[1], s.channel_names) for s in scenes] == [
        ("left", 1, ("DAPI",)),
        ("right", 2, ("BF", "GFP")),
    ]
    assert scenes[1].axes == "cyx"
    assert scenes[0].kind == "ome-tiff"
    for scene in ("right", 1, "1"):
        image = open_image(path, scene=scene)
        assert (image.source.scene, int(image.data.max().compute())) == ("right", 1)
        assert image.guesses == ()


def test_the_only_scene_with_transmitted_light_is_taken_and_said(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", {"left": ["DAPI"], "right": ["BF", "GFP"]})
    image = open_image(path)
    assert image.source.scene == "right"
    assert image.guesses[0].startswith("Scene 'right' was taken since it alone holds transmitted")


def test_the_only_scene_that_holds_the_channels_is_taken(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", {"left": ["DAPI", "FITC"], "right": ["BF", "FITC"]})
    assert open_image(path, channels=["dapi"]).source.scene == "left"
    with pytest.raises(SettingsError, match="holds 2 images: left, right. Say which with --scene"):
        open_image(path, channels=["FITC"])


def test_equal_scenes_must_be_chosen_by_name(tmp_path):
    names = {f"field{i}": ["BF"] for i in range(11)}
    path = write_ome(tmp_path / "a.ome.tif", names)
    with pytest.raises(SettingsError, match=r"field0, .*field7 and 3 more. Say .* --scene field0"):
        open_image(path)
    with pytest.raises(UnknownNameError, match="No scene 'feild3' in .*Did you mean 'field3'?"):
        open_image(path, scene="feild3")
    with pytest.raises(UnknownNameError, match="No scene 11 in"):
        open_image(path, scene=11)


def test_a_channel_that_is_not_there_is_named(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", {"one": ["BF", "DAPI"]})
    with pytest.raises(ChannelError, match="No channel named 'DABI'. Did you mean 'DAPI'?"):
        open_image(path, channels=["DABI"])


def test_every_refusal_is_one_sentence_of_ours(tmp_path):
    bad = {
        "empty.tif": b"",
        "text.tif": b"well,channel\nA1,BF\n",
        "cut.tif": b"II*\0\x08\0",
        "cut.png": b"\x89PNG\r\n\x1a\n\0\0",
        "text.png": b"hello",
        "empty.jpg": b"",
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(VirtualStainError) as caught:
            open_image(path)
        assert str(Path(name)) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_image_whose_disk_goes_away_is_not_dark(tmp_path):
    store = tmp_path / "a.ome.zarr"
    pixels = np.full((1, 1, 1, 8, 8), 7, np.uint16)
    write_ome_zarr(
        str(store), ImagePicture(LazyImage(data=da.from_array(pixels), channels=(Channel("BF"),)))
    )
    folder = tmp_path / "planes"
    folder.mkdir()
    for z in range(2):
        tifffile.imwrite(folder / f"f_z{z}_c1.tif", pixels[0, 0, 0])
    opened = [open_image(store), open_image(folder)]
    for place in (store, folder):
        shutil.rmtree(place)
    for image in opened:
        with pytest.raises(MissingInputError, match=r"any more\. .*\.$"):
            image.data.compute()
