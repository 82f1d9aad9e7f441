"""The page that shows what was found, and what each channel is."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtualstain.io.open import OPENERS
from napari_virtualstain.napari_io.source import source_of


@pytest.fixture
def page(desk):
    desk.dock.show_page("load")
    return desk.load


def write_tiff(path, shape=(3, 64, 64), **metadata):
    pixels = np.random.default_rng(0).integers(100, 999, shape).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", **metadata)
    return path


def ome(path, *, scenes=1, pixel_um=0.6):
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number in range(scenes):
            tiff.write(
                np.random.default_rng(number).integers(100, 999, (3, 64, 64)).astype(np.uint16),
                metadata={
                    "axes": "ZYX", "Name": f"place {number}", "PhysicalSizeX": pixel_um,
                    "PhysicalSizeY": pixel_um, "PhysicalSizeZ": 4.0,
                },
            )  # fmt: skip
    return path


def choose_role(page, row, role):
    """Choose a role in the table, as a user does."""
    box = page.table.cellWidget(row, 1)
    index = box.findData(role)
    box.setCurrentIndex(index)
    box.activated.emit(index)


def type_number(box, value):
    box.setValue(value)
    box.editingFinished.emit()


def test_an_empty_page_says_what_to_do(page):
    assert page.notice.text == (
        "Drop an image on this page or on the viewer: OME-Zarr, TIFF, a plate folder, or a folder "
        "with one file a plane."
    )
    assert not page.go.isEnabled()


def test_what_was_found_stands_there(desk, page, field_folder):
    desk.open(field_folder / "stains.ome.zarr")
    assert page.found.text().startswith("5 channels, 256 rows, 256 columns, ")
    assert str(field_folder / "stains.ome.zarr") in page.found.text()
    names = [page.table.item(row, 0).text() for row in range(5)]
    assert names == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert {page.table.cellWidget(row, 1).currentText() for row in range(5)} == {"true stain"}
    assert [page.table.cellWidget(row, 2).text() for row in range(5)] == names
    assert page.y_um.value() == pytest.approx(0.6)
    assert not page.z_um.isEnabled(), "one plane has no step"
    assert page.notice.text == ""


def test_a_bright_field_is_told_by_its_light(desk, page, field_folder):
    desk.open(field_folder / "brightfield.ome.zarr")
    assert page.found.text().startswith("1 channel, 3 z planes, 256 rows, 256 columns, ")
    assert page.table.cellWidget(0, 1).currentText() == "bright field"
    assert (page.y_um.value(), page.z_um.value()) == pytest.approx((0.6, 4.0))


def test_guesses_are_marked_until_somebody_confirms_them(desk, page, tmp_path):
    (layer,) = desk.open(ome(tmp_path / "two.ome.tif", scenes=2))
    desk.wait(page.guesses.isVisible)
    assert "Please confirm what was guessed:" in page.guesses.text()
    assert source_of(layer).open_guesses
    desk.click(page.confirm)
    assert source_of(layer).open_guesses == ()
    assert not page.guesses.isVisible()
    assert not page.confirm.isVisible()


def test_the_axes_of_a_file_that_does_not_say_are_stated_in_the_page(desk, page, tmp_path):
    desk.drop(write_tiff(tmp_path / "stack.tif"))
    desk.wait(lambda: page.notice.kind == "error" and page.notice.text)
    assert page.notice.text == (
        "'stack.tif' has 3 axes (3, 64, 64) and does not say what the first is. State it, for "
        "example “Axes” zyx (or tyx, cyx; fyx for separate fields)."
    )
    desk.wait(page.axes.isVisible)
    desk.qtbot.keyClicks(page.axes, "zyx")
    desk.qtbot.keyClick(page.axes, Qt.Key.Key_Return)
    desk.wait(lambda: len(desk.viewer.layers) == 1)
    (layer,) = desk.viewer.layers
    assert layer.axis_labels == ("z", "y", "x")
    desk.wait(lambda: not page.notice.text)
    assert not page.axes.isVisible()
    desk.wait(lambda: desk.stain.box.field is not None)
    assert desk.stain.values(desk.stain.box.field)["axes"] == "zyx"


def test_roles_and_names_travel_with_the_layers(desk, page, field_folder):
    layers = desk.open(field_folder / "stains.ome.zarr")
    dna = next(layer for layer in layers if source_of(layer).channel == "DNA")
    page.table.cellWidget(0, 2).setText("Nuclei")
    page.table.cellWidget(0, 2).editingFinished.emit()
    assert (source_of(dna).role, source_of(dna).stain) == ("truth", "Nuclei")
    choose_role(page, 0, "brightfield")
    assert (source_of(dna).role, source_of(dna).stain) == ("brightfield", "")
    assert not page.table.cellWidget(0, 2).isEnabled()
    desk.wait(lambda: desk.stain.box.field is not None)
    assert desk.stain.values(desk.stain.box.field)["channel"] == "DNA"
    copy = type(dna).create(*dna.as_layer_data_tuple())
    assert source_of(copy) == source_of(dna), "it survives a copy of the layer"


def test_another_pixel_size_moves_the_layers_and_reaches_the_run(desk, page, tiny_model, tmp_path):
    (layer,) = desk.open(ome(tmp_path / "wrong.ome.tif", pixel_um=2.0))
    assert page.y_um.value() == pytest.approx(2.0)
    type_number(page.y_um, 0.6)
    np.testing.assert_allclose(layer.scale, [4.0, 0.6, 0.6])
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert source_of(layer).pixel_size_stated
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    assert desk.stain.values(desk.stain.box.field)["pixel_size"] == 0.6
    assert desk.planned().startswith("1 tile")
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    (run,) = (run for stain in desk.stain.stainings.all for run in stain.runs)
    assert run.settings.pixel_size == 0.6
    for made in desk.predicted().values():
        np.testing.assert_allclose(made.scale, [0.6, 0.6])


def test_where_there_are_several_scenes_another_can_be_chosen(desk, page, tmp_path):
    (first,) = desk.open(ome(tmp_path / "two.ome.tif", scenes=2))
    desk.wait(page.scene.isVisible)
    assert [page.scene.itemText(n) for n in range(2)] == ["place 0", "place 1"]
    assert page.scene.currentText() == "place 0"
    assert "Choose another scene" in page.guesses.text()
    page.scene.setCurrentIndex(1)
    page.scene.activated.emit(1)
    desk.wait(lambda: len(desk.viewer.layers) == 2)
    second = next(layer for layer in desk.viewer.layers if layer is not first)
    assert source_of(second).scene == "place 1"
    desk.wait(lambda: page.box.field.scene == "place 1")
    assert desk.stain.values(page.box.field)["scene"] == "place 1"


@pytest.mark.parametrize("first", [0, 1])
def test_of_files_that_are_dropped_together_the_bright_field_is_shown(
    desk, page, field_folder, first
):
    files = [field_folder / "brightfield.ome.zarr", field_folder / "stains.ome.zarr"]
    desk.drop(files[first], files[1 - first])
    desk.wait(lambda: len(desk.fields.all) == 2)
    desk.wait(lambda: page.box.field.path == str(files[0]))
    desk.drop(files[1])  # alone it is shown, to name its channels
    desk.wait(lambda: page.box.field.path == str(files[1]))


def test_a_single_scene_is_not_asked_for(desk, page, field_folder):
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.wait(lambda: page._scenes)
    assert not page.scene.isVisible()


def damaged(folder):
    whole = write_tiff(folder / "whole.tif").read_bytes()
    path = folder / "damaged.tif"
    path.write_bytes(whole[: len(whole) // 3])
    return path


def words(folder):
    path = folder / "words.tif"
    path.write_text("this is no image")
    return path


def document(folder):
    path = folder / "letter.docx"
    path.write_text("dear sir")
    return path


def nowhere(folder):
    return folder / "nowhere.tif"


def empty_folder(folder):
    path = folder / "empty"
    path.mkdir()
    return path


def broken_store(folder):
    path = folder / "broken.ome.zarr"
    path.mkdir()
    (path / "zarr.json").write_text("{")
    return path


def plain_zarr(folder):
    """A zarr group without multiscales: an array, and nothing that says what it is."""
    zarr.create_group(folder / "plain.zarr").create_array("pixels", shape=(8, 8), dtype="uint16")
    return folder / "plain.zarr"


def pickled(folder):
    path = folder / "model.pt"
    path.write_bytes(pickle.dumps({"weights": 1}))
    return path


BAD = {
    "a_zarr_without_multiscales": (
        plain_zarr,
        "'TMP/plain.zarr' is a bare zarr group without OME-Zarr metadata; it holds the arrays pixels. Open one of them with its axes, for example 'TMP/plain.zarr/pixels' “Axes” zyx, or convert the group to OME-Zarr.",
    ),
    "a_pickle": (
        pickled,
        f"'TMP/model.pt' is of a kind that is not read ({', '.join(OPENERS)} are). Save or convert the image as OME-TIFF or OME-Zarr first.",
    ),
    "a_damaged_tiff": (
        damaged,
        "'TMP/damaged.tif' is damaged or cut short: invalid page offset 24832. Copy it again from its source.",
    ),
    "words_called_tiff": (
        words,
        "'TMP/words.tif' is not a TIFF: it begins with b'this'. Check what it is, or save it as TIFF from the program that wrote it.",
    ),
    "a_document": (
        document,
        f"'TMP/letter.docx' is of a kind that is not read ({', '.join(OPENERS)} are). Save or convert the image as OME-TIFF or OME-Zarr first.",
    ),
    "nothing": (
        nowhere,
        "'TMP/nowhere.tif' does not exist. Check the path.",
    ),
    "an_empty_folder": (
        empty_folder,
        "'TMP/empty' is empty. Choose a folder with images, or a file.",
    ),
    "a_broken_store": (
        broken_store,
        "'TMP/broken.ome.zarr/zarr.json' is damaged: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Copy the store again from its source, or write it again.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_opened_is_one_sentence(desk, bystander, page, tmp_path, case):
    make, expected = BAD[case]
    desk.drop(make(tmp_path))
    desk.wait(lambda: page.notice.kind == "error" and page.notice.text)
    assert page.notice.text.replace(str(tmp_path), "TMP") == expected
    assert page.notice.isVisible()
    assert len(desk.viewer.layers) == 3


def test_a_good_file_after_a_bad_one_clears_the_sentence(desk, page, field_folder, tmp_path):
    desk.drop(words(tmp_path))
    desk.wait(lambda: page.notice.kind == "error" and page.notice.text)
    desk.open(field_folder / "brightfield.ome.zarr")
    assert page.notice.text == ""


def test_the_buttons_ask_without_holding_up_the_viewer(desk, page, field_folder):
    desk.click(page.folder)
    (dialog,) = page.findChildren(QFileDialog)
    assert dialog.isVisible()
    dialog.fileSelected.emit(str(field_folder / "brightfield.ome.zarr"))
    dialog.close()
    desk.wait(lambda: len(desk.viewer.layers) == 1)


def test_a_layer_of_somebody_else_is_shown_and_may_be_given_a_role(desk, page):
    layer = desk.viewer.add_image(np.zeros((8, 8)), name="theirs")
    desk.wait(lambda: page.box.field is not None)
    assert page.found.text() == "1 channel, 8 rows, 8 columns, float64 (a layer in memory)"
    type_number(page.y_um, 0.5)
    assert page.y_um.value() == 0.5
    np.testing.assert_allclose(layer.scale, [0.5, 0.5])
    choose_role(page, 0, "truth")
    assert source_of(layer).role == "truth"


def test_the_copied_command_finds_the_same(desk, page, field_folder, tmp_path):
    desk.open(field_folder / "stains.ome.zarr")
    desk.click(page.copy)
    line = QApplication.clipboard().text()
    assert line == f"virtualstain info {field_folder / 'stains.ome.zarr'}"
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", f"{line} --json"], cwd=tmp_path, env=here, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Mito" in json.dumps(json.loads(done.stdout))


def test_an_image_in_memory_has_no_command(desk, page):
    desk.viewer.add_image(np.zeros((8, 8)), name="theirs")
    desk.wait(lambda: page.box.field is not None)
    desk.click(page.copy)
    assert page.notice.text == (
        "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
    )


def test_of_an_empty_folder_nobody_asks_how_its_files_are_named(desk, page, tmp_path):
    (tmp_path / "empty").mkdir()
    page.open_path(str(tmp_path / "empty"))
    desk.wait(lambda: page.notice.kind == "error")
    assert "empty" in page.notice.text
    assert not page.pattern.isVisible()
    (tmp_path / "empty" / "letter.txt").write_text("no image")
    page.open_path(str(tmp_path / "empty"))
    desk.wait(lambda: page.pattern.isVisible())


def test_a_removed_image_leaves_an_empty_page(desk, page, field_folder):
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.viewer.layers.clear()
    desk.wait(lambda: page.box.field is None)
    assert page.table.rowCount() == 0
    assert page.found.text() == ""
    assert page.notice.text.startswith("Drop an image on this page")


def test_a_store_behind_a_url_opens_and_a_wrong_address_is_one_sentence(desk, field_folder):
    import fsspec
    from qtpy.QtWidgets import QInputDialog

    store = field_folder / "stains.ome.zarr"
    fsspec.filesystem("memory").put(str(store), "/far/stains.ome.zarr", recursive=True)
    desk.dock.show_page("load")

    def type_in(address):
        desk.click(desk.load.url)
        (dialog,) = desk.load.findChildren(QInputDialog)
        dialog.setTextValue(address)
        dialog.accept()
        desk.wait(lambda: not desk.load.findChildren(QInputDialog))

    type_in("memory://far/stains.ome.zarr ")
    desk.wait(lambda: len(desk.viewer.layers) == 5)
    desk.wait(lambda: desk.load.box.field is not None)
    assert desk.load.box.field.path == "memory://far/stains.ome.zarr"
    assert desk.load.box.field.name == "far/stains"
    type_in("memory://far/nothing.ome.zarr")
    desk.wait(lambda: "Check the address" in desk.load.notice.text)
    assert len(desk.viewer.layers) == 5
