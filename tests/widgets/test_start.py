"""The page of the first click, and the diagnosis."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets.start import display_checks


def test_the_first_page_says_the_three_steps(desk):
    assert desk.dock.pages.currentIndex() == 0
    assert desk.start.file.isVisible()


def test_the_sample_opens_with_a_click(desk):
    desk.click(desk.start.sample)
    desk.wait(lambda: len(desk.viewer.layers) == 6, 60)
    desk.wait(lambda: desk.fields.all)
    assert {layer.name for layer in desk.viewer.layers} >= {"DNA", "Mito"}


@pytest.mark.parametrize("name", ["file", "folder"])
def test_opening_goes_to_the_page_load_and_asks(desk, name):
    desk.click(getattr(desk.start, name))
    assert desk.dock.pages.currentIndex() == 1
    (dialog,) = desk.load.findChildren(QFileDialog)
    assert dialog.isVisible()
    dialog.reject()


def test_the_viewer_adds_how_it_draws(desk):
    viewer, opengl = display_checks(desk.viewer)
    assert viewer.found.startswith("napari ")
    assert "theme dark" in viewer.found
    assert "textures up to" in opengl.found


@pytest.mark.slow
def test_diagnose_shows_a_report_that_can_be_copied(desk):
    desk.click(desk.start.diagnose)
    assert not desk.start.diagnose.isEnabled(), "once at a time"
    desk.wait(desk.start.report.isVisible, 90)
    desk.wait(lambda: not desk.jobs.runs)
    text = desk.start.report.toPlainText()
    for words in (
        "napari",
        "OpenGL",
        "torch",
        "compute process",
        str(desk.jobs.state.worker["pid"]),
    ):
        assert words in text
    assert desk.start.diagnose.isEnabled()
    assert desk.start.notice.text
    desk.click(desk.start.copy)
    assert QApplication.clipboard().text() == text


def test_a_diagnosis_that_fails_is_one_sentence(desk, monkeypatch):
    desk.click(desk.start.diagnose)
    (run,) = (run for run in desk.jobs.runs if run.verb == "doctor")
    run.cancel()
    desk.wait(lambda: run.ended, 60)
    desk.wait(desk.start.diagnose.isEnabled)
    assert desk.start.notice.text == words_of(run.outcome.sentence)
