"""The session in the terms of Qt, and slow work in threads."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import QObject, QThread
from qtpy.QtWidgets import QApplication

from napari_virtualstain.compute.session import Session
from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.widgets._jobs import Background, Jobs


@pytest.fixture
def background(qapp):
    parent = QObject()
    background = Background(parent)
    background.parent_kept = parent
    return background


def fail(sentence):
    raise AssertionError(sentence)


def test_temporary_stores_have_names_of_their_own_and_go_with_the_session(qapp):
    jobs = Jobs(Session())
    paths = [jobs.temporary("input.ome.zarr") for _ in range(3)]
    assert len(set(paths)) == 3
    paths[0].mkdir()
    jobs.close()
    assert not paths[0].parent.exists()


def test_changes_of_a_session_that_was_handed_in_are_told_in_the_viewer_s_thread(qapp, qtbot):
    session = Session()
    jobs, heard = Jobs(session), []
    jobs.state_changed.connect(lambda state: heard.append((state.name, QThread.currentThread())))
    jobs.close()
    qtbot.waitUntil(lambda: bool(heard))
    assert heard == [("closed", QApplication.instance().thread())]


def test_slow_work_is_done_in_a_thread_and_told_in_the_viewer_s(background, qtbot):
    told = []
    background.run(
        "work",
        threading.get_ident,
        lambda where: told.append((where, threading.get_ident())),
        fail,
    )
    qtbot.waitUntil(lambda: bool(told))
    ((worker, teller),) = told
    assert worker != teller == threading.get_ident()


def test_what_fails_is_told_as_a_sentence(background, qtbot):
    def work():
        raise MissingInputError("'a.tif' does not exist. Check the path.")

    told = []
    background.run("work", work, fail, told.append)
    qtbot.waitUntil(lambda: bool(told))
    assert told == ["'a.tif' does not exist. Check the path."]


def test_the_answer_to_an_older_question_is_dropped(background, qtbot):
    go_on, told = threading.Event(), []

    def slow():
        go_on.wait(5)
        return "old"

    background.run("scenes", slow, told.append, fail)
    background.run("scenes", lambda: "new", told.append, fail)
    background.run("other", lambda: "other", told.append, fail)
    qtbot.waitUntil(lambda: len(told) == 2)
    go_on.set()
    qtbot.waitUntil(lambda: not any(t.name == "virtualstain-scenes" for t in threading.enumerate()))
    QApplication.processEvents()
    assert sorted(told) == ["new", "other"]


def test_work_that_outlives_its_widget_is_forgotten(background, qtbot):
    go_on, told = threading.Event(), []

    def slow():
        go_on.wait(5)

    background.run("work", slow, told.append, fail)
    background.parent_kept.deleteLater()
    gone = []
    background.destroyed.connect(lambda: gone.append(True))
    qtbot.waitUntil(lambda: bool(gone))
    go_on.set()
    qtbot.waitUntil(lambda: not any(t.name == "virtualstain-work" for t in threading.enumerate()))
    assert told == []
