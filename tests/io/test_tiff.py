"""TIFF in all its dialects, whole and damaged."""

import gc
import logging
import pickle
import re
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtualstain.errors import AxesError, ImageFileError
from napari_virtualstain.io.open import open_image

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60000, (4, 3, 24, 32)).astype(np.uint16)


def pixels(image):
    return image.data.compute(scheduler="synchronous")


def test_a_plain_plane_has_the_axes_y_and_x(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0])
    image = open_image(tmp_path / "a.tif")
    assert (image.shape, image.axes) == ((1, 1, 1, 24, 32), "yx")
    assert image.pixel_size_um.yx is None
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(pixels(image)[0, 0, 0], STACK[0, 0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "rowsperstrip": 5},
        {"rowsperstrip": 5},
        {"tile": (16, 16), "compression": "zlib"},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib"},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_pixels_are_those_that_were_written(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack", **options)
    image = open_image(tmp_path / "a.tif", axes="zyx")
    assert image.dtype.isnative
    np.testing.assert_array_equal(pixels(image)[0, 0], STACK[0])


def test_a_stack_that_does_not_say_its_axes_must_be_told(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", STACK[:, 0], photometric="minisblack")
    with pytest.raises(
        AxesError,
        match=re.escape(
            "'stack.tif' has 3 axes (4, 24, 32) and does not say what the first is. "
            "State it, for example --axes zyx (or tyx, cyx; fyx for separate fields)."
        ),
    ):
        open_image(tmp_path / "stack.tif")
    for axes, shape in {"zyx": (1, 1, 4, 24, 32), "tyx": (4, 1, 1, 24, 32)}.items():
        assert open_image(tmp_path / "stack.tif", axes=axes).shape == shape
    with pytest.raises(AxesError, match="name 4 axes, but the image has 3"):
        open_image(tmp_path / "stack.tif", axes="tzyx")


def test_axes_that_tifffile_wrote_are_trusted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", metadata={"axes": "TZYX"})
    image = open_image(tmp_path / "a.tif")
    assert (image.shape, image.axes) == ((4, 1, 3, 24, 32), "tzyx")


def test_an_imagej_hyperstack_tells_axes_names_and_sizes(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK,
        imagej=True,
        resolution=(1 / 0.65, 1 / 0.65),
        metadata={
            "axes": "ZCYX",
            "unit": "um",
            "spacing": 2.0,
            "finterval": 30.0,
            "Labels": ["Brightfield", "DAPI", "GFP"] * 4,
        },
    )
    image = open_image(tmp_path / "a.tif")
    assert (image.shape, image.axes) == ((1, 3, 4, 24, 32), "czyx")
    assert image.channel_names == ("Brightfield", "DAPI", "GFP")
    assert [c.modality for c in image.channels] == ["transmitted", "fluorescence", "fluorescence"]
    assert image.pixel_size_um.z == 2.0
    assert image.pixel_size_um.x == pytest.approx(0.65)
    assert image.time_interval_s == 30.0
    assert image.guesses == ()
    np.testing.assert_array_equal(pixels(image)[0, 1, 2], STACK[2, 1])


def test_an_imagej_file_calibrated_in_pixels_has_no_pixel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK[0], imagej=True, resolution=(1, 1), metadata={"unit": "pixel"}
    )
    assert open_image(tmp_path / "a.tif").pixel_size_um.yx is None


def test_ome_tells_axes_names_sizes_and_clock(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        STACK,
        photometric="minisblack",
        metadata={
            "axes": "TCYX",
            "PhysicalSizeX": 325.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.325,
            "TimeIncrement": 0.5,
            "TimeIncrementUnit": "min",
            "Channel": {"Name": ["BF", "DAPI", "DAPI"], "Color": [-1, 65535, 16711935]},
        },
    )
    image = open_image(tmp_path / "a.ome.tif")
    assert (image.shape, image.axes) == ((4, 3, 1, 24, 32), "tcyx")
    assert image.channel_names == ("BF", "DAPI", "DAPI (2)")
    assert [c.colour for c in image.channels] == [None, "0000FF", "00FF00"]
    assert image.pixel_size_um.x == pytest.approx(0.325)
    assert image.pixel_size_um.y == pytest.approx(0.325)
    assert image.time_interval_s == 30.0
    assert image.source.kind == "ome-tiff"


def test_a_set_of_ome_files_is_one_image(tmp_path):
    uuids = ["urn:uuid:00000000-0000-0000-0000-00000000000" + n for n in "12"]
    names = ["c0.ome.tif", "c1.ome.tif"]
    data = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{names[i]}">{uuids[i]}</UUID></TiffData>'
        for i in range(2)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[i]}">'
            '<Image ID="Image:0" Name="set"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint16" SizeX="32" SizeY="24" SizeC="2" SizeZ="1" SizeT="1">'
            '<Channel ID="Channel:0:0" Name="BF"/><Channel ID="Channel:0:1" Name="DAPI"/>'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, STACK[0, i], description=xml, metadata=None)
    image = open_image(tmp_path / "c0.ome.tif")
    assert image.channel_names == ("BF", "DAPI")
    np.testing.assert_array_equal(pixels(image)[0, :, 0], STACK[0, :2])
    del image
    gc.collect()
    (tmp_path / "c1.ome.tif").unlink()
    image = open_image(tmp_path / "c0.ome.tif")
    assert image.missing == ((0, 1, 0),)
    np.testing.assert_array_equal(pixels(image)[0, 0, 0], STACK[0, 0])


OBJECTIVES = {
    "named": ('<ObjectiveSettings ID="Objective:1"/>', 0.75),
    "of another image": ("", None),
    "not there": ('<ObjectiveSettings ID="Objective:9"/>', None),
    "impossible": ('<ObjectiveSettings ID="Objective:0"/>', None),
}


@pytest.mark.parametrize(("settings", "na"), OBJECTIVES.values(), ids=OBJECTIVES)
def test_the_aperture_is_that_of_the_objective_of_the_image(tmp_path, settings, na):
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0, 0], ome=True)
    xml = tifffile.tiffcomment(tmp_path / "a.ome.tif").replace(
        '<Image ID="Image:0"', '<Instrument ID="Instrument:0"><Objective ID="Objective:0" '
        'LensNA="20"/><Objective ID="Objective:1" LensNA="0.75"/></Instrument><Image ID="Image:0"',
    ).replace("<Pixels", f"{settings}<Pixels")  # fmt: skip
    tifffile.tiffcomment(tmp_path / "a.ome.tif", xml.encode())
    assert open_image(tmp_path / "a.ome.tif").na == na


def test_damaged_words_of_metamorph_cost_what_they_say(tmp_path):
    told = (
        '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="on"/>'
        '<prop id="spatial-calibration-x" type="float" value="0.5"/>'
        '<prop id="spatial-calibration-y" type="float" value="0.5"/>'
        '<prop id="spatial-calibration-units" type="string" value="um"/>'
        '<prop id="_MagNA_" type="float" value="0.45"/></PlaneInfo></MetaData>'
    )
    whole, other = tmp_path / "a.tif", tmp_path / "b.tif"
    for path, words in ((whole, told), (other, told.replace("<prop", "<<", 1))):
        tifffile.imwrite(path, STACK[0, 0], description=words, metadata=None, software="MetaSeries")
    assert (open_image(whole).pixel_size_um.x, open_image(whole).na) == (0.5, 0.45)
    image = open_image(other)
    assert image.pixel_size_um.x is None
    assert image.guesses == ("The XML of the file is damaged and was not used.",)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_colour_picture_becomes_three_channels(tmp_path, samples, compression):
    rgb = RNG.integers(0, 255, (24, 32, samples)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", compression=compression)
    image = open_image(tmp_path / "a.tif")
    assert image.channel_names == ("red", "green", "blue")
    assert image.axes == "cyx"
    np.testing.assert_array_equal(np.moveaxis(pixels(image)[0, :, 0], 0, -1), rgb[..., :3])
    assert any("colour picture" in guess for guess in image.guesses)
    assert any("transparency" in guess for guess in image.guesses) is (samples == 4)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        (20000.0, 3, 0.5),  # per cm
        (25400.0 / 0.5, 2, 0.5),  # per inch
        (1550.3, 3, None),  # 6.45 µm, the sensor of a camera rather than the sample
        (72.0, 2, None),
        (300.0, 2, None),
        (1.0, 1, None),
    ],
)
def test_resolution_tags_are_a_guess_where_a_microscope_could_have_them(
    tmp_path, resolution, unit, expected
):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK[0, 0],
        resolution=(resolution, resolution),
        resolutionunit=unit,
        metadata=None,
    )
    image = open_image(tmp_path / "a.tif")
    if expected is None:
        assert image.pixel_size_um.yx is None
        assert image.guesses == ()
    else:
        assert image.pixel_size_um.x == pytest.approx(expected, rel=1e-4)
        assert image.guesses[0].startswith("The pixel size, 0.5 µm, is from the resolution tags")


def test_the_file_name_may_say_how_the_only_channel_was_lit(tmp_path):
    tifffile.imwrite(tmp_path / "cells_brightfield.tif", STACK[0, 0])
    image = open_image(tmp_path / "cells_brightfield.tif")
    assert image.channels[0].modality == "transmitted"
    assert "from the name 'cells_brightfield'" in image.guesses[0]


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dialect", ["plain", "imagej", "ome"])
def test_a_file_that_was_cut_short_is_refused_when_it_is_opened(
    tmp_path, cut, compression, dialect, caplog
):
    if dialect == "imagej" and compression:
        pytest.skip("ImageJ does not compress")
    path = tmp_path / ("a.ome.tif" if dialect == "ome" else "a.tif")
    kinds = {
        "plain": {"metadata": {"axes": "TZYX"}},
        "imagej": {"imagej": True, "metadata": {"axes": "TZYX"}},
        "ome": {"ome": True, "metadata": {"axes": "TZYX"}},
    }
    photometric = {} if dialect == "imagej" else {"photometric": "minisblack"}
    tifffile.imwrite(path, STACK, compression=compression, **photometric, **kinds[dialect])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with caplog.at_level(logging.WARNING), pytest.raises(ImageFileError) as caught:
        open_image(path)
    assert "Copy it again from its source." in str(caught.value)
    assert str(path) in str(caught.value)
    assert caplog.records == []


def test_damage_that_only_shows_in_the_pixels_is_one_sentence_too(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0], compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)
    image = open_image(path)
    with pytest.raises(ImageFileError, match="cannot be read to the end: .*copy it again"):
        pixels(image)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes). Copy it again from its source."),
        (b"plain text", "is not a TIFF: it begins with b'plai'."),
        (b"II*\0", "is damaged or cut short"),
        (b"II*\0\xff\xff\xff\x7f", "is damaged or cut short"),
    ],
    ids=["empty", "text", "header only", "first page beyond the end"],
)
def test_what_is_no_tiff_is_said_in_a_sentence(tmp_path, content, message):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=re.escape(message)):
        open_image(path)


def test_opening_and_reading_a_corner_does_not_read_a_large_file(tmp_path):
    path = tmp_path / "large.tif"
    shape = (6, 3000, 3000)
    tifffile.memmap(path, shape=shape, dtype=np.uint16, metadata={"axes": "ZYX"}).flush()
    whole = int(np.prod(shape)) * 2
    tracemalloc.start()
    image = open_image(path)
    corner = pixels_of_corner(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corner.shape == (1, 1, 1, 64, 64)
    assert peak < whole / 10


def pixels_of_corner(image):
    return image.read((slice(0, 1), slice(0, 1), slice(2, 3), slice(0, 64), slice(0, 64)))


def test_only_the_strips_that_are_needed_are_read(tmp_path, monkeypatch):
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, np.zeros((3000, 64), np.uint16), compression="zlib", rowsperstrip=100)
    image = open_image(path)
    assert image.data.chunksize[-2:] == (1000, 64)
    reads = []
    original = tifffile.tifffile.FileCache.read

    def counted(self, *args, **kwargs):
        reads.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(tifffile.tifffile.FileCache, "read", counted)
    image.read((slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 64), slice(0, 64)))
    assert 1 <= len(reads) <= 10  # of 30


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_no_file_stays_open_when_the_image_goes(tmp_path, compression):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0], compression=compression)

    def held():
        found = []
        for entry in descriptors.iterdir():
            with suppress(OSError):
                found.append(str(entry.readlink()))
        return found.count(str(path))

    image = open_image(path)
    pixels(image)
    assert held() == 1
    del image
    gc.collect()
    assert held() == 0


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_image_can_be_sent_to_another_process(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0], compression=compression)
    there = pickle.loads(pickle.dumps(open_image(path).data))
    np.testing.assert_array_equal(there.compute()[0, 0, 0], STACK[0, 0])


def test_threads_read_the_same_file_at_once(tmp_path):
    path = tmp_path / "a.tif"
    data = RNG.integers(0, 60000, (40, 64, 64)).astype(np.uint16)
    tifffile.imwrite(
        path, data, compression="zlib", photometric="minisblack", metadata={"axes": "TYX"}
    )
    read = open_image(path).data.compute(scheduler="threads", num_workers=8)
    np.testing.assert_array_equal(read[:, 0, 0], data)


def test_the_fingerprint_changes_with_the_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0])
    first = open_image(path).source.identity()
    assert open_image(path).source.identity() == first
    tifffile.imwrite(path, STACK[0, :2], photometric="minisblack", metadata={"axes": "CYX"})
    assert open_image(path).source.identity() != first


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (
            ["c:1/3 z:1/4 - BF", "c:2/3 z:1/4 - DAPI", "c:3/3 z:1/4 - GFP"] * 4,
            ("BF", "DAPI", "GFP"),
        ),
        ([f"frame {i}" for i in range(12)], ("channel 0", "channel 1", "channel 2")),
        (["BF", "DAPI"], ("channel 0", "channel 1", "channel 2")),
    ],
    ids=["as ImageJ", "names of planes", "too few"],
)
def test_imagej_labels_name_channels_only_where_they_agree(tmp_path, labels, names):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "ZCYX", "Labels": labels}
    )
    assert open_image(tmp_path / "a.tif").channel_names == names


def test_a_compression_that_needs_a_package_says_which(tmp_path, monkeypatch):
    from napari_virtualstain.io.tiff import _Series

    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], compression="zlib")
    image = open_image(tmp_path / "a.tif")

    def absent(*_):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(_Series, "__getitem__", absent)
    with pytest.raises(ImportError, match="needs the package imagecodecs. Install it"):
        pixels(image)
