"""What went wrong can be copied as a report, on every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from qtpy.QtWidgets import QApplication

import napari_virtualstain.widgets as widgets
from napari_virtualstain.widgets._notice import Notice

PAGES = ("compare", "explain", "load", "measure", "models", "qc", "queue", "stain", "start", "tune")


@pytest.fixture
def notice(make_napari_viewer, qtbot):
    found = Notice(make_napari_viewer())
    qtbot.addWidget(found)
    return found


def test_an_error_can_be_copied_with_versions_and_system(notice):
    notice.fail("There is no file. Check the path.")
    assert not notice.copy.isHidden()
    notice.copy.click()
    said = QApplication.clipboard().text()
    assert said.startswith("There is no file. Check the path.\n")
    assert re.search(r"versions: .*torch [\d.]+.*, Python 3\.\d+", said)
    assert "Traceback" not in said


def test_the_traceback_of_what_is_being_handled_is_in_the_report(notice):
    try:
        raise ValueError("of a test")
    except ValueError as error:
        notice.fail(str(error))
    notice.copy.click()
    assert "Traceback (most recent call last)" in QApplication.clipboard().text()
    assert "ValueError: of a test" in QApplication.clipboard().text()


def test_a_report_that_is_given_comes_first(notice):
    notice.fail("It failed.", "verb: stain\nsettings: {}")
    notice.copy.click()
    assert QApplication.clipboard().text().startswith("verb: stain\nsettings: {}\nversions: ")


@pytest.mark.parametrize(
    "say", [lambda n: n.hint("x"), lambda n: n.warn("x"), lambda n: n.fail("x", aloud=False)],
    ids=["a hint", "a doubt", "while somebody types"],
)  # fmt: skip
def test_there_is_nothing_to_report_where_nothing_has_gone_wrong(say, notice):
    notice.fail("before")
    say(notice)
    assert notice.copy.isHidden()


def test_every_page_says_errors_in_a_notice():
    folder = Path(widgets.__file__).parent
    for page in PAGES:
        text = (folder / f"{page}.py").read_text(encoding="utf-8")
        assert "self.notice = Notice(viewer)" in text, page
    shown = {file.name for file in folder.glob("*.py") if "show_error(" in file.read_text("utf-8")}
    assert shown == {"_notice.py"}
