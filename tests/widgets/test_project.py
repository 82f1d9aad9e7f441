"""Work goes on where it stopped: a project keeps what the viewer showed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_virtualstain.datasets.project import Project
from napari_virtualstain.napari_io.source import source_of


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_virtualstain.widgets._project._LOOK_MS", 100)
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def panel(desk):
    return desk.dock.project


def written(desk, panel, wanted):
    """Wait until what is written down is as wanted."""
    desk.wait(lambda: wanted(Project(panel.project.folder).view))


def test_a_stain_goes_into_the_project_and_comes_back_with_all_that_was_shown(
    desk, panel, field_folder, tiny_model, tmp_path
):
    folder = tmp_path / "night"
    desk.open(field_folder / "brightfield.ome.zarr")
    panel.make(str(folder))
    desk.dock.show_page("stain")
    assert desk.stain.out.placeholderText() == "in the project: stains/"
    desk.choose_model(tiny_model, tile=128, dtype="float16")
    desk.click(desk.stain.all)
    desk.idle()
    (out,) = (folder / "stains").iterdir()
    assert str(out) in desk.stain.notice.text
    assert not desk.stain.keep.isVisible()  # nothing would be lost
    shown = desk.predicted()
    next(iter(shown.values())).opacity = 0.4
    desk.viewer.scene.camera.zoom = 3.25
    written(desk, panel, lambda v: len(v.layers) == 1 + len(shown) and v.camera["zoom"] == 3.25)
    written(desk, panel, lambda v: 0.4 in [layer["opacity"] for layer in v.layers])
    desk.wait(lambda: [run.status for run in Project(folder).runs] == ["complete"])

    desk.dock.show_page("start")
    desk.click(panel.leave)
    desk.viewer.layers.clear()
    desk.choose_model("demo", tile="", dtype="float32")
    assert desk.stain.out.placeholderText() == "temporary, until you keep it"
    (again,) = [b for b in panel.findChildren(QPushButton) if b.text() == "Go on with night"]
    desk.click(again)
    desk.wait(lambda: len(desk.viewer.layers) == 1 + len(shown))
    assert set(desk.predicted()) == set(shown)
    assert desk.predicted()[next(iter(shown))].opacity == 0.4
    assert desk.viewer.scene.camera.zoom == 3.25
    desk.wait(lambda: desk.stain.model.name == str(tiny_model))
    assert desk.stain.settings["dtype"].value == "float16"


def test_what_another_project_showed_goes_and_layers_of_others_stay(
    desk, panel, bystander, field_folder, tmp_path
):
    Project.create(tmp_path / "one")
    other = Project.create(tmp_path / "other")
    panel.open_at(str(tmp_path / "one"))
    desk.wait(lambda: panel.project is not None)
    desk.open(field_folder / "stains.ome.zarr")
    desk.wait(lambda: len(Project(tmp_path / "one").view.layers) == 5)
    panel.open_at(str(other.folder))
    desk.wait(lambda: getattr(panel.project, "name", "") == "other")
    ours = [layer for layer in desk.viewer.layers if source_of(layer) is not None]
    assert ours == []
    assert len(Project(tmp_path / "one").view.layers) == 5  # written down before they went


def test_an_image_that_is_away_is_said_and_stays_in_the_project(
    desk, panel, field_folder, tmp_path
):
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "a.ome.zarr")
    desk.open(tmp_path / "a.ome.zarr")
    panel.make(str(tmp_path / "night"))
    written(desk, panel, lambda view: len(view.layers) == 5)
    panel.close_project()
    desk.viewer.layers.clear()
    shutil.move(tmp_path / "a.ome.zarr", tmp_path / "away")
    panel.open_at(str(tmp_path / "night"))
    desk.wait(lambda: panel.project is not None)
    assert "a.ome.zarr" in panel.notice.text
    panel.look()
    panel.save()
    assert len(Project(tmp_path / "night").view.layers) == 5


def test_what_is_no_project_is_one_sentence_and_nothing_changes(desk, panel, tmp_path):
    panel.open_at(str(tmp_path))
    assert panel.notice.text.endswith("or make a new project there.")
    Project.create(tmp_path / "there")
    panel.make(str(tmp_path / "there"))
    assert panel.notice.text.endswith("Open it, or choose another folder.")
    assert panel.project is None


def test_a_project_whose_folder_goes_away_says_so_once(
    desk, panel, field_folder, tmp_path, monkeypatch
):
    panel.make(str(tmp_path / "night"))
    desk.open(field_folder / "stains.ome.zarr")
    written(desk, panel, lambda view: len(view.layers) == 5)
    shutil.rmtree(tmp_path / "night")
    (tmp_path / "night").write_text("a file where the folder was")
    desk.viewer.layers.pop()
    desk.wait(lambda: "cannot be written" in panel.notice.text)
    assert len(desk.viewer.layers) == 4


def test_the_buttons_ask_for_a_folder(desk, panel):
    for button in (panel.new, panel.open):
        desk.click(button)
        (dialog,) = panel.findChildren(QFileDialog)
        assert dialog.isVisible()
        dialog.reject()
        desk.wait(lambda: not panel.findChildren(QFileDialog))


def test_a_folder_that_was_deleted_is_not_offered(desk, panel, tmp_path):
    panel.make(str(tmp_path / "night"))
    shutil.rmtree(Path(panel.project.folder))
    panel.close_project()
    names = [button.text() for button in panel.findChildren(QPushButton)]
    assert "Go on with night" not in names
