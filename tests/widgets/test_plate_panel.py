"""A plate in the dock: clicked, gone through by keys, and coloured by what is known of its wells."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from well_plates import plate_of

from napari_virtualstain.io.plate import Plate
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._plate_map import PlateMap

FIELDS = [(0, 0, "0"), (0, 0, "1"), (0, 2, "0"), (1, 2, "0")]


@pytest.fixture(scope="module")
def plate_store(field_folder, tmp_path_factory):
    """Two rows of three wells: A1 with two sites, A3 and B3 with one; read-only."""
    path = tmp_path_factory.mktemp("plate") / "mine.ome.zarr"
    store = PlateStore(path, name="mine", rows=2, columns=3)
    for place in FIELDS:
        shutil.copytree(field_folder / "brightfield.ome.zarr", path / field_path(*place))
        store.add(*place)
    return path


@pytest.fixture
def page(desk, plate_store):
    desk.open(plate_store, page="load")
    desk.wait(lambda: desk.load.plate.isVisible())
    return desk.load


def shown(desk):
    """Return the scene whose layers are in the viewer, which are those of one."""
    (scene,) = {source_of(layer).scene for layer in desk.viewer.layers}
    return scene


def where(widget, row, column):
    return widget._box(row, column).center().toPoint()


def test_a_click_on_a_well_shows_it_in_place_of_the_other(desk, page, qtbot):
    assert (shown(desk), page.plate.where.text()) == ("A/1/0", "A01, site 1 of 2")
    qtbot.mouseClick(page.plate.map, Qt.MouseButton.LeftButton, pos=where(page.plate.map, 1, 2))
    desk.wait(lambda: shown(desk) == "B/3/0")
    assert page.plate.where.text() == "B03, site 1 of 1"
    assert page.plate.map.shown == "B03"
    assert page.box.count() == 1


def test_brightness_stays_when_the_next_field_is_shown(desk, page):
    (layer,) = desk.viewer.layers
    layer.contrast_limits = (321, 4567)
    layer.gamma = 0.7
    desk.click(page.plate.next)
    desk.wait(lambda: shown(desk) == "A/1/1")
    (now,) = desk.viewer.layers
    assert now is not layer
    assert (now.contrast_limits, now.gamma) == ([321, 4567], 0.7)


def test_next_and_back_go_through_all_fields(desk, page):
    seen = [shown(desk)]
    assert not page.plate.back.isEnabled()
    while page.plate.next.isEnabled():
        desk.click(page.plate.next)
        desk.wait(lambda: shown(desk) not in seen)
        seen.append(shown(desk))
    assert seen == ["A/1/0", "A/1/1", "A/3/0", "B/3/0"]
    desk.click(page.plate.back)
    desk.wait(lambda: shown(desk) == "A/3/0")


def test_keys_pressed_quickly_end_at_the_last(desk, page, qtbot):
    for _ in range(3):
        qtbot.keyClick(page.plate.map, Qt.Key.Key_Right)
    desk.wait(lambda: shown(desk) == "B/3/0")
    assert page.plate.where.text() == "B03, site 1 of 1"


def test_wells_are_coloured_by_a_number(desk, page):
    page.plate.colour.setCurrentText("number of sites")
    page.plate.colour.activated.emit(page.plate.colour.currentIndex())
    assert page.plate.scale.text() == "number of sites: dark 1, bright 2"
    colours = page.plate.map._colours()
    assert colours["A01"] != colours["A03"] == colours["B03"]


def test_an_image_without_a_plate_shows_none(desk, page, field_folder):
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.wait(lambda: not page.plate.isVisible())
    assert not page.plate.colour.isVisible()


def test_a_field_of_the_plate_is_stained_as_any_other(desk, page, tiny_model):
    desk.click(page.plate.next)
    desk.wait(lambda: shown(desk) == "A/1/1")
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model)
    desk.click(desk.stain.all)
    desk.idle()
    assert len(desk.predicted()) == 5


def go_to(desk, qtbot, row, column, scene):
    """Click on a well, on the page Load, which still shows the plate when stains have come."""
    desk.dock.show_page("load")
    desk.wait(desk.load.plate.map.isVisible)
    spot = where(desk.load.plate.map, row, column)
    qtbot.mouseClick(desk.load.plate.map, Qt.MouseButton.LeftButton, pos=spot)
    desk.wait(lambda: desk.load.box.field is not None and scene in scenes(desk))
    desk.wait(lambda: desk.stain.box.field.scene == scene)


def scenes(desk):
    """Return the scenes of the bright fields."""
    return {source_of(layer).scene for layer in bright_fields(desk)}


def bright_fields(desk):
    return [layer for layer in desk.viewer.layers if source_of(layer).role == "brightfield"]


def test_stains_hide_with_their_well_and_come_back_with_it(desk, page, tiny_model, qtbot):
    """They would lie over another well, and were left without one: napari crashed (Mesa 22.3)."""
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model)
    desk.viewer.dims.set_current_step(0, 2)
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    first = desk.predicted()
    go_to(desk, qtbot, 1, 2, "B/3/0")
    (shown_now,) = bright_fields(desk)
    assert [layer.visible for layer in first.values()] == [False] * 5
    assert "hidden until it is shown again" in page.notice.text
    assert (shown_now.name, desk.viewer.dims.current_step[0]) == ("Brightfield", 2)
    assert desk.viewer.layers[0] is shown_now
    assert desk.at(desk.canvas(), shown_now, (128, 128)).max() > 0
    go_to(desk, qtbot, 0, 0, "A/1/0")
    assert desk.predicted() == first
    assert [stain for stain, layer in first.items() if layer.visible] == ["DNA"]
    assert page.notice.text == ""
    desk.dock.show_page("stain")
    desk.click(desk.stain.all)
    assert desk.stain.notice.text == "This image is stained already; its layers are in the viewer."


def test_a_bright_field_is_deleted_and_opened_again_under_its_stains(
    desk, field_folder, tiny_model
):
    (source,) = desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model)
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    desk.qtbot.wait(50)
    desk.viewer.layers.selection = {source}
    desk.viewer.layers.remove_selected()
    desk.qtbot.wait(50)
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.qtbot.wait(50)
    assert len(desk.predicted()) == 5
    assert len(desk.viewer.layers) == 6


def test_live_mode_follows_from_well_to_well(desk, page, tiny_model, qtbot):
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    desk.planned()
    desk.stain.live.click()
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    go_to(desk, qtbot, 1, 2, "B/3/0")
    desk.wait(lambda: len(desk.painters()) == 2 and len(desk.painters()[1].layers) == 5)
    desk.idle()
    here = desk.painters()[1].layers.values()
    assert [layer.visible for layer in here] == [True] + [False] * 4
    assert not any(layer.visible for layer in desk.painters()[0].layers.values())
    desk.stain.live.click()


# --- the map alone --------------------------------------------------------------------------------


@pytest.fixture
def plate_map(qtbot):
    widget = PlateMap()
    qtbot.addWidget(widget)
    widget.resize(330, 240)
    widget.show()
    return widget


STEPS = {
    "right_over_a_gap": ("B02", Qt.Key.Key_Right, "B05"),
    "right_at_the_end_of_a_row": ("B05", Qt.Key.Key_Right, "D02"),
    "left_at_the_first": ("B02", Qt.Key.Key_Left, "B02"),
    "down_over_a_gap": ("B02", Qt.Key.Key_Down, "D02"),
    "down_to_the_nearest": ("B05", Qt.Key.Key_Down, "D04"),
    "up_at_the_top": ("B05", Qt.Key.Key_Up, "B05"),
}


@pytest.mark.parametrize("case", STEPS)
def test_arrows_go_to_wells_with_images(plate_map, qtbot, case):
    begin, key, end = STEPS[case]
    plate_map.show_plate(plate_of(["B02", "B05", "D02", "D04"]), begin)
    qtbot.keyClick(plate_map, key)
    assert plate_map.shown == end


def test_a_click_beside_the_wells_does_nothing(plate_map, qtbot):
    plate_map.show_plate(plate_of(["B02"]), "B02")
    with qtbot.assertNotEmitted(plate_map.chosen):
        for point in (QPoint(2, 2), where(plate_map, 0, 0), QPoint(329, 239)):
            qtbot.mouseClick(plate_map, Qt.MouseButton.LeftButton, pos=point)


def test_a_tooltip_says_what_is_known(plate_map):
    plate_map.show_plate(plate_of(["B02"], treatment="DMSO", dose="2.5"), "")
    plate_map.colour_by({"B02": 2.5}, "dose")
    assert plate_map.words((1, 1)) == "B02: 1 site\ndose: 2.5\ntreatment: DMSO"


def test_wells_without_a_number_are_not_coloured(plate_map):
    plate_map.show_plate(plate_of(["B02", "B05"]), "")
    plate_map.colour_by({"B02": np.nan, "B05": 1.0}, "dose")
    assert set(plate_map._colours()) == {"B05"}


def test_wells_are_where_they_are_drawn(plate_map, qtbot):
    plate_map.show_plate(plate_of(["H12"]), "")
    before = plate_map.grab().toImage()
    at = where(plate_map, 7, 11)
    ground = before.pixelColor(where(plate_map, 7, 10))
    assert before.pixelColor(at) != ground
    with qtbot.waitSignal(plate_map.chosen) as told:
        qtbot.mouseClick(plate_map, Qt.MouseButton.LeftButton, pos=at)
    assert told.args == ["H12"]


@pytest.mark.parametrize("columns", [3, 12, 24, 48])
def test_every_plate_fits_its_width(plate_map, columns):
    plate = Plate(name="", rows=columns * 2 // 3, columns=columns, wells=plate_of(["A01"]).wells)
    plate_map.show_plate(plate, "A01")
    assert plate_map._box(0, columns - 1).right() <= plate_map.width()
    bottom = plate_map._box(plate.rows - 1, 0).bottom()
    assert bottom <= plate_map.heightForWidth(plate_map.width())
