"""The page Verdict: sentences of a plate, phenotypes, and a blind review answered with two keys."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from drawn_plates import camera, drawn_plate, write_labels, write_plate
from PIL import Image as Pictures
from qtpy.QtCore import Qt

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.jobs.blind_page import answers_text, read_page
from napari_virtualstain.widgets import _kept_report


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """True stains, a prediction that loses every third nucleus, and a layout; read-only."""
    root = tmp_path_factory.mktemp("plate")
    fields, rng = drawn_plate(), np.random.default_rng(3)
    shots = [camera(1), camera(2)]
    write_plate(root / "truth.ome.zarr", fields, lambda f: shots[0](f.light()))
    write_plate(
        root / "lossy.ome.zarr", fields, lambda f: shots[1](f.without(0.33, rng).light()),
        record={"job": "stain", "model": {"name": "lossy"}},
    )  # fmt: skip
    targets = {"large": "size", "bright": "light", "few": "size", "nothing": "light"}
    write_labels(root / "labels.csv", fields, targets)
    return root


@pytest.fixture
def page(desk, plate):
    desk.dock.show_page("verdict")
    page = desk.verdict
    page.prediction.set_path(str(plate / "lossy.ome.zarr"))
    page.truth.set_path(str(plate / "truth.ome.zarr"))
    page.layout_table.set_path(str(plate / "labels.csv"))
    page.controls.setText("DMSO")
    return page


def test_an_empty_viewer_says_what_to_do(desk):
    desk.dock.show_page("verdict")
    page = desk.verdict
    assert page.notice.text == (
        "Open a field of the predicted plate and one of the true stains, or choose folders with "
        "them."
    )
    for button in (page.start, page.phenotype, page.recognise, page.blind, page.copy):
        assert not button.isEnabled()


def test_a_plate_of_which_a_field_is_open_is_offered(desk, plate):
    desk.open(plate / "truth.ome.zarr")
    desk.open(plate / "lossy.ome.zarr", page="verdict")
    desk.wait(desk.verdict.start.isEnabled)
    settings = desk.verdict.settings("out")
    assert Path(settings.prediction).name == "lossy.ome.zarr"
    assert Path(settings.target).name == "truth.ome.zarr"
    assert settings.match == ("DNA=DNA", "ER=ER")
    assert settings.scene is None


def test_what_was_concluded_stands_there_in_sentences_and_leads_to_the_report(
    desk, page, tmp_path, monkeypatch
):
    desk.click(page.start)
    desk.wait(lambda: bool(page.words.text()), 60)
    said = page.words.text()
    report = json.loads((page.report.page.parent / "verdict.json").read_text(encoding="utf-8"))
    assert report["result"]["state"] == "changed"
    for one in report["result"]["findings"]:
        assert one["sentence"].split("<")[0].split("&")[0] in said
    assert "✗</b></span> <b>counts</b> changed: " in said
    opened = []
    monkeypatch.setattr(
        _kept_report.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile())
    )
    page.report.look.click()
    assert opened == [str(page.report.page)]
    assert Path(opened[0]).name == "verdict.html"
    page.report.save_to(str(tmp_path / "kept"))
    desk.wait(lambda: page.notice.text == f"Kept in {tmp_path / 'kept'}.")
    assert (tmp_path / "kept" / "wells.csv").exists()


def test_a_network_is_taught_treatments_and_asked_of_both(desk, page):
    page.steps.setValue(10)
    page.folds.setValue(2)
    desk.click(page.recognise)
    desk.wait(lambda: bool(page.words.text()), 120)
    assert page.report.page.name == "recognise.html"
    kept = json.loads((page.report.page.parent / "recognise.json").read_text(encoding="utf-8"))
    assert kept["settings"]["steps"] == 10
    assert kept["result"]["sentence"].split("&")[0][:40] in page.words.text()


def test_without_a_table_no_treatments_can_be_taught(desk, page):
    page.layout_table.set_path(None)
    desk.click(page.recognise)
    assert page.notice.text == (
        "A network learns treatments from a table of them. Choose one beside Layout."
    )


def test_phenotypes_are_asked_of_both_plates_measured_alike(desk, page):
    page.moa.setText("moa")
    page.folds.setValue(4)
    desk.click(page.phenotype)
    desk.wait(lambda: bool(page.words.text()), 90)
    assert page.report.page.name == "phenotype.html"
    report = page.report.page.parent / "phenotype.json"
    result = json.loads(report.read_text(encoding="utf-8"))["result"]
    assert result["sentence"].split("&")[0][:40] in page.words.text()
    tables = json.loads(report.read_text(encoding="utf-8"))["settings"]
    both = []
    for name in ("prediction", "target"):
        with Path(tables[name]).open(encoding="utf-8", newline="") as file:
            both.append(list(csv.DictReader(file)))
    assert list(both[0][0]) == list(both[1][0])
    assert len(both[0]) == len(both[1])


@pytest.fixture
def review(desk, page):
    page.count.setValue(6)
    desk.click(page.blind)
    desk.wait(page.review.isVisible, 40)
    return page


def answers(page):
    with (page.review.folder / "answers.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["pair"]): row["answer"] for row in csv.DictReader(file)}


def test_keys_answer_at_once_go_back_and_are_scored_by_the_key(desk, review):
    panel = review.review
    key = json.loads((panel.folder / "key.json").read_text(encoding="utf-8"))
    real = {one["pair"]: one["real"] for one in key["pairs"]}
    first = panel.pair.number
    desk.qtbot.keyClick(panel, Qt.Key.Key_B)
    assert answers(review) == {first: "right"}
    desk.qtbot.keyClick(panel, Qt.Key.Key_Backspace)
    assert panel.pair.number == first
    assert panel.right.is_said
    keys = {"left": (Qt.Key.Key_Left, Qt.Key.Key_A), "right": (Qt.Key.Key_Right, Qt.Key.Key_B)}
    for number in range(panel.count):
        desk.qtbot.keyClick(panel, keys[real[panel.pair.number]][number % 2])
    desk.wait(lambda: "in 6 of 6 pairs" in review.words.text())
    assert answers(review) == real
    assert "1.000 (0.541 to 1.000)" in review.words.text()  # the share, and its interval
    score = json.loads((panel.folder / "score.json").read_text(encoding="utf-8"))
    assert score["result"]["score"]["right"] == 6
    assert review.report.page == panel.folder / "review.html"


def test_the_pictures_are_those_of_the_page_and_a_click_answers(desk, review):
    panel = review.review
    name, pairs = read_page(panel.folder / "review.html")
    assert panel.count == len(pairs) == 6
    picture = Pictures.open(io.BytesIO(panel.pair.left))
    assert picture.size == (160, 160)
    shown = panel.left.grab().toImage()
    assert shown.width() == panel.left.width() > 100
    first = panel.pair.number
    desk.qtbot.mouseClick(panel.left, Qt.MouseButton.LeftButton)
    assert answers(review) == {first: "left"}
    assert answers_text(name, {first: ("left", 0.0)}).splitlines()[1].startswith(f"{name},{first}")


def test_some_answers_can_be_scored_and_others_say_how_many_are_missing(desk, review):
    assert not review.review.score.isEnabled()
    desk.qtbot.keyClick(review.review, Qt.Key.Key_A)
    desk.click(review.review.score)
    desk.wait(lambda: "of 1 pairs" in review.words.text())
    assert "5 of 6 pairs are not answered" in review.notice.text


def test_the_command_asks_the_same(page):
    line = shlex.split(page.command())
    assert line[:2] == ["virtualstain", "verdict"]
    assert line[line.index("--controls") + 1] == "DMSO"
    assert line[line.index("--out") + 1].endswith("verdict")


def test_what_cannot_be_asked_is_said_in_a_sentence(desk, page):
    page.controls.setText("water")
    desk.click(page.start)
    desk.wait(lambda: "No treatment named 'water'." in page.notice.text, 40)


def test_another_page_is_no_review(tmp_path):
    with pytest.raises(
        MissingInputError, match=r"does not exist\. Choose the folder of a review\.$"
    ):
        read_page(tmp_path / "review.html")
    (tmp_path / "review.html").write_text("<h1>Hello</h1>", encoding="utf-8")
    with pytest.raises(ImageFileError, match=r"is no page of a blind review: .* Choose the folder"):
        read_page(tmp_path / "review.html")


def test_a_closing_viewer_ends_what_was_asked_for(desk, page):
    desk.click(page.start)
    desk.close()
    desk.wait(lambda: not desk.jobs.runs)
