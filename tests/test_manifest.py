"""napari finds what the plugin offers: an invalid manifest would hide it without a word."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("npe2")

from npe2 import PluginManager, PluginManifest

import napari_virtualstain

NAME = "napari-virtualstain"
FILE = Path(napari_virtualstain.__file__).parent / "napari.yaml"


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(FILE)


def test_the_manifest_is_valid_and_its_python_names_are_there(manifest):
    manifest.validate_imports()
    assert manifest.name == NAME
    assert manifest.schema_version == "0.3.0"


def test_the_installed_package_leads_to_this_manifest():
    found = PluginManifest.from_distribution(NAME)
    assert found.name == NAME
    assert [c.id for c in found.contributions.commands] == [f"{NAME}.sample_demo_field"]


def test_what_is_contributed(manifest):
    offered = {kind for kind, value in manifest.contributions if value}
    assert offered == {"commands", "sample_data"}
    (sample,) = manifest.contributions.sample_data
    assert sample.key == "demo_field"
    commands = {command.id: command for command in manifest.contributions.commands}
    assert sample.command in commands
    assert all(name.startswith(f"{NAME}.") for name in commands)


def test_every_command_is_a_function_of_this_package(manifest):
    for command in manifest.contributions.commands:
        module, _, attribute = command.python_name.partition(":")
        assert module.startswith("napari_virtualstain.")
        assert callable(getattr(import_module(module), attribute))


def test_the_sample_opens_through_napari_s_own_way(manifest):
    plugins = PluginManager()
    plugins.register(manifest)
    plugins.activate(NAME)
    (sample,) = manifest.contributions.sample_data
    layers = sample.open(_registry=plugins.commands)
    assert len(layers) == 6
    for _, keywords, kind in layers:
        assert kind == "image"
        assert {"name", "colormap", "scale", "units", "axis_labels"} <= set(keywords)


def test_the_manifest_at_the_top_is_the_one_that_is_shipped():
    top = Path(__file__).parents[1] / "napari.yaml"
    if not top.exists():
        pytest.skip("no repository around the tests")
    same = top.read_text().strip()
    # A checkout without symbolic links holds the path instead.
    assert same in (FILE.read_text().strip(), "src/napari_virtualstain/napari.yaml")
