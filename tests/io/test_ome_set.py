"""OME-TIFFs of several files: one image, whatever lacks of it; nothing outside the folder is read."""

from __future__ import annotations

import gc
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ome_files import HEAD, SCHEMA, uuid_of, write_set

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.io.open import list_scenes, open_image

RNG = np.random.default_rng(0)
STACK = RNG.integers(1, 60000, (2, 2, 3, 24, 32)).astype(np.uint16)  # (T, C, Z, Y, X)
SMALL = RNG.integers(1, 60000, (1, 2, 1, 16, 20)).astype(np.uint16)


def pixels(image):
    return image.data.compute(scheduler="synchronous")


@pytest.fixture(params=["a.ome.tif", "a.companion.ome"])
def path(request, tmp_path):
    """The file that holds the metadata: the first of the set, or one that holds nothing else."""
    return tmp_path / request.param


def test_files_are_one_image_whichever_is_opened(path):
    files = write_set(path, {"cells": STACK})
    for one in {path, *files}:
        image = open_image(one)
        assert (image.shape, image.axes, image.source.kind) == (STACK.shape, "tczyx", "ome-tiff")
        assert image.channel_names == ("TL Brightfield", "DAPI")
        assert (image.pixel_size_um.z, image.pixel_size_um.x) == (2.0, 0.5)
        assert (image.missing, image.guesses) == ((), ())
        np.testing.assert_array_equal(pixels(image), STACK)
        moved = pickle.loads(pickle.dumps(image.data[1, 1, 2, 3:9]))
        np.testing.assert_array_equal(moved.compute(), STACK[1, 1, 2, 3:9])


def test_scenes_of_several_files_have_their_own_pixels_names_and_sizes(path):
    write_set(path, {"one": STACK, "two": SMALL, "three": STACK + 1})
    assert [scene.name for scene in list_scenes(path)] == ["one", "two", "three"]
    for name, expected in (("one", STACK), ("two", SMALL), ("three", STACK + 1)):
        image = open_image(path, scene=name)
        np.testing.assert_array_equal(pixels(image), expected)
        assert image.pixel_size_um.x == 0.5


def test_a_scene_in_one_other_file_is_read_from_there(path):
    # One plane a file: contiguous, so that it is mapped into memory.
    write_set(path, {"one": SMALL[:, :1], "two": SMALL[:, 1:]}, channels=("BF",))
    for name, expected in (("one", SMALL[:, :1]), ("two", SMALL[:, 1:])):
        np.testing.assert_array_equal(pixels(open_image(path, scene=name)), expected)


@pytest.mark.parametrize("damage", ["deleted", "empty", "text"])
def test_a_file_that_lacks_is_missing_planes_and_is_said(path, damage):
    files = write_set(path, {"cells": STACK})
    whole = open_image(path).source.identity()
    if damage == "deleted":
        files[1].unlink()
    else:
        files[1].write_bytes(b"" if damage == "empty" else b"no picture at all")
    image = open_image(path)
    assert image.shape == STACK.shape
    assert image.missing == tuple((t, 1, z) for t in range(2) for z in range(3))
    found = pixels(image)
    np.testing.assert_array_equal(found[:, 0], STACK[:, 0])
    assert not found[:, 1].any()
    assert np.isnan(pixels(image.with_gaps())[:, 1]).all()
    (said,) = image.guesses
    assert said.startswith("6 of 12 planes are missing, not dark: ")
    assert (f"1 file is not there ({files[1].name}). Put" in said) is (damage == "deleted")
    assert image.source.identity() != whole


def test_what_lacks_of_floats_reads_as_nan(path):
    files = write_set(path, {"cells": STACK.astype("f4")})
    files[1].unlink()
    found = pixels(open_image(path))
    np.testing.assert_array_equal(found[:, 0], STACK[:, 0])
    assert np.isnan(found[:, 1]).all()


def test_a_scene_of_which_all_files_lack_is_said_and_the_others_keep_their_metadata(path):
    files = write_set(path, {"one": SMALL, "two": STACK})
    lost, there = ("two", SMALL) if path == files[0] else ("one", STACK)
    for file in files[2:] if lost == "two" else files[:2]:
        file.unlink()
    image = open_image(path)
    np.testing.assert_array_equal(pixels(image), there)
    assert image.channel_names == ("TL Brightfield", "DAPI")
    assert image.guesses == (
        f"1 image of the set is missing ({lost}). Put all files into one folder.",
    )


def test_metadata_without_any_file_are_one_sentence(tmp_path):
    path = tmp_path / "a.companion.ome"
    for file in write_set(path, {"cells": STACK}):
        file.unlink()
    with pytest.raises(
        MissingInputError, match="describes images in 2 other files, of which none is there"
    ):
        open_image(path)


def test_a_file_without_its_metadata_is_read_by_itself(tmp_path):
    path = tmp_path / "a.companion.ome"
    files = write_set(path, {"cells": SMALL})
    path.unlink()
    image = open_image(files[1])
    np.testing.assert_array_equal(pixels(image)[0, 0, 0], SMALL[0, 1, 0])
    assert image.guesses[0].startswith(
        "The file states that its metadata lie in 'a.companion.ome', which is not there."
    )


def test_all_files_may_name_the_first_as_the_one_with_the_metadata(tmp_path):
    files = write_set(tmp_path / "a.ome.tif", {"cells": STACK})
    told = f'<BinaryOnly MetadataFile="a.ome.tif" UUID="{uuid_of(0)}"/>'
    tifffile.imwrite(
        files[1], STACK[:, 1].reshape(-1, 24, 32), metadata=None, photometric="minisblack",
        description=f'{HEAD}<OME {SCHEMA} UUID="{uuid_of(1)}">{told}</OME>',
    )  # fmt: skip
    for file in files:
        np.testing.assert_array_equal(pixels(open_image(file)), STACK)


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "by-name-alone"])
@pytest.mark.parametrize("beside", [True, False], ids=["beside-the-old", "alone"])
def test_a_file_that_was_renamed_is_still_itself(tmp_path, numbered, beside):
    old, new = tmp_path / "a.ome.tif", tmp_path / "new name.ome.tif"
    one = {"channels": ("BF",), "numbered": numbered}
    write_set(old, {"cells": STACK[:, :1]}, **one)
    old.rename(new)
    if beside:
        write_set(old, {"cells": STACK[:, :1] + 1}, **one)
    image = open_image(new)
    assert (image.source.kind, image.guesses, image.missing) == ("ome-tiff", (), ())
    assert (image.channel_names, image.pixel_size_um.x) == (("BF",), 0.5)
    np.testing.assert_array_equal(pixels(image), STACK[:, :1])


def test_files_of_a_set_that_were_renamed_are_missed_and_not_mistaken(tmp_path):
    first, second = write_set(tmp_path / "a.ome.tif", {"cells": STACK}, numbered=False)
    image = open_image(first)
    np.testing.assert_array_equal(pixels(image), STACK)
    second.rename(tmp_path / "other.ome.tif")
    image = open_image(first)
    assert image.missing == tuple((t, 1, z) for t in range(2) for z in range(3))


OUTSIDE = ["../b.ome.tif", r"..\b.ome.tif", "sub/../../b.ome.tif", "/b.ome.tif", "C:b.ome.tif"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_the_folder_is_refused(path, name):
    inner = path.parent / "set" / path.name
    inner.parent.mkdir()
    files = write_set(inner, {"cells": STACK}, names={1: name})
    shutil.move(files[1], path.parent / "b.ome.tif")
    with pytest.raises(
        ImageFileError, match=f"names {re.escape(repr(name))} as a file of its set, which lies out"
    ):
        open_image(inner)


def test_metadata_outside_the_folder_are_not_read(tmp_path):
    path = tmp_path / "a.companion.ome"
    files = write_set(path, {"cells": STACK})
    raw = files[0].read_bytes().replace(b'File="a.companion.ome"', b'File="../companion.ome"')
    files[0].write_bytes(raw)
    with pytest.raises(ImageFileError, match="names '../companion.ome' as a file of its set"):
        open_image(files[0])


METADATA = {
    "empty": (b"", "is empty"),
    "text": (b"nothing of the kind", "is no OME-XML, or is damaged"),
    "other xml": (b"<a/>", "is no OME-XML, or is damaged: it holds something else"),
    "bytes": (b"\xff\xfe\x00<OME>", "is no OME-XML, or is damaged"),
    "entities": (
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><OME>&b;</OME>',
        "it declares a document type",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), METADATA.values(), ids=METADATA)
def test_damaged_metadata_are_one_sentence(content, sentence, tmp_path):
    path = tmp_path / "a.companion.ome"
    files = write_set(path, {"cells": SMALL})
    path.write_bytes(content)
    for one in (path, files[0]):
        with pytest.raises(ImageFileError, match=sentence):
            open_image(one)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('PlaneCount="6"', 'PlaneCount="4294967296"'),
        ('SizeT="2"', 'SizeT="99999999"'),
        ('SizeX="32"', 'SizeX="99999999999999999999"'),
    ],
)
def test_more_planes_than_can_be_are_refused_before_there_is_a_list_of_them(tmp_path, old, new):
    path = tmp_path / "a.companion.ome"
    files = write_set(path, {"cells": STACK})
    path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
    for one in (path, files[1]):
        with pytest.raises(ImageFileError, match="its OME-XML announces [0-9]+ planes"):
            open_image(one)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists open files as Linux does")
def test_no_file_of_a_set_stays_open(path):
    files = write_set(path, {"cells": STACK})

    def held():
        gc.collect()
        places = (str(e.readlink()) for e in Path("/proc/self/fd").iterdir() if e.is_symlink())
        return sum(str(path.parent) in place for place in places)

    image = open_image(path)
    pixels(image)
    del image
    assert held() == 0
    files[1].unlink()
    image = open_image(path)
    pixels(image)
    del image
    assert held() == 0
