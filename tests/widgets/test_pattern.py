"""A folder whose files are named in one's own way: the pattern is typed, seen, opened and kept."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_virtualstain.napari_io.source import source_of

PATTERN = "e7_{well}~p{site}~lev{z}~{channel}.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two wells with three planes each, and a file that is something else; read-only."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for well in ("B02", "C05"):
        for z in range(3):
            pixels = rng.integers(100, 999, (96, 96)).astype(np.uint16)
            tifffile.imwrite(
                folder / f"e7_{well}~p1~lev{z}~Brightfield.tif", pixels,
                resolution=(1e4 / 0.6, 1e4 / 0.6), resolutionunit="CENTIMETER",
            )  # fmt: skip
    (folder / "overview.tif").write_bytes(b"x")
    return folder


@pytest.fixture
def panel(desk, folder):
    """The panel, as it comes up when the folder is dropped and its files are said to be planes."""
    desk.dock.show_page("load")
    desk.drop(folder)
    desk.wait(lambda: len(desk.viewer.layers) == 1)
    desk.click(desk.load.own_names)
    dialog = desk.load.findChild(QFileDialog)
    dialog.fileSelected.emit(str(folder))
    dialog.close()
    desk.wait(lambda: desk.load.pattern.isVisible())
    return desk.load.pattern


def typed(desk, panel, text):
    panel.line.setText(text)
    desk.wait(lambda: not panel._soon.isActive() and "pattern" not in desk.load._background._newest)


def test_a_folder_that_no_layout_knows_says_that_its_files_may_be_planes(desk, panel):
    (layer,) = desk.viewer.layers
    said = " ".join(source_of(layer).guesses)
    assert "holds 6 images" in said  # and names the one that is none
    assert "if the files are planes of one image, say how they are named" in said
    desk.wait(lambda: panel.counts.text().startswith("7 files, for example:"))
    assert "e7_B02~p1~lev0~Brightfield.tif" in panel.counts.text()
    assert not panel.open.isEnabled()


def test_the_preview_follows_what_is_typed(desk, panel):
    typed(desk, panel, "e7_{wel")
    assert panel.wrong.text().startswith("The pattern 'e7_{wel' has no field in braces")
    assert not panel.open.isEnabled()
    typed(desk, panel, "e7_{well}~z{z}~{channel}.tif")
    assert panel.counts.text() == "0 of 7 files fit."
    assert "'e7_B02' fits, then ~z is expected where" in panel.wrong.text()
    assert not panel.open.isEnabled()
    typed(desk, panel, PATTERN)
    assert panel.counts.text() == (
        "6 of 7 files fit; 1 other left out. 2 wells, 1 site, 3 z, 1 channel"
    )
    assert "<b>overview.tif</b>" in panel.wrong.text()
    header = [panel.table.horizontalHeaderItem(n).text() for n in range(5)]
    assert header == ["well", "site", "z", "channel", "File"]
    assert [panel.table.item(0, n).text() for n in range(4)] == ["B02", "1", "0", "Brightfield"]
    assert panel.open.isEnabled()


def test_the_pattern_stays_with_the_layers_and_with_every_run(
    desk, panel, folder, tiny_model, qtbot
):
    typed(desk, panel, PATTERN)
    desk.viewer.layers.clear()  # the file that the folder was opened as
    desk.click(panel.open)
    desk.wait(lambda: len(desk.viewer.layers) == 1)
    assert not panel.isVisible()
    (layer,) = desk.viewer.layers
    source = source_of(layer)
    assert (source.pattern, source.scene, source.channel) == (PATTERN, "B02/1", "Brightfield")
    assert "--pattern" in desk.load._command()
    desk.wait(lambda: desk.load.plate.isVisible())
    desk.click(desk.load.plate.next)
    desk.wait(lambda: [source_of(one).scene for one in desk.viewer.layers] == ["C05/1"])
    assert source_of(desk.viewer.layers[0]).pattern == PATTERN
    desk.load.y_um.setValue(0.6)
    desk.load.y_um.editingFinished.emit()
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model)
    desk.wait(lambda: not desk.jobs.runs)
    assert f"--pattern '{PATTERN}'" in desk.stain.command()
    desk.click(desk.stain.passport.button)
    desk.wait(lambda: desk.stain.passport.state == "checked")
    desk.click(desk.stain.all)
    desk.idle()
    assert len(desk.predicted()) == 5
    desk.dock.show_page("queue")
    desk.wait(lambda: desk.queue.images.add.text() == "Add 2 images")
    desk.click(desk.queue.images.add)
    assert {item.pattern for item in desk.queue.list.state.items} == {PATTERN}
    desk.queue.out.set_path("out")
    assert f"--pattern '{PATTERN}'" in desk.queue.command()


def test_the_link_asks_for_a_folder_or_takes_the_one_that_is_shown(desk, folder, qtbot):
    desk.dock.show_page("load")
    page = desk.load
    desk.click(page.own_names)
    dialog = page.findChild(QFileDialog)
    dialog.fileSelected.emit(str(folder))
    dialog.close()
    desk.wait(lambda: page.pattern.isVisible())
    assert page.pattern.folder == folder
    typed(desk, page.pattern, PATTERN)
    qtbot.keyClick(page.pattern.line, Qt.Key.Key_Return)
    desk.wait(lambda: len(desk.viewer.layers) == 1)
    desk.click(page.own_names)
    assert page.pattern.line.text() == PATTERN
    desk.click(page.pattern.close_it)
    assert not page.pattern.isVisible()


def test_a_folder_that_is_dropped_on_the_queue_says_what_was_made_of_it(desk, folder):
    desk.dock.show_page("queue")
    desk.drop(folder)
    desk.wait(lambda: len(desk.queue.list.state.items) == 7)
    assert desk.queue.notice.text.startswith(
        f"7 files of {folder.parent.name}/mine are images of their own on the list."
    )
    assert "“Files are named my way…”" in desk.queue.notice.text
