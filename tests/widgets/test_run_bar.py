"""One bar for all runs: how far, how long, stopped, and what they said."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QObject, Signal

from napari_virtualstain.compute.run import Outcome, Run
from napari_virtualstain.compute.session import SessionState
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.words import duration


class QuietSession:
    def __init__(self):
        self.asked = []
        self.local = True

    def cancel(self, run):
        self.asked.append(("cancel", run.id))
        run.change(state="cancelling")

    def kill(self, run):
        self.asked.append(("kill", run.id))


class QuietJobs(QObject):
    """Jobs of which nothing is computed."""

    state_changed = Signal(object)
    run_changed = Signal(object)

    def __init__(self):
        super().__init__()
        self.session, self.runs = QuietSession(), ()
        self.state = SessionState(
            "ready", "ready", {"device": "cpu", "devices": {"cpu": "A fine one"}}
        )

    def run(self, name):
        run = Run(
            id=name, verb="plan", settings=PlanSettings(input="a"), urgent=False,
            on_change=self.run_changed.emit, session=self.session,
        )  # fmt: skip
        self.runs = (*self.runs, run)
        return run

    def say(self, name, words):
        self.state = SessionState(name, words, {})
        self.state_changed.emit(self.state)


@pytest.fixture
def jobs(qapp):
    return QuietJobs()


@pytest.fixture
def bar(make_napari_viewer, jobs, qtbot):
    bar = RunBar(make_napari_viewer(), jobs)
    bar.show()
    yield bar
    bar.close()
    bar.deleteLater()


def test_a_ready_process_is_named_by_its_device(bar, jobs):
    assert bar.title.text() == "Ready: A fine one"
    assert bar.details.text() == "nothing is running"
    assert not bar.cancel.isEnabled()
    jobs.say("warming", "loading the networks' library")
    assert bar.title.text() == "Loading the networks' library"
    jobs.say("failed", "It went away.")
    assert "It went away." in bar.log.toPlainText()


def test_progress_and_time_left_follow_the_run(bar, jobs):
    run = jobs.run("one")
    bar.announce(run, "Staining a field")
    run.change(state="running")
    assert (bar.title.text(), bar.details.text()) == ("Staining a field", "preparing")
    run.change(progress=(0, 8, "tiles stained"))
    run.change(progress=(4, 8, "tiles stained"))
    assert (bar.bar.value(), bar.bar.maximum()) == (4, 8)
    assert bar.details.text().startswith("4 of 8 tiles stained, ")
    assert bar.details.text().endswith(" s left")
    run.end(Outcome(state="done", result={}))
    assert bar.details.text() == "nothing is running"
    assert "Staining a field: done" in bar.log.toPlainText()


def test_runs_that_wait_are_counted(bar, jobs):
    first, second = jobs.run("one"), jobs.run("two")
    bar.announce(first, "First")
    first.change(state="running")
    bar.announce(second, "Second")
    first.change(progress=(1, 8, "tiles stained"))
    assert bar.title.text() == "First"
    assert bar.details.text().endswith("; 1 waiting")
    first.end(Outcome(state="cancelled", sentence="Cancelled."))
    second.change(state="running")
    assert bar.title.text() == "Second"


def test_runs_without_a_title_are_not_shown(bar, jobs):
    run = jobs.run("plan")
    run.change(state="running")
    assert bar.title.text() == "Ready: A fine one"


def test_notes_are_logged_once_in_the_words_of_the_form(bar, jobs):
    run = jobs.run("one")
    bar.announce(run, "One")
    run.change(state="running")
    run.change(notes=["taken as is; choose with --z"])
    run.change(notes=["taken as is; choose with --z", "and more"])
    said = bar.log.toPlainText()
    assert said.count("taken as is; choose with “Z planes”") == 1
    assert said.count("and more") == 1


def test_cancel_asks_and_a_run_that_does_not_listen_can_be_ended(bar, jobs, qtbot):
    run = jobs.run("one")
    bar._patience.setInterval(10)
    bar.announce(run, "One")
    run.change(state="running")
    bar.cancel.click()
    assert bar.details.text().startswith("stopping after this tile")
    qtbot.waitUntil(lambda: bar.cancel.text() == "End its process")
    bar.cancel.click()
    assert jobs.session.asked == [("cancel", "one"), ("kill", "one")]
    run.end(Outcome(state="cancelled", sentence="Cancelled; its process was ended."))
    assert bar.cancel.text() == "Cancel"
    assert not bar.cancel.isEnabled()


def test_a_run_that_waits_is_shown_and_can_be_cancelled(bar, jobs):
    run = jobs.run("one")
    bar.announce(run, "One")
    assert (bar.title.text(), bar.details.text()) == ("One", "waiting for another run")
    jobs.say("starting", "starting the compute process")
    assert bar.details.text() == "starting the compute process"
    bar.cancel.click()
    assert jobs.session.asked == [("cancel", "one")]


def test_a_second_click_on_cancel_kills_nothing(bar, jobs):
    run = jobs.run("one")
    bar.announce(run, "One")
    run.change(state="running")
    bar.cancel.click()
    bar.cancel.click()
    assert jobs.session.asked == [("cancel", "one")]


def test_all_runs_are_cancelled_by_one_click(bar, jobs):
    runs = [jobs.run(name) for name in ("one", "two")]
    for run in runs:
        bar.announce(run, run.id)
    runs[0].change(state="running")
    assert bar.cancel_all.isVisible()
    bar.cancel_all.click()
    assert jobs.session.asked == [("cancel", "one"), ("cancel", "two")]


def test_a_process_elsewhere_is_not_offered_to_be_ended(bar, jobs, qtbot):
    jobs.session.local = False
    run = jobs.run("one")
    bar._patience.setInterval(1)
    bar.announce(run, "One")
    run.change(state="running")
    bar.cancel.click()
    qtbot.waitUntil(lambda: not bar._patience.isActive())
    assert bar.cancel.text() == "Cancel"


def test_the_log_folds_out(bar):
    assert not bar.log.isVisible()
    bar.log_button.click()
    assert bar.log.isVisible()
    bar.write("a line")
    assert bar.log.toPlainText().endswith("  a line")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_durations_are_said_in_the_unit_that_suits(seconds, text):
    assert duration(seconds) == text


def test_a_theme_is_followed(bar):
    before = bar.dot.styleSheet()
    bar._viewer.theme = "light"
    bar._jobs.say("failed", "It went away.")
    assert bar.dot.styleSheet() != before
