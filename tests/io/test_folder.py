"""Folders of whole images: each is a scene, and no sentence denies a file that is there."""

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from ome_files import write_set

from napari_virtualstain.errors import ImageFileError, SettingsError
from napari_virtualstain.io import folder as module
from napari_virtualstain.io.folder import contents, review_folder
from napari_virtualstain.io.open import find_opener, list_scenes, open_image
from napari_virtualstain.io.plate import plates_of


def save(path, value=0, shape=(8, 9), **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full(shape, value, np.uint16), photometric="minisblack", **more)
    return path


@pytest.fixture
def mixed(tmp_path):
    """Files of several kinds and sizes, a folder of planes, a folder of files, and others."""
    save(tmp_path / "b10.tif", 10)
    save(tmp_path / "b9.tif", 9, (20, 30))
    iio.imwrite(tmp_path / "cat.png", np.full((5, 6), 7, np.uint8))
    for z in range(3):
        save(tmp_path / "planes" / f"a_z{z}_c0.tif", z)
    save(tmp_path / "sub" / "dog.tif", 3)
    save(tmp_path / "sub" / "deep" / "mouse.tif", 4)
    (tmp_path / "readme.txt").write_text("words")
    (tmp_path / ".hidden.tif").write_bytes(b"")
    return tmp_path


NAMES = ["b9.tif", "b10.tif", "cat.png", "planes", "sub/dog.tif"]


def test_each_image_of_a_folder_is_a_scene_under_the_name_of_its_file(mixed):
    assert find_opener(mixed).name == "folder"
    scenes = list_scenes(mixed)
    assert [scene.name for scene in scenes] == NAMES
    assert [scene.shape for scene in scenes] == [
        (1, 1, 1, 20, 30), (1, 1, 1, 8, 9), (1, 1, 1, 5, 6), (1, 1, 3, 8, 9), (1, 1, 1, 8, 9),
    ]  # fmt: skip
    for name, value in zip(NAMES, (9, 10, 7, 2, 3), strict=True):
        image = open_image(mixed, scene=name)
        assert image.data[0, 0, -1].compute().max() == value
        # The file alone is the same image, so that whoever has it needs no folder.
        again = open_image(image.source.path, scene=image.source.scene or None)
        assert again.source.identity() == image.source.identity()
    assert any("were not looked into (sub/deep)" in g for g in open_image(mixed, scene=0).guesses)
    assert any("say how they are named" in g for g in open_image(mixed, scene=0).guesses)
    with pytest.raises(SettingsError, match="holds 5 images: b9.tif, b10.tif"):
        open_image(mixed)


def test_what_somebody_marked_in_a_prediction_is_no_image(mixed):
    save(review_folder(mixed / "b9.ome.zarr") / "marks" / "b9.tif", 1)
    assert [path.name for path, _ in contents(mixed).images if "marks" in str(path)] == []
    assert [scene.name for scene in list_scenes(mixed)] == NAMES


def test_a_folder_of_one_image_is_opened_and_says_no_more_than_its_file(tmp_path):
    file = save(tmp_path / "in" / "one.tif")
    assert [scene.name for scene in list_scenes(tmp_path / "in")] == ["one.tif"]
    assert open_image(tmp_path / "in").guesses == open_image(file).guesses


def test_the_bright_field_of_a_folder_is_found_among_files_that_do_not_open(tmp_path):
    save(tmp_path / "a_stack.tif", 0, (3, 8, 9))  # says nothing of its first axis
    save(tmp_path / "brightfield.tif", 5)
    save(tmp_path / "fluorescence.tif", 6)
    image = open_image(tmp_path)
    assert image.data.max().compute() == 5
    assert "Scene 'brightfield.tif' was taken since it alone holds transmitted" in image.guesses[-1]


def test_files_of_one_image_are_one_scene(tmp_path):
    write_set(tmp_path / "a.companion.ome", {"cells": np.ones((1, 2, 1, 8, 9), np.uint16)})
    write_set(tmp_path / "b.ome.tif", {"cells": np.ones((1, 2, 1, 8, 9), np.uint16)})
    save(tmp_path / "c.tif")
    scenes = list_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ["a.companion.0.tif", "b.ome.1.tif", "c.tif"]
    assert [scene.shape[1] for scene in scenes] == [2, 2, 1]


def test_of_many_tiffs_none_is_opened_before_it_is_looked_at(tmp_path, monkeypatch):
    for n in range(4):
        save(tmp_path / f"cell{n}.tif", n)
    save(tmp_path / "x.ome.tif", 0, (2, 8, 9), ome=True, metadata={"axes": "CYX"})
    monkeypatch.setattr(module, "_LOOKED_AT", 4)
    opened = []
    plain = tifffile.TiffFile.__init__
    monkeypatch.setattr(
        tifffile.TiffFile, "__init__", lambda self, *a, **k: opened.append(a) or plain(self, *a, **k)
    )  # fmt: skip
    scenes = list_scenes(tmp_path)
    assert (len(scenes), opened) == (5, [])
    assert scenes[2].open().data.max().compute() == 2
    assert scenes[4].shape == (1, 2, 1, 8, 9)
    # A batch asks all the same: each file may hold several images.
    opened.clear()
    assert len(contents(tmp_path).images) == 5
    assert opened


def test_a_table_beside_images_is_none_but_one_that_is_alone_names_them(tmp_path):
    save(tmp_path / "in" / "cat.tif")
    (tmp_path / "in" / "mine.csv").write_text("path,well\ncat.tif,B02\n")
    found = contents(tmp_path / "in")
    assert ([path.name for path, _ in found.images], found.others) == (["cat.tif"], ("mine.csv",))
    save(tmp_path / "table" / "far" / "below" / "cat.tif")
    (tmp_path / "table" / "mine.csv").write_text("path,well\nfar/below/cat.tif,B02\n")
    (scene,) = list_scenes(tmp_path / "table")
    assert (scene.name, scene.well) == ("mine.csv/B02/cat", "B02")


def test_plates_of_a_folder_are_told_apart_by_their_names(tmp_path):
    for plate in ("one", "two"):
        for c in (1, 2):
            save(tmp_path / plate / f"r02c03f01p01-ch{c}sk1fk1fl1.tiff", c)
    assert [plate.name for plate in plates_of(list_scenes(tmp_path))] == ["one", "two"]


def nothing(folder):
    folder.mkdir()


def empty_folders(folder):
    (folder / "sub").mkdir(parents=True)


def others(folder):
    nothing(folder)
    (folder / "a.txt").write_text("words")


def one_empty_file(folder):
    nothing(folder)
    (folder / "cat.tif").touch()


def two_empty_files(folder):
    one_empty_file(folder)
    (folder / "dog.tif").touch()


def too_deep(folder):
    save(folder / "a" / "b" / "cat.tif")


REFUSED = {
    "nothing": (nothing, "' is empty. Choose a folder with images, or a file."),
    "empty folders": (empty_folders, "' holds empty folders only (sub). Choose"),
    "others": (others, "' holds no image: nothing in it is of a kind that is read (a.txt)."),
    "an empty file": (one_empty_file, "holds 1 image, which cannot be opened: '"),
    "empty files": (two_empty_files, "holds 2 images, of which none can be opened: the first, "),
    "too deep": (too_deep, "those that lie deeper were not looked into (a/b). Open one of them."),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_folder_that_cannot_be_opened_says_what_lies_in_it(tmp_path, make, sentence):
    make(tmp_path / "in")
    with pytest.raises(ImageFileError) as caught:
        list_scenes(tmp_path / "in")
    assert sentence in str(caught.value)
    if "file" in make.__name__:
        assert str(caught.value).endswith("is empty (0 bytes). Copy it again from its source.")


def test_a_file_that_does_not_open_is_said_with_the_others(tmp_path):
    save(tmp_path / "cat.tif")
    for n in range(5):
        (tmp_path / f"empty{n}.tif").touch()
    image = open_image(tmp_path)
    left_out = [guess for guess in image.guesses if "left out" in guess]
    assert len(left_out) == 4
    assert left_out[0].startswith("'empty0.tif' was left out: ")
    assert left_out[-1] == "2 more files were left out for like reasons."


REAL = {
    "formats/nd2": ["nikon_fissionyeast_TL_488_561.nd2"],
    "formats/ome_tiff": ["arcadia_pbmc_multichannel_by_nd2.ome.tif"],
    "ecoli_bf/01": ["binary.tif", "brightfield.tif", "fluorescence.tif"],
    "jurkat_ifc/Experiment_1": [
        "Anaphase", "G1", "G2", "Metaphase", "Prophase", "S_phase", "Telophase",
    ],
    "phenix": ["Version5/A01/f01"],
    "yeast_timelapse": ["SL_180519_2_GR"],
}  # fmt: skip


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "scenes"), REAL.items(), ids=REAL)
def test_real_folders_open(realdata, name, scenes):
    pytest.importorskip("nd2")
    found = list_scenes(realdata / name)
    assert [scene.name for scene in found] == scenes
    assert found[0].open().data[0, 0, 0, :8, :8].compute().shape == (8, 8)
