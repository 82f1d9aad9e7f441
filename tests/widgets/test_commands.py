"""What the command palette offers, called as napari calls it."""

from __future__ import annotations

import pytest

from napari_virtualstain.widgets.main import MainWidget

NAME = "napari-virtualstain"


@pytest.fixture
def palette(make_napari_viewer, jobs, qtbot, monkeypatch):
    """A viewer and what runs a command of our plugin in it."""
    from npe2 import PluginManager

    monkeypatch.setattr("napari_virtualstain.widgets.main.jobs_of_application", lambda: jobs)
    viewer = make_napari_viewer(show=True)
    commands = PluginManager.instance().commands

    def call(name):
        from napari._app_model import get_app_model

        app = get_app_model()
        function = commands.get(f"{NAME}.{name}")
        return app.injection_store.inject(function)()

    def dock():
        return viewer.window._qt_window.findChild(MainWidget)

    yield viewer, call, dock
    viewer.close()
    qtbot.waitUntil(lambda: not jobs.runs, timeout=20_000)


def test_every_command_is_in_the_manifest():
    from npe2 import PluginManifest

    commands = PluginManifest.from_distribution(NAME).contributions.commands
    assert {
        f"{NAME}.{name}"
        for name in (
            "stain_view",
            "stain_all",
            "explain_pixel",
            "tune_model",
            "diagnose",
            "open_dock",
        )
    } <= {command.id for command in commands}


def test_diagnose_opens_the_first_page_and_begins(palette, jobs, qtbot):
    _, call, dock = palette
    call("diagnose")
    qtbot.waitUntil(lambda: any(run.verb == "doctor" for run in jobs.runs))
    assert dock().pages.currentIndex() == 0
    for run in jobs.runs:
        run.cancel()


@pytest.mark.parametrize("name", ["stain_view", "stain_all"])
def test_staining_begins_from_the_palette(palette, qtbot, jobs, field_folder, name):
    viewer, call, dock = palette
    viewer.open(field_folder / "brightfield.ome.zarr", plugin=NAME)
    call(name)
    widget = dock()
    assert widget.pages.currentIndex() == 2
    qtbot.waitUntil(lambda: any(run.verb == "stain" for run in jobs.runs))
    (run,) = (run for run in jobs.runs if run.verb == "stain")
    assert (run.settings.region is not None) is (name == "stain_view")
    assert run.settings.input == str(field_folder / "brightfield.ome.zarr")
    run.cancel()


def test_without_an_image_the_command_says_what_is_needed(palette, jobs):
    _, call, dock = palette
    call("stain_all")
    assert dock().stain.notice.text == (
        "Open a bright-field image first, on the page Load or by dropping it on the viewer."
    )
    assert not any(run.verb == "stain" for run in jobs.runs)


def test_a_second_command_uses_the_same_dock(palette):
    viewer, call, dock = palette
    call("stain_all")
    first = dock()
    call("stain_view")
    assert viewer.window._qt_window.findChildren(MainWidget) == [first]


def test_explaining_waits_for_a_click_from_the_palette(palette, field_folder):
    viewer, call, dock = palette
    viewer.open(field_folder / "brightfield.ome.zarr", plugin=NAME)
    call("explain_pixel")
    widget = dock()
    assert widget.pages.currentWidget().content is widget.explain
    assert widget.explain.pick.isChecked()


def test_tuning_is_reached_from_the_palette(palette):
    _, call, dock = palette
    call("tune_model")
    assert dock().pages.tabText(dock().pages.currentIndex()) == "Tune"
    assert dock().tune.notice.text.startswith("Add pairs of bright field and true stains")
