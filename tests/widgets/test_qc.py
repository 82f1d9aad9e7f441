"""The page that says whether a stain can be trusted, and takes down what somebody decides."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from drawn_cells import drawn_cells
from judged_stores import write_prediction, write_source
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_virtualstain.api import qc as qc_here
from napari_virtualstain.cli.arguments import settings_from
from napari_virtualstain.cli.main import VERBS, _parse
from napari_virtualstain.datasets.excluded import leave_out
from napari_virtualstain.datasets.review import read_review
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.jobs.qc import QcSettings
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.qc.clicked import read_artifacts
from napari_virtualstain.qc.zoo import ZOO
from napari_virtualstain.widgets._qc_words import (
    COLOURS,
    drift_as_html,
    findings_as_html,
    good_as_text,
)
from napari_virtualstain.widgets.qc import _TEMPORARY

BAD = 1
WELLS = 4


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """A plate with a field a well, of which the second has phantoms and a shift; read-only pixels."""
    root = tmp_path_factory.mktemp("judged")
    fields = [drawn_cells(seed, time=False) for seed in range(30, 30 + WELLS)]
    bad = list(fields)
    bad[BAD] = ZOO["phantom"].damage(fields[BAD], 0.4, seed=1).field
    bad[BAD] = ZOO["intensity shift"].damage(bad[BAD], 0.5).field
    light = PlateStore(root / "light.ome.zarr", name="light", rows=2, columns=6)
    for column, field in enumerate(fields):
        write_source(root / "light.ome.zarr" / field_path(0, column, "0"), field)
        light.add(0, column, "0")
    store = PlateStore(root / "plate.ome.zarr", name="plate", rows=2, columns=6)
    scenes = {scene.name: scene for scene in list_scenes(root / "light.ome.zarr")}
    for column, field in enumerate(bad):
        source = scenes[sorted(scenes)[column]].open().source
        record = {
            "job": "stain", "model": {"name": "drawn", "fingerprint": "", "path": str(root)},
            "settings": {}, "input": {
                "path": str(root / "light.ome.zarr"), "scene": source.scene,
                "identity": source.identity(), "channel": "Brightfield", "z": [0, 1, 2],
            },
        }  # fmt: skip
        write_prediction(root / "plate.ome.zarr" / field_path(0, column, "0"), field, record=record)
        store.add(0, column, "0")
    return root / "plate.ome.zarr"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    for seed in range(6):
        field = drawn_cells(seed, time=False)
        write_prediction(root / "good" / f"f{seed}.ome.zarr", field)
        write_source(root / "bright" / f"f{seed}.ome.zarr", field)
    qc_here(
        root / "good", source=str(root / "bright"), calibrate=True,
        reference=str(root / "reference.json"), no_passport=True,
    )  # fmt: skip
    return root / "reference.json"


@pytest.fixture
def page(desk, plate, reference):
    """The page with the whole plate chosen; decisions of other tests are gone."""
    folder = plate.with_name("plate.review")
    for file in sorted(folder.rglob("*.*"), reverse=True):
        file.unlink()
    desk.dock.show_page("qc")
    desk.qc.source.set_folder(str(plate))
    desk.qc.source.set_reference(str(reference))
    return desk.qc


@pytest.fixture
def judged(desk, page):
    desk.click(page.start)
    desk.wait(lambda: page.panel.isVisible(), 60)
    looked_at(desk, f"A/{BAD + 1}/0")
    return page


def looked_at(desk, scene):
    """Wait until the prediction and the bright field of a scene are the ones that show."""
    desk.wait(lambda: shown(desk) == {("plate", scene), ("light", scene)})
    desk.wait(lambda: desk.qc.panel.marks.isEnabled())


def shown(desk):
    found = (source_of(layer) for layer in desk.viewer.layers)
    return {
        (s.path.rsplit("/", 1)[-1].partition(".")[0], s.scene) for s in found if s and s.path
    }  # fmt: skip


def press(desk, key):
    desk.qtbot.keyClick(desk.qc.panel.table, key)


def test_an_empty_viewer_says_what_to_do(desk):
    desk.dock.show_page("qc")
    assert desk.qc.notice.text.startswith("Stain an image first")
    for button in (desk.qc.start, desk.qc.copy, desk.qc.calibrate):
        assert not button.isEnabled()


def test_the_worst_field_comes_first_with_reasons_and_its_place_in_orange(desk, judged):
    panel = judged.panel
    assert panel.table.text(0)[0] == "✗"
    assert panel.table.text(0)[1].startswith("A02")
    assert "4 fields: 1 red" in panel.summary.text()
    assert "Phantoms" in panel.words.text()
    assert "cannot be seen without a true stain." in panel.words.text()
    assert not judged.source.isVisible(), "what was found is in sight"
    desk.wait(lambda: panel.marks.layer is not None)
    marks, stain = (
        panel.marks.layer,
        next(one for one in desk.viewer.layers if one.name.startswith("DNA")),
    )
    np.testing.assert_allclose(marks.extent.world, np.asarray(stain.extent.world)[:, -2:])
    assert 0 < (np.asarray(marks.data) > 0).mean() < 0.5


def test_the_map_of_the_plate_has_the_colours_of_the_fields(desk, judged):
    panel = judged.panel
    assert panel.map.isVisible()
    assert panel.map.shown == "A02"
    colours = panel.map._colours()
    assert colours["A02"].name() == COLOURS["red"]
    assert {"A01", "A02", "A03", "A04"} == set(colours)
    assert "red: " in panel.map.words((0, BAD))
    panel.map._choose((0, 0))
    looked_at(desk, "A/1/0")


def test_arrow_keys_go_through_the_fields_and_letters_decide(desk, judged, plate):
    panel = judged.panel
    press(desk, Qt.Key.Key_Down)
    second = panel.row
    looked_at(desk, second["scene"])
    press(desk, Qt.Key.Key_A)
    assert read_review(plate).of((second["path"], second["scene"]), 0).verdict == "accepted"
    assert panel.row is not second, "on to the next that nobody has reviewed"
    panel.table.choose(panel.table.rows[0])
    panel.comment.setText("a bubble")
    press(desk, Qt.Key.Key_R)
    (first, verdict) = panel.table.rows[0], panel.table.text(0)[3]
    assert verdict == "✗ bad"
    decision = read_review(plate).of((first["path"], first["scene"]), 0)
    assert (decision.verdict, decision.comment, decision.state) == ("rejected", "a bubble", "red")
    assert decision.reason == first["reason"]
    assert "2 of 4 reviewed" in panel.summary.text()
    panel.table.choose(first)
    press(desk, Qt.Key.Key_U)
    assert read_review(plate).of((first["path"], first["scene"]), 0) is None


def test_decisions_are_there_again_when_the_same_is_judged_anew(desk, judged):
    panel = judged.panel
    first = panel.row
    desk.click(panel.reject)
    desk.click(judged.start)
    desk.wait(lambda: panel.table.rows and panel.table.rows[0] is not first, 60)
    assert panel.table.text(0)[3] == "✗ bad"
    assert panel.table.rows[0]["verdict"] == "rejected", "the report says so, too"
    panel.shown.setCurrentText("not yet reviewed")
    panel.shown.activated.emit(panel.shown.currentIndex())
    panel.table.choose(panel.table.rows[-1])
    panel._fill()
    assert len(panel.table.rows) == WELLS - 1


def test_a_rejected_part_is_kept_as_a_picture_that_tuning_leaves_out(desk, judged, plate):
    panel = judged.panel
    desk.wait(lambda: panel.marks.layer is not None)
    row, marks = panel.row, panel.marks.layer
    painted = np.zeros_like(np.asarray(marks.data))
    painted[10:20, 30:50] = 1
    marks.data = painted
    desk.click(panel.reject_part)
    decision = read_review(plate).of((row["path"], row["scene"]), 0)
    assert decision.verdict == "rejected in part"
    file = plate.with_name("plate.review") / decision.marks
    stains = open_image(plate, scene=row["scene"])
    left = leave_out(stains, str(file)).data[0, 0, 0].compute()
    np.testing.assert_array_equal(np.isnan(left), painted.astype(bool))
    panel.table.choose(row)
    desk.wait(lambda: panel.marks.currentText() == "what was rejected")
    np.testing.assert_array_equal(panel.marks.layer.data, painted)


def test_nothing_can_be_rejected_in_part_before_something_is_marked(desk, judged):
    panel = judged.panel
    panel.marks.setCurrentText("nothing")
    panel.marks.activated.emit(0)
    assert not panel.reject_part.isEnabled()
    panel.marks.setCurrentText("my own marks")
    panel.marks.activated.emit(0)
    assert not panel.reject_part.isEnabled()
    panel.marks.layer.paint((12, 12), 1)
    assert panel.reject_part.isEnabled()


def test_what_the_user_has_opened_stays_when_the_next_field_is_shown(desk, judged, bystander):
    press(desk, Qt.Key.Key_Down)
    looked_at(desk, judged.panel.row["scene"])
    assert all(layer in desk.viewer.layers for layer in bystander)


def test_good_predictions_become_a_reference_that_is_then_used(desk, page, tmp_path):
    page.source.set_reference(None)
    page.make_reference(str(tmp_path / "mine.json"))
    desk.wait(lambda: page.source.reference == str(tmp_path / "mine.json"), 60)
    assert "4 fields show little of what is usual" in page.notice.text
    assert json.loads((tmp_path / "mine.json").read_text())["fields"] == WELLS


def test_the_command_judges_the_same(desk, page):
    desk.click(page.copy)
    words = shlex.split(QApplication.clipboard().text())
    entry, values = _parse(words[1:])
    assert entry is VERBS["qc"]
    found = settings_from(QcSettings, values, positional=entry.positional)
    assert found == page.settings("report")


def test_a_report_is_kept_where_the_user_wants_it_and_never_over_another(desk, judged, tmp_path):
    judged.save_report(str(tmp_path / "kept"))
    desk.wait(lambda: judged.notice.text.startswith("Kept in"))
    assert (tmp_path / "kept" / "qc.html").is_file()
    judged.save_report(str(tmp_path / "kept"))
    desk.wait(lambda: judged.notice.kind == "error")
    assert "exists" in judged.notice.text


def test_a_fresh_stain_is_judged_and_its_decision_is_said_to_be_temporary(
    desk, field_folder, tiny_model
):
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model, tile=128)
    desk.click(desk.stain.all)
    desk.idle()
    desk.dock.show_page("qc")
    before = set(desk.viewer.layers)
    desk.click(desk.qc.start)
    desk.wait(lambda: desk.qc.panel.isVisible(), 60)
    desk.wait(lambda: desk.qc.panel.marks.isEnabled())
    assert before <= set(desk.viewer.layers), "it is open already"
    assert "There is no reference of good predictions" in desk.qc.notice.text
    assert "Cannot be told" in desk.qc.panel.words.text()
    desk.click(desk.qc.panel.accept)
    assert desk.qc.notice.text == _TEMPORARY


def test_what_fails_is_said_in_a_sentence(desk, page, tmp_path):
    (tmp_path / "empty").mkdir()
    page.source.set_folder(str(tmp_path / "empty"))
    desk.click(page.start)
    desk.wait(lambda: page.notice.kind == "error", 60)
    assert "empty" in page.notice.text


def test_no_verdict_about_something_else_stays_when_another_prediction_cannot_be_judged(
    desk, judged, plate, tmp_path
):
    (tmp_path / "empty").mkdir()
    judged.source.set_folder(str(tmp_path / "empty"))
    desk.click(judged.start)
    desk.wait(lambda: judged.notice.kind == "error", 60)
    assert not judged.panel.isVisible()
    assert not judged.report.isVisible()
    judged.source.set_folder(str(plate))
    desk.click(judged.start)
    desk.wait(lambda: judged.panel.isVisible(), 60)
    assert judged.report.isVisible()


def test_names_of_files_are_no_mark_up():
    finding = {
        "check": "seams", "title": "Seams", "state": "red", "score": 2.0, "number": "DNA",
        "reason": "<b>x</b>", "advice": "", "value": 1.0, "usual": "",
    }  # fmt: skip
    assert "<b>x" not in findings_as_html({"findings": [finding]})


def test_many_good_checks_are_counted_and_named_for_whoever_asks():
    good = {"state": "green", "reason": "", "advice": ""}
    few, many = ({"findings": [{**good, "title": f"Check {n}"} for n in range(m)]} for m in (3, 9))
    assert "Nothing unusual: check 0, check 1, check 2." in findings_as_html(few)
    assert good_as_text(few) == ""
    assert "Nothing unusual: 9 checks." in findings_as_html(many)
    assert good_as_text(many).endswith("check 7, check 8.")


def test_a_closing_viewer_ends_what_was_asked_for(desk, page):
    desk.click(page.start)
    runs = list(desk.jobs.runs)
    desk.close()
    desk.qtbot.waitUntil(lambda: all(run.ended for run in runs), timeout=20_000)


# --- clicks ---------------------------------------------------------------------------------------


def clicked(desk, page, count=6):
    """Click so often on either kind of place, in the layers that the buttons make."""
    for label, column in (("good", 60.0), ("bad", 190.0)):
        desk.click(page.clicks.buttons[label])
        layer = page.clicks.layers[label]
        assert layer.mode == "add"
        assert list(desk.viewer.layers.selection) == [layer]
        for n in range(count):
            layer.add([20.0 + 35 * n, column])


def test_clicks_teach_at_once_and_what_is_learnt_lies_beside_the_stain(desk, judged, plate):
    page = judged
    page.learn_fold.heading.setChecked(True)
    assert "5 good and 5 bad more are missing" in page.clicks.count.text()
    assert not page.clicks.save.isEnabled()
    row, over = page.panel.row, page.clicks._over
    clicked(desk, page)
    assert page.clicks.buttons["bad"].isChecked()
    assert not page.clicks.buttons["good"].isChecked()
    assert page.clicks.count.text() == "6 good and 6 bad clicks."
    desk.wait(lambda: page.clicks.map is not None, 60)
    file = plate.with_name("plate.review") / "qc_artifacts.json"
    artifacts = read_artifacts(file)
    assert {click.field for click in artifacts.clicks} == {(row["path"], row["scene"], 0)}
    assert sorted({click.x for click in artifacts.clicks}) == [60.0, 190.0]
    assert "clicks were called so when left out" in page.clicks.notice.text
    assert "by chance 50 %" in page.clicks.notice.text
    map_ = page.clicks.map
    assert map_.scale.tolist() == over.scale[-2:].tolist()
    assert [str(u) for u in map_.units] == ["micrometer"] * 2
    assert source_of(map_).role == "other"
    assert page.clicks.layers["good"] in desk.viewer.layers
    names = [layer.name for layer in desk.viewer.layers]
    assert names.index("probability of bad") < names.index("good places")


def test_clicks_stay_with_their_field_and_come_back_when_it_is_judged_again(desk, judged):
    page = judged
    page.learn_fold.heading.setChecked(True)
    clicked(desk, page)
    desk.wait(lambda: page.clicks.map is not None, 60)
    first = page.panel.row
    other = next(row for row in page.panel.table.rows if row is not first)
    page.panel.table.choose(other)
    looked_at(desk, other["scene"])
    desk.wait(lambda: page.clicks.buttons["good"].isEnabled())
    assert not any(
        layer.name in ("good places", "probability of bad") for layer in desk.viewer.layers
    )
    assert page.clicks.count.text() == "6 good and 6 bad clicks."
    page.panel.table.choose(first)
    looked_at(desk, first["scene"])
    desk.wait(lambda: "good places" in [layer.name for layer in desk.viewer.layers])
    assert len(page.clicks.layers["bad"].data) == 6
    assert page.clicks.map is not None
    desk.click(page.start)
    desk.wait(lambda: page._run is None, 60)
    desk.wait(lambda: len(page.clicks.clicks) == 12)
    findings = [one for row in page.panel.table.rows for one in row["findings"]]
    assert [one for one in findings if one["check"] == "clicked"]


def test_too_few_clicks_are_not_lost_when_the_stain_is_judged_again(desk, judged):
    page = judged
    page.learn_fold.heading.setChecked(True)
    clicked(desk, page, count=2)
    desk.click(page.start)
    desk.wait(lambda: page._run is None, 60)
    desk.wait(lambda: page.clicks.buttons["good"].isEnabled())
    assert len(page.clicks.clicks) == 4
    assert "3 good and 3 bad more are missing" in page.clicks.count.text()


def test_what_was_learnt_is_saved_for_other_stains_and_chosen_there(desk, judged, tmp_path):
    page = judged
    page.learn_fold.heading.setChecked(True)
    clicked(desk, page)
    desk.wait(page.clicks.save.isEnabled, 60)
    page.lesson.save(str(tmp_path / "a.json"))
    desk.wait(lambda: (tmp_path / "a.json").exists())
    assert len(read_artifacts(tmp_path / "a.json").clicks) == 12
    page.source.set_artifacts(str(tmp_path / "a.json"))
    assert page.settings("r").artifacts == str(tmp_path / "a.json")
    page.source.set_artifacts(None)
    assert page.settings("r").artifacts is None
    desk.click(page.clicks.forget_all)
    assert page.clicks.clicks == []
    assert "5 good and 5 bad more are missing" in page.clicks.count.text()


def test_drift_stands_below_the_map_and_what_cannot_be_told_with_it(desk, page):
    desk.click(page.start)
    desk.wait(lambda: page.panel.isVisible(), 60)
    assert page.panel.drift.text().endswith(
        "Cannot be told: drift over the plate of plate, differences between plates, drift with the "
        "order of acquisition."
    )
    assert "there are 4 wells, and 8 are needed." in page.panel.drift.toolTip()
    one = {"words": "Noise rises with the row (Spearman +0.90 < 1)."}
    said = drift_as_html(
        {"found": [one], "tests": 7, "wells": 12, "untold": ["Plates: not assessable, one."]}
    )
    assert "<b>Drift</b>: Noise rises with the row (Spearman +0.90 &lt; 1)." in said
    assert said.endswith("Cannot be told: plates.")
    nothing = {"found": [], "tests": 7, "wells": 12, "untold": []}
    assert "No drift was found in 7 comparisons." in drift_as_html(nothing)
    no_plate = {"found": [], "tests": 0, "wells": 0, "untold": ["Drift: not assessable, none."]}
    assert drift_as_html(no_plate) == ""
    shown = {**page._result, "drift": {**nothing, "found": [one]}}
    page.panel.show_result(shown, str(page._asked.prediction), "plate")
    assert page.panel.drift.isVisible()
    assert "Noise rises with the row" in page.panel.drift.text()
