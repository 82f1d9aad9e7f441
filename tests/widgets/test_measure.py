"""The page that counts: what is found is outlined where it was found, and the tables can be kept."""

from __future__ import annotations

import csv
import shlex

import numpy as np
import pytest
from drawn_cells import drawn_cells
from judged_stores import write_plate
from qtpy.QtWidgets import QApplication

from napari_virtualstain.cli.arguments import settings_from
from napari_virtualstain.cli.main import VERBS, _parse
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.measure import MeasureSettings

WELLS = 3


@pytest.fixture
def page(desk, field_folder):
    desk.open(field_folder / "stains.ome.zarr", page="measure")
    desk.wait(lambda: desk.measure.start.isEnabled())
    return desk.measure


def measured(desk):
    desk.click(desk.measure.start)
    desk.wait(lambda: desk.measure.view.isVisible() and not desk.jobs.runs, 60)
    return desk.measure.view


def outlined(desk, count):
    desk.wait(lambda: len(desk.measure.outlines) == count)
    return desk.measure.outlines


def test_an_empty_viewer_says_what_to_do(desk):
    desk.dock.show_page("measure")
    assert desk.measure.notice.text.startswith("Stain an image first")
    assert not desk.measure.start.isEnabled()
    assert not desk.measure.copy.isEnabled()


def test_nuclei_are_counted_and_outlined_on_their_stain(desk, page, field_folder):
    assert page.nuclei.currentData() == "DNA"
    page.cells.setCurrentText("AGP")
    view = measured(desk)
    cells, nuclei = outlined(desk, 2)
    count = int(view.table.item(0, 0).text())
    assert count == np.asarray(nuclei.data).max() > 3
    assert f"{count} nuclei in 1 field" in view.words.text()
    dna = next(layer for layer in desk.viewer.layers if layer.name == "DNA")
    for layer in (cells, nuclei):
        np.testing.assert_allclose(
            np.asarray(layer.extent.world), np.asarray(dna.extent.world)[:, -2:]
        )
        assert layer.contour == 2
    assert not view.map.isVisible(), "there is no plate"
    before = open_image(field_folder / "stains.ome.zarr").shape
    assert nuclei.data.shape == before[-2:]
    desk.click(page.start)
    desk.wait(lambda: page.outlines and page.outlines[-1] is not nuclei, 60)
    assert nuclei not in desk.viewer.layers, "the new outlines take their place"


def test_a_plate_is_coloured_by_what_is_asked_for(desk, tmp_path):
    fields = [drawn_cells(seed, time=False) for seed in range(WELLS)]
    write_plate(tmp_path / "plate.ome.zarr", fields, "stains")
    desk.open(tmp_path / "plate.ome.zarr", page="measure")
    desk.wait(lambda: desk.measure.start.isEnabled())
    page = desk.measure
    page.scope.setCurrentIndex(1)
    view = measured(desk)
    assert view.table.rowCount() == WELLS
    assert view.map.isVisible()
    outlined(desk, 1)
    assert view.colour.currentData() == "count"
    counts = {
        view.table.verticalHeaderItem(n).text(): view.table.item(n, 0).text() for n in range(WELLS)
    }
    for column in range(WELLS):
        well = f"A{column + 1:02d}"
        assert f"count: {counts[f'{well} 0']}" in view.map.words((0, column))
    view.colour.setCurrentIndex(view.colour.findData("covered"))
    view.colour.activated.emit(view.colour.currentIndex())
    assert "covered: 0." in view.map.words((0, 0))
    heads = [view.table.horizontalHeaderItem(n).text() for n in range(view.table.columnCount())]
    assert "nucleus area (µm²)" in heads
    assert view.table.item(0, heads.index("covered")).text().endswith(" %")


def test_the_table_can_be_copied_and_all_tables_kept(desk, page, tmp_path):
    view = measured(desk)
    desk.click(view.copy)
    lines = [line.split("\t") for line in QApplication.clipboard().text().split("\n")]
    assert lines[0][:3] == ["Field", "count", "covered"]
    assert len(lines) == 2
    page.save_tables(str(tmp_path / "kept"))
    desk.wait(lambda: page.notice.text.startswith("Kept in"))
    with (tmp_path / "kept" / "objects.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == int(lines[1][1])
    page.save_tables(str(tmp_path / "kept"))
    desk.wait(lambda: page.notice.kind == "error")
    assert "exists" in page.notice.text


def test_the_command_measures_the_same(desk, page):
    page.cells.setCurrentText("AGP")
    page.least.setValue(6.5)
    page.whole_only.setChecked(True)
    desk.click(page.copy)
    words = shlex.split(QApplication.clipboard().text())
    entry, values = _parse(words[1:])
    assert entry is VERBS["measure"]
    found = settings_from(MeasureSettings, values, positional=entry.positional)
    assert found == page.settings("numbers")
    assert (found.cells, found.nucleus, found.whole_only) == ("AGP", (6.5, 30.0), True)


def test_what_fails_is_said_in_a_sentence(desk, page):
    page.least.setValue(40.0)
    desk.click(page.start)
    desk.wait(lambda: page.notice.kind == "error", 60)
    assert page.notice.text.endswith(".")
    assert not page.view.isVisible()


def test_a_closing_viewer_ends_what_was_asked_for(desk, page):
    desk.click(page.start)
    runs = list(desk.jobs.runs)
    desk.close()
    desk.qtbot.waitUntil(lambda: all(run.ended for run in runs), timeout=20_000)
