"""Scores of every field and model on the page Compare: sorted, clicked, drawn, kept."""

from __future__ import annotations

import csv
import json
import shlex

import numpy as np
import pytest
from drawn_plates import STAINS, camera, drawn_plate, write_labels, write_plate
from napari.layers import Shapes
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

from napari_virtualstain.cli.main import main
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.scores_rows import BETTER
from napari_virtualstain.metrics.pixel import mae
from napari_virtualstain.metrics.structure import local_ssim
from napari_virtualstain.napari_io.regions import regions_of
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._compare_view import MODES
from napari_virtualstain.widgets._scores_source import ALL, BRIGHT, DRAWN
from napari_virtualstain.widgets._scores_table import NUMBERS

WELLS = 3


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """True stains, a model that is wrong in one well, and one that blurs; read-only."""
    root = tmp_path_factory.mktemp("scored")
    fields = drawn_plate()[:WELLS]
    shots = [camera(seed) for seed in range(3)]
    write_plate(root / "truth.ome.zarr", fields, lambda f: shots[0](f.light()))
    bad = fields[1].well
    record = {"job": "stain", "model": {"name": "sharp"}}

    def good(field):
        light = field.light()
        return shots[1](light[:, ::-1] if field.well == bad else light)

    def dull(field):
        return shots[2](gaussian_filter(field.light(), (0, 3, 3)))

    write_plate(root / "sharp.ome.zarr", fields, good, record=record)
    write_plate(
        root / "blur.ome.zarr", fields, dull, record={"job": "stain", "model": {"name": "blur"}}
    )
    write_labels(root / "labels.csv", fields)
    return root, fields, bad


def scene(well):
    return f"{well[0]}/{int(well[1:])}/1"


@pytest.fixture
def page(desk, plate):
    """The page with the first field of both models and of the truth open."""
    desk.open(plate[0] / "truth.ome.zarr")
    desk.open(plate[0] / "blur.ome.zarr")
    desk.open(plate[0] / "sharp.ome.zarr", page="compare")
    panel = desk.compare.scores
    desk.wait(panel.start.isEnabled)
    assert desk.compare.prediction.field.path.endswith("sharp.ome.zarr")
    desk.click(desk.compare.fold.heading)
    return panel


@pytest.fixture
def scored(desk, page):
    """All fields by both models."""
    page.source.scope.setCurrentText(ALL)
    blur = next(f for f in desk.fields.all if f.path.endswith("blur.ome.zarr"))
    page.source.tick(blur.key)
    return score(desk, page)


def score(desk, panel):
    desk.dock.pages.currentWidget().ensureWidgetVisible(panel.start)
    desk.click(panel.start)
    desk.wait(panel.results.isVisible, 40)
    desk.wait(lambda: not desk.jobs.runs)
    return panel


def pixels(plate, name, well, stain):
    image = open_image(plate[0] / f"{name}.ome.zarr", scene=scene(well))
    return np.asarray(image.data[0, STAINS.index(stain), 0]).astype(np.float64)


def looked_at(desk, well, model="sharp"):
    """Wait until a well is looked at, by a model, against its truth."""

    def there():
        pair = desk.compare.view.pair
        if pair is None:
            return False
        made, true = source_of(pair[1]), source_of(pair[2])
        return (
            made.scene == true.scene == scene(well)
            and made.path.endswith(f"{model}.ome.zarr")
            and true.path.endswith("truth.ome.zarr")
            and pair[1].visible
        )

    desk.wait(there)


def test_every_number_that_can_be_ranked_has_a_title():
    assert set(NUMBERS) == set(BETTER)


def test_the_worst_field_stands_first_is_chosen_and_is_what_the_viewer_shows(desk, scored, plate):
    table = scored.table
    assert len(table.rows) == 2 * len(STAINS) * WELLS
    assert (table.row["well"], table.row["model"]) == (plate[2], "sharp")
    shown = [row["pcc"] for row in table.rows]
    assert shown == sorted(shown)
    looked_at(desk, plate[2])
    stain, predicted, _ = desk.compare.view.pair
    assert (stain, source_of(predicted).channel) == (table.row["stain"],) * 2


def test_arrow_keys_go_from_field_to_field_and_open_what_is_not_open(desk, scored, plate):
    scored.stain.setCurrentText("DNA")
    scored.stain.activated.emit(scored.stain.currentIndex())
    looked_at(desk, plate[2])
    layers, seen = len(desk.viewer.layers), set()
    for _ in range(len(scored.table.rows) - 1):
        desk.qtbot.keyClick(scored.table, Qt.Key.Key_Down)
        row = scored.table.row
        seen.add((row["well"], row["model"]))
        looked_at(desk, row["well"], row["model"])
        assert desk.compare.view.pair[0] == "DNA"
    assert len(seen) == 2 * WELLS - 1
    # One field takes the place of the other: those of the first are not ours.
    assert len(desk.viewer.layers) <= layers + 3 * len(STAINS)


def test_a_click_on_a_title_sorts_by_that_number_with_its_floor_beside(desk, scored):
    titles = lambda: [c.title for c in scored.table.row_model.columns]  # noqa: E731
    assert titles()[:5] == ["Field", "Stain", "Model", "PCC", "SSIM"]  # no bright field, no floor
    at = titles().index("MAE")
    scored.table.horizontalHeader().sectionClicked.emit(at)
    assert titles()[3:5] == ["MAE", "floor"]
    errors = [row["mae"] for row in scored.table.rows]
    assert errors == sorted(errors, reverse=True)
    assert scored.number.currentText() == "MAE"


def test_models_are_ranked_in_words_for_each_stain_and_fit_the_page(desk, scored):
    said = scored.ranks.text()
    shown = desk.dock.pages.currentWidget()
    assert scored.source.also.isVisible()
    assert shown.content.width() <= shown.viewport().width()  # also in a narrow dock
    assert "DNA:" in said
    assert said.index("blur") < said.index("sharp")  # which is wrong in a well
    assert "(1st)" in said
    assert f"Means over {WELLS} planes that all have." in said


def test_points_are_put_together_by_treatment_and_a_click_goes_there(desk, scored, plate):
    scored.source.set_labels(str(plate[0] / "labels.csv"))
    score(desk, scored)
    desk.wait(lambda: scored.group.findText("treatment") >= 0)
    scored.group.setCurrentText("treatment")
    scored.group.activated.emit(scored.group.currentIndex())
    assert set(scored.plot.groups) == {field.treatment for field in plate[1]}
    row = scored.table.rows[-1]
    at = scored.plot.place_of(row)
    desk.dock.pages.currentWidget().ensureWidgetVisible(scored.plot)
    desk.qtbot.mouseClick(
        scored.plot, Qt.MouseButton.LeftButton, pos=QPoint(round(at.x()), round(at.y()))
    )
    assert scored.table.row["pcc"] == pytest.approx(row["pcc"], abs=0.02)
    looked_at(desk, scored.table.row["well"], scored.table.row["model"])


def test_only_what_is_drawn_counts(desk, page, plate):
    well = plate[1][0].well
    page.source.within.setCurrentText(DRAWN)
    desk.click(page.start)
    desk.wait(lambda: "No region is drawn." in page.notice.text)
    over = desk.compare.prediction.field.layers[0][0]
    corners = [over.data_to_world(corner) for corner in ((20, 30), (20, 90), (80, 90), (80, 30))]
    desk.viewer.add_layer(Shapes([np.array(corners)[:, -2:]], shape_type="rectangle"))
    score(desk, page)
    row = next(row for row in page.rows if row["stain"] == "DNA")
    p, t = (pixels(plate, name, well, "DNA")[20:81, 30:91] for name in ("sharp", "truth"))
    assert row["within"] == "regions"
    assert row["mae"] == pytest.approx(mae(p, t), rel=0.03)


def test_an_ellipse_has_its_area_and_a_line_is_no_region(desk, page):
    over = desk.compare.prediction.field.layers[0][0]
    box = np.array([[10, 10], [10, 50], [30, 50], [30, 10]], float)
    shapes = Shapes(
        [box, np.array([[0.0, 0], [9, 9]])], shape_type=["ellipse", "line"],
        scale=over.scale[-2:],
    )  # fmt: skip
    desk.viewer.add_layer(shapes)
    (corners,) = regions_of(shapes, over, desk.viewer.dims.point)
    y, x = np.array(corners).T
    area = 0.5 * abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1)))
    assert area == pytest.approx(np.pi * 10 * 20, rel=0.01)
    assert (y.mean(), x.mean()) == pytest.approx((20, 30))


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_table_is_kept_and_copied(desk, scored, tmp_path, kind):
    out = tmp_path / f"table.{kind}"
    scored.save_table(str(out))
    desk.wait(lambda: scored.notice.text == f"Kept in {out}.")
    if kind == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    else:
        found = json.loads(out.read_text(encoding="utf-8"))["result"]["rows"]
    assert [row["well"] for row in found] == [row["well"] for row in scored.rows]
    scored.copy_table.click()
    lines = QApplication.clipboard().text().split("\n")
    assert len(lines) == 1 + len(scored.table.rows)
    assert lines[0].startswith("Field\tStain\tModel\tPCC")


def test_another_ending_is_one_sentence(desk, scored, tmp_path):
    scored.save_table(str(tmp_path / "table.xls"))
    desk.wait(lambda: "'table.xls' ends in none of .csv, .json, .parquet" in scored.notice.text)
    assert list(tmp_path.iterdir()) == []


def test_the_copied_command_scores_the_same(desk, scored, capsys):
    scored.source.within.setCurrentText(BRIGHT)
    line = shlex.split(scored.command())
    assert "--foreground" in line
    assert main([*line[1:], "--json", "--quiet"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == len(scored.rows)


def test_flicker_goes_through_all_models_and_side_by_side_shows_them(desk, scored, plate):
    looked_at(desk, plate[2])
    view = desk.compare.view
    desk.dock.pages.currentWidget().ensureWidgetVisible(view)
    desk.click(view.modes.button(list(MODES).index("Flicker")))
    overlay = desk.viewer.canvas.overlays.text
    seen = []

    def all_seen():
        seen.append(overlay.text)
        return {"sharp", "blur", "true"} <= set(seen)

    desk.wait(all_seen)
    desk.click(view.modes.button(list(MODES).index("Side by side")))
    desk.wait(lambda: len(view.beside.sheet.layers) == 3)
    assert [layer.name for layer in view.beside.sheet.layers] == ["true", "sharp", "blur"]
    stain = view.pair[0]
    for layer, name in zip(view.beside.sheet.layers, ("truth", "sharp", "blur"), strict=True):
        high, wide = layer.data.shape
        whole = pixels(plate, name, plate[2], stain)
        top, left = (whole.shape[0] - high) // 2, (whole.shape[1] - wide) // 2
        assert min(high, wide) > 100
        assert np.allclose(layer.data, whole[top : top + high, left : left + wide])
        assert list(layer.axis_labels) == ["y", "x"]
    desk.click(view.modes.button(list(MODES).index("Predicted")))
    assert not view.beside.sheet.layers


def test_maps_of_ssim_and_error_lie_over_the_prediction(desk, scored, plate):
    looked_at(desk, plate[2])
    view = desk.compare.view
    stain, predicted, _ = view.pair
    p, t = (pixels(plate, name, plate[2], stain) for name in ("sharp", "truth"))
    wanted = {
        "SSIM map": local_ssim(p, t, range_=float(np.ptp(t)), fill=float(t.mean())),
        "absolute error": np.abs(p - t),
    }
    desk.dock.pages.currentWidget().ensureWidgetVisible(view)
    for mode, name in (("SSIM map", "SSIM map"), ("Error map", "absolute error")):
        desk.click(view.modes.button(list(MODES).index(mode)))
        desk.wait(lambda name=name: f"{stain} {name}" in desk.viewer.layers, 30)
        layer = desk.viewer.layers[f"{stain} {name}"]
        desk.wait(lambda layer=layer: layer.visible)
        assert np.allclose(np.asarray(layer.data).squeeze(), wanted[name], atol=1e-4)
        assert layer.scale.tolist() == predicted.scale.tolist()
        assert layer.units == predicted.units
        assert layer.axis_labels == predicted.axis_labels
    desk.qtbot.keyClick(scored.table, Qt.Key.Key_Down)
    desk.wait(lambda: f"{stain} SSIM map" not in desk.viewer.layers)


def test_a_closing_viewer_ends_what_was_asked_for(desk, page):
    desk.click(page.start)
    desk.close()
    desk.wait(lambda: not desk.jobs.runs)
