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
    assert f"{NAME}.sample_demo_field" in [c.id for c in found.contributions.commands]


def test_what_is_contributed(manifest):
    offered = {kind for kind, value in manifest.contributions if value}
    assert offered >= {"commands", "sample_data", "readers", "writers"}
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


@pytest.fixture
def plugins(manifest):
    manager = PluginManager()
    manager.register(manifest)
    manager.activate(NAME)
    return manager


CLAIMED = {
    "field.ome.zarr": True, "field.zarr": True, "field.ome.tif": True, "field.OME.TIFF": True,
    "field.tif": True, "my.field.tiff": True, "Index.idx.xml": True, "Index.xml": True,
    "Index.ref.xml": True, "notes.xml": False, "field.txt": False, "field.nd2": True,
    "field.czi": True, "field.LIF": True, "field.lsm": True, "field.ics": True, "field.ids": True,
    "field.companion.ome": True, "field.oib": False,
}  # fmt: skip


@pytest.mark.parametrize(("name", "claimed"), CLAIMED.items(), ids=CLAIMED)
def test_the_reader_claims_names_of_images(plugins, tmp_path, name, claimed):
    (tmp_path / name).write_bytes(b"")
    found = list(plugins.iter_compatible_readers([str(tmp_path / name)]))
    assert [reader.command for reader in found] == [f"{NAME}.get_reader"] * claimed


def test_the_reader_claims_folders(plugins, tmp_path):
    (found,) = plugins.iter_compatible_readers([str(tmp_path)])
    assert found.command == f"{NAME}.get_reader"


WRITERS = {
    "a.ome.zarr": "save_ome_zarr", "a.zarr": "save_ome_zarr", "a.ome.tif": "save_ome_tiff",
    "a.ome.tiff": "save_ome_tiff", "a.tif": None, "a.png": "save_png",
}  # fmt: skip


@pytest.mark.parametrize(("name", "command"), WRITERS.items(), ids=WRITERS)
@pytest.mark.parametrize("count", [1, 5])
def test_the_writers_take_any_number_of_images_by_their_ending(plugins, name, command, count):
    writer, _ = plugins.get_writer(name, ["image"] * count)
    assert (writer and writer.command) == (command and f"{NAME}.{command}")
    assert plugins.get_writer(name, ["image", "points"])[0] is None


def test_the_manifest_at_the_top_is_the_one_that_is_shipped():
    top = Path(__file__).parents[1] / "napari.yaml"
    if not top.exists():
        pytest.skip("no repository around the tests")
    same = top.read_text().strip()
    # A checkout without symbolic links holds the path instead.
    assert same in (FILE.read_text().strip(), "src/napari_virtualstain/napari.yaml")
