"""The page Queue: images are chosen, run through overnight, stopped, put in order, and gone on with."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication
from well_plates import plate_of

from napari_virtualstain.cli.arguments import settings_from
from napari_virtualstain.cli.main import _parse
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.batch import BatchSettings
from napari_virtualstain.jobs.batch_item import Item
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._queue_words import failures_as_text, seconds_left, summary

FIELDS = [(0, 0, "0"), (0, 0, "1"), (0, 2, "0"), (1, 2, "0")]


@pytest.fixture(scope="module")
def plate_store(field_folder, tmp_path_factory):
    """A1 with two sites, A3 and B3 with one; read-only."""
    path = tmp_path_factory.mktemp("queue") / "mine.ome.zarr"
    store = PlateStore(path, name="mine", rows=2, columns=3)
    for place in FIELDS:
        shutil.copytree(field_folder / "brightfield.ome.zarr", path / field_path(*place))
        store.add(*place)
    return path


@pytest.fixture
def page(desk, tiny_model):
    desk.viewer.window.resize(1280, 900)
    desk.dock.show_page("queue")
    page = desk.queue
    page.form.model.box.setEditText(str(tiny_model))
    return page


@pytest.fixture
def files(field_folder, large_field, tmp_path):
    """Three images, the second of which takes a while."""
    paths = [tmp_path / f"{name}.ome.zarr" for name in "abc"]
    for path, source in zip(
        paths, (field_folder / "brightfield.ome.zarr", large_field, field_folder / "brightfield.ome.zarr"),
        strict=True,
    ):  # fmt: skip
        shutil.copytree(source, path)
    return paths


def state(page):
    return [(item.name, item.state) for item in page.list.state.items]


def listed(desk, page, count):
    desk.wait(lambda: len(page.list.state.items) == count and not page.list._busy)


def ended(desk, page):
    """Wait until the run has ended and the list was read again."""
    desk.wait(lambda: page._run is None and not page.list._busy and not desk.jobs.runs, 60)


def spoken(command):
    """Return the settings that a line of the command gives."""
    _, *words = shlex.split(command)
    _, values = _parse(words)
    return settings_from(BatchSettings, values)


def where(widget, row, column):
    return widget._box(row, column).center().toPoint()


def test_wells_of_an_open_plate_are_picked_run_and_opened(desk, page, plate_store, tmp_path, qtbot):
    desk.open(plate_store, page="queue")
    picker = page.images.map
    desk.wait(lambda: page.images.add.text() == "Add 4 images")
    qtbot.mouseClick(picker, Qt.MouseButton.LeftButton, pos=where(picker, 0, 2))
    assert [well.name for well in picker.picked] == ["A01", "B03"]
    page.images.sites.setText("1")
    assert page.images.add.text() == "Add 1 image"
    page.images.sites.clear()
    desk.dock.show_page("load")
    desk.dock.show_page("queue")
    assert page.images.add.text() == "Add 3 images", "what was picked is forgotten"
    desk.click(page.images.add)
    assert state(page) == [(f"mine.ome.zarr {n}", "waiting") for n in ("A/1/0", "A/1/1", "B/3/0")]
    assert not page.start.isEnabled()
    assert page.notice.text.startswith("Choose where the stains go")
    out = tmp_path / "stained.ome.zarr"
    page.out.set_path(str(out))
    said = spoken(page.command())
    assert (said.input, said.out, said.scene) == (str(plate_store), str(out), "A/1/0,A/1/1,B/3/0")
    assert (said.channel, said.model) == ("Brightfield", page.form.model.name)
    desk.click(page.start)
    desk.wait(lambda: page._run is not None)
    assert not page.add_fold.heading.isChecked()
    ended(desk, page)
    assert [s for _, s in state(page)] == ["done"] * 3
    assert page.panel.summary.text() == "3 images: 3 done"
    assert page.notice.text == f"All is stained. The results are in {out}."
    assert [scene.name for scene in list_scenes(out)] == ["A/1/0", "A/1/1", "B/3/0"]
    assert page.command() == f"virtualstain batch --out {out}"
    before = len(desk.viewer.layers)
    page.table.doubleClicked.emit(page.table.model().index(2, 0))
    desk.wait(lambda: len(desk.viewer.layers) == before + 6)  # the field below, and five stains
    assert {source_of(one).role for one in desk.viewer.layers} == {"brightfield", "prediction"}
    assert not page.form.model.box.isEnabled(), "other stains would be put beside these"


def test_a_list_is_put_in_order_stopped_and_gone_on_with_after_a_restart(
    desk, page, files, tmp_path, make_napari_viewer, jobs, qtbot
):
    desk.drop(*files)
    listed(desk, page, 3)
    page.form.settings["tile"].value = 64
    table = page.table
    table.select([(str(files[2]), "")])
    desk.click(page.panel.up)
    assert [name[0] for name, _ in state(page)] == ["a", "c", "b"]
    desk.click(page.panel.down)
    table.select([(str(files[0]), "")])
    assert table.selected_keys() == {(str(files[0]), "")}
    desk.click(page.panel.remove)
    assert [name[0] for name, _ in state(page)] == ["b", "c"]
    page.out.set_path(str(tmp_path / "out"))
    desk.click(page.start)
    desk.wait(
        lambda: "tiles" in page.table.text(0)[1] and not page.table.text(0)[1].startswith("▶ 0 ")
    )
    desk.click(page.stop)
    ended(desk, page)
    assert [s for _, s in state(page)] == ["waiting", "waiting"]
    assert page.notice.text == "Paused: 2 images wait. What is done is kept, and Run goes on."
    done = read_record(tmp_path / "out" / "b.ome.zarr")["tiles_done"]
    assert done > 0
    desk.click(page.new)
    assert state(page) == []
    # As after a restart: another page, which knows nothing.
    page.out.set_path(str(tmp_path / "out"))
    desk.wait(lambda: page.out.offers)
    assert page.notice.text == "This output holds a list. 2 images: 2 waiting."
    assert not page.start.isEnabled()
    desk.click(page.out.offer)
    listed(desk, page, 2)
    assert page.form.settings["tile"].value == "64"
    page.add_paths([files[0]])
    listed(desk, page, 3)
    desk.click(page.start)
    desk.wait(lambda: page.table.text(0)[1].startswith("▶"))
    table.select([(str(files[2]), "")])
    page.list.remove(table.selected_keys())
    desk.wait(lambda: len(state(page)) == 2)
    desk.click(page.pause)
    ended(desk, page)
    assert state(page) == [("b.ome.zarr", "done"), ("a.ome.zarr", "waiting")]
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["paused"]
    desk.click(page.start)
    ended(desk, page)
    assert [s for _, s in state(page)] == ["done", "done"]
    assert not (tmp_path / "out" / "c.ome.zarr").exists()


def test_what_failed_is_said_by_its_reason_and_tried_again(desk, page, files, tmp_path):
    page.add_paths([files[0], files[2]])
    listed(desk, page, 2)
    for path in (files[0], files[2]):
        path.rename(path.with_suffix(".away"))
    page.out.set_path(str(tmp_path / "out"))
    desk.click(page.start)
    ended(desk, page)
    assert [s for _, s in state(page)] == ["failed", "failed"]
    assert page.notice.text.startswith("2 images failed, see below.")
    assert "<b>2 images</b>" in page.panel.failures.text()
    desk.click(page.panel.copy_failures)
    said = QApplication.clipboard().text().splitlines()
    assert said[0].startswith("2 images: '…' does not exist.")
    assert sorted(line.strip() for line in said[1:]) == ["a.ome.zarr", "c.ome.zarr"]
    assert page.table.text(0)[3].endswith("Check the path.")
    for path in (files[0], files[2]):
        path.with_suffix(".away").rename(path)
    desk.click(page.panel.retry)
    desk.wait(lambda: page.start.text() == "Run 2 images")
    desk.click(page.start)
    ended(desk, page)
    assert [s for _, s in state(page)] == ["done", "done"]
    assert not page.panel.failures.isVisible()


def test_what_is_no_image_is_one_sentence_and_the_rest_is_kept(desk, page, files, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + bytes(40))
    desk.drop(tmp_path / "broken.tif", files[0])
    listed(desk, page, 1)
    desk.wait(lambda: "broken.tif' is damaged" in page.notice.text)
    page.images.times.setText("first")
    page.add_paths([files[1]])
    listed(desk, page, 2)
    assert page.list.state.items[1].times == ()


def test_of_a_file_with_several_images_some_are_chosen(desk, page, plate_store, files):
    desk.drop(files[0])
    listed(desk, page, 1)
    assert not page.add_fold.heading.isChecked()
    desk.drop(plate_store)
    desk.wait(lambda: page.images.add.text() == "Add 4 images")
    assert page.add_fold.heading.isChecked(), "it would not be seen"
    assert page.notice.text.endswith("mine holds 4 images. Choose which, and add them.")
    desk.click(page.images.none)
    assert not page.images.add.isEnabled()
    page.images.map.pick({(1, 2)})
    page.images.times.setText("first")
    desk.click(page.images.add)
    assert page.notice.text.startswith("'first' is no time point.")
    page.images.times.setText("0")
    desk.click(page.images.add)
    assert state(page)[1:] == [("mine.ome.zarr B/3/0", "waiting")]
    assert page.list.state.items[1].times == (0,)
    page.out.set_path("out")
    first, second = (spoken(line) for line in page.command().split(" && "))
    assert (first.scene, first.times) == (None, ())
    assert (second.scene, second.times) == ("B/3/0", (0,))


def test_a_viewer_that_closes_loses_nothing(desk, page, files, tmp_path):
    desk.drop(files[1], files[2])
    listed(desk, page, 2)
    page.form.settings["tile"].value = 32
    page.out.set_path(str(tmp_path / "out"))
    desk.click(page.start)
    desk.running("batch")
    desk.close()
    desk.qtbot.waitUntil(lambda: not desk.jobs.runs, timeout=20_000)
    known = json.loads((tmp_path / "out" / "batch.json").read_text())
    first, second = known["items"]
    # A slow window may take longer to close than the first image.
    assert (first["state"], second["state"]) in (("waiting", "waiting"), ("done", "waiting"))
    begun = read_record(tmp_path / "out" / "b.ome.zarr")
    assert begun["tiles_done"] > 0
    assert (begun["status"] == "complete") == (first["state"] == "done")


# --- without a viewer -----------------------------------------------------------------------------


def item(name, **more):
    return Item(input=f"/{name}", scene="", out=name, **more)


def test_the_time_that_is_left_is_that_of_the_images_before():
    done = [item(n, state="done", seconds=s) for n, s in (("a", 10.0), ("b", 20.0))]
    assert seconds_left([*done, item("c"), item("d", state="running")], 0.5) == pytest.approx(22.5)
    assert seconds_left([item("c")], 0.0) is None
    assert seconds_left(done, 0.0) is None


def test_a_summary_counts_what_there_is():
    items = [item("a", state="done"), item("b", state="failed", sentence="x"), item("c")]
    assert summary(items, 600.0) == "3 images: 1 done, 1 failed, 1 waiting, about 10 min left"
    assert summary([], None) == ""


def test_options_are_named_as_in_the_form_where_failures_are_listed():
    items = [item("a", state="failed", sentence="State it with --pixel-size.")]
    assert failures_as_text(items) == "1 image: State it with “Pixel size (µm)”.\n  a"


@pytest.fixture
def picker(qtbot):
    from napari_virtualstain.widgets._well_picker import WellPicker

    widget = WellPicker()
    qtbot.addWidget(widget)
    widget.resize(330, 240)
    widget.show()
    widget.show_plate(plate_of(["B02", "B05", "D02", "D04"]))
    return widget


def names(picker):
    return [well.name for well in picker.picked]


def test_rows_columns_and_boxes_pick_wells(picker, qtbot):
    assert names(picker) == ["B02", "B05", "D02", "D04"]
    picker.pick_all(False)
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(picker, left, pos=QPoint(6, where(picker, 1, 0).y()))
    assert names(picker) == ["B02", "B05"]
    qtbot.mouseClick(picker, left, pos=QPoint(where(picker, 0, 1).x(), 6))
    assert names(picker) == ["B02", "B05", "D02"]
    qtbot.mouseClick(picker, left, pos=where(picker, 1, 1))
    assert names(picker) == ["B05", "D02"]
    qtbot.mousePress(picker, left, pos=where(picker, 2, 0))
    qtbot.mouseMove(picker, where(picker, 4, 4))
    qtbot.mouseRelease(picker, left, pos=where(picker, 4, 4))
    assert names(picker) == ["B05", "D02", "D04"]
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.mousePress(picker, left, shift, pos=where(picker, 0, 0))
    qtbot.mouseMove(picker, where(picker, 7, 3))
    qtbot.mouseRelease(picker, left, shift, pos=where(picker, 7, 3))
    assert names(picker) == ["B05"]


def test_wells_that_are_picked_are_seen(picker):
    picker.pick({(1, 1)})
    shown = picker.grab().toImage()
    on, off = (shown.pixelColor(where(picker, *at)).lightness() for at in ((1, 1), (1, 4)))
    empty = shown.pixelColor(where(picker, 5, 5)).lightness()
    assert len({on, off, empty}) == 3
    assert np.sign(on - empty) == np.sign(off - empty), "towards the colour of text"
