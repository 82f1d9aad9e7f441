"""What napari's preferences say of this plugin is what the dock opens with."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_virtualstain
from napari_virtualstain.widgets import main as dock
from napari_virtualstain.widgets._preferences import Preferences, read_preferences

KIND = {"string": str, "number": float, "boolean": bool}


@pytest.fixture
def opened(make_napari_viewer, jobs, monkeypatch):
    """Opens the dock of somebody with preferences."""
    docks = []

    def open_with(**wanted):
        monkeypatch.setattr(dock, "read_preferences", lambda: Preferences(**wanted))
        docks.append(dock.MainWidget(make_napari_viewer(), jobs=jobs))
        return docks[-1]

    yield open_with
    for one in docks:
        one.end()
        one.deleteLater()
    jobs.address = None


def test_the_manifest_has_each_preference_with_its_default():
    manifest = PluginManifest.from_file(Path(napari_virtualstain.__file__).parent / "napari.yaml")
    (kept,) = manifest.contributions.configurations.values()
    assert set(kept.properties) == {field.name for field in fields(Preferences)}
    for name, told in kept.properties.items():
        default = getattr(Preferences(), name)
        assert told.default == default
        assert isinstance(default, KIND[told.type])
        assert told.title
        assert told.description.endswith(".")


def test_napari_keeps_them_for_this_plugin(tmp_path):
    from napari.settings import _PLUGIN_SETTINGS, get_plugin_settings

    was = dict(_PLUGIN_SETTINGS)
    try:
        own = get_plugin_settings("napari-virtualstain").virtual_staining
        before = own.memory_gb
        own.memory_gb = 3.0
        assert read_preferences().memory_gb == 3.0
        own.memory_gb = before
    finally:
        _PLUGIN_SETTINGS.clear()
        _PLUGIN_SETTINGS.update(was)


def test_a_script_without_napari_s_plugins_gets_the_defaults(monkeypatch):
    def nobody(name):
        raise KeyError(name)

    monkeypatch.setattr("napari.settings.get_plugin_settings", nobody)
    assert read_preferences() == Preferences()


def test_both_forms_of_runs_take_them(opened, tiny_model):
    found = opened(model=str(tiny_model), device="cpu", memory_gb=1.5)
    for form in (found.stain.form, found.queue.form):
        values = form.values()
        assert (values["model"], float(values["memory"])) == (str(tiny_model), 1.5)
    assert found.stain.model.card is not None


def test_without_any_the_forms_are_as_they_were(opened):
    values = opened().stain.form.values()
    assert (values["model"], values["device"]) == ("demo", "auto")
    assert values.get("memory") is None


def test_a_device_that_this_machine_does_not_have_is_left_to_the_program(opened, jobs, qtbot):
    found = opened(device="mps")
    found.stain.form._offer_devices()
    assert found.stain.form.values()["device"] in {"auto", "mps"}


def test_runs_go_to_the_scheduler_that_is_named(opened, jobs):
    opened(scheduler="tls://host:8786")
    assert jobs.address == "tls://host:8786"


def test_an_address_that_is_none_leaves_runs_here(opened, jobs):
    opened(scheduler="host")
    assert jobs.address is None


@pytest.mark.parametrize("wanted", [True, False])
def test_keys_are_bound_if_they_are_wanted(opened, wanted):
    found = opened(keys=wanted)
    assert bool(found.viewer.keymap) is wanted
