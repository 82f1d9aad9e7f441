"""What a viewer showed, it shows again: layers, roles, looks, and the place in view."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Layer

from napari_virtualstain.datasets.project import Project
from napari_virtualstain.datasets.project_entries import View
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain import run as stain
from napari_virtualstain.napari_io.project_view import apply_camera, reopen, view_of
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.napari_io.source import source_of, tagged


@pytest.fixture(scope="module")
def stained(tmp_path_factory, field_folder, tiny_model):
    out = tmp_path_factory.mktemp("stained") / "stain.ome.zarr"
    image = str(field_folder / "brightfield.ome.zarr")
    stain(StainSettings(input=image, model=str(tiny_model), out=str(out)))
    return out


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.create(tmp_path / "project")


def shown(*paths) -> ViewerModel:
    viewer = ViewerModel()
    add(viewer, [layer for path in paths for layer in open_layers(str(path))])
    return viewer


def add(viewer, layers):
    for layer in layers:
        viewer.add_layer(Layer.create(*layer))


def seen(viewer, project, **values) -> View:
    values = {"page": "stain", "forms": {"stain": {"model": "demo"}}, **values}
    view = view_of(viewer, project, passing=lambda path: "temporary" in path, **values)
    project.set_view(view)
    return view


def test_layers_come_back_as_they_were(project, field_folder, stained):
    viewer = shown(field_folder / "brightfield.ome.zarr", field_folder / "stains.ome.zarr", stained)
    for number, layer in enumerate(viewer.layers):
        layer.visible = number % 2 == 0
        layer.opacity = 0.25 + 0.05 * number
        layer.gamma = 1.5
        layer.contrast_limits = (number, 100 + number)
    viewer.layers[0].colormap = "magma"
    seen(viewer, project)
    found = reopen(Project(project.folder))
    assert found.lost == ()
    again = ViewerModel()
    add(again, found.layers)
    assert [layer.name for layer in again.layers] == [layer.name for layer in viewer.layers]
    for one, other in zip(viewer.layers, again.layers, strict=True):
        for name in ("visible", "opacity", "gamma", "blending", "scale", "units"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert tuple(other.contrast_limits) == tuple(one.contrast_limits)
        assert source_of(other) == source_of(one)
    assert again.layers[0].colormap.name == "magma"


def test_images_runs_and_models_are_noted_once(project, field_folder, stained):
    viewer = shown(field_folder / "brightfield.ome.zarr", field_folder / "stains.ome.zarr", stained)
    first = seen(viewer, project)
    files = sorted(p.name for p in project.folder.rglob("*.json"))
    assert seen(viewer, project) == first
    assert sorted(p.name for p in project.folder.rglob("*.json")) == files
    assert len(project.inputs) == 2
    assert len(project.runs) == len(project.models) == 1
    assert project.runs[0].input == project.inputs[0].id


def test_a_role_that_was_changed_is_kept(project, field_folder):
    viewer = shown(field_folder / "stains.ome.zarr")
    layer = viewer.layers[0]
    changed = source_of(layer).with_role("truth", "Hoechst").as_confirmed()
    layer.metadata = tagged(layer.metadata, changed)
    other = viewer.layers[1]
    other.metadata = tagged(other.metadata, source_of(other).with_role("other"))
    seen(viewer, project)
    back = [source_of(keywords["metadata"]) for _, keywords, _ in reopen(project).layers]
    assert (back[0].role, back[0].stain, back[0].confirmed) == ("truth", "Hoechst", True)
    assert back[1].role == "other"


def test_what_goes_with_the_session_and_what_is_in_memory_is_not_kept(
    project, field_folder, tmp_path
):
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "temporary.ome.zarr")
    viewer = shown(tmp_path / "temporary.ome.zarr")
    viewer.add_image(np.zeros((4, 4)))
    assert seen(viewer, project).layers == ()
    assert project.inputs == ()


def test_an_image_that_is_gone_is_said_and_the_others_come(project, field_folder, tmp_path):
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "a.ome.zarr")
    seen(shown(tmp_path / "a.ome.zarr", field_folder / "brightfield.ome.zarr"), project)
    shutil.rmtree(tmp_path / "a.ome.zarr")
    found = reopen(project)
    (sentence,) = found.lost
    assert "a.ome.zarr" in sentence
    assert [source_of(k["metadata"]).channel for _, k, _ in found.layers] == ["Brightfield"]
    # The disk may be back tomorrow.
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "a.ome.zarr")
    seen(shown(field_folder / "brightfield.ome.zarr"), project, unseen=found.unseen)
    assert len(reopen(project).layers) == 6


def test_a_project_that_was_moved_with_its_images_shows_them(field_folder, tmp_path):
    project = Project.create(tmp_path / "here" / "project")
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "here" / "a.ome.zarr")
    seen(shown(tmp_path / "here" / "a.ome.zarr"), project)
    shutil.move(tmp_path / "here", tmp_path / "there")
    found = reopen(Project(tmp_path / "there" / "project"))
    assert found.lost == ()
    assert source_of(found.layers[0][1]["metadata"]).path.startswith(str(tmp_path / "there"))


def test_the_viewer_looks_where_it_looked(project, field_folder):
    viewer = shown(field_folder / "brightfield.ome.zarr")
    viewer.scene.camera.center = (0.0, 12.0, 34.0)
    viewer.scene.camera.zoom = 3.5
    viewer.dims.set_current_step(0, 2)
    seen(viewer, project)
    again = shown(field_folder / "brightfield.ome.zarr")
    apply_camera(again, Project(project.folder).view)
    assert again.scene.camera.zoom == 3.5
    assert tuple(again.scene.camera.center) == (0.0, 12.0, 34.0)
    assert again.dims.current_step == viewer.dims.current_step


@pytest.mark.parametrize(
    "view",
    [
        View(layers=({"input": "nobody", "channel": "DNA"},)),
        View(layers=({},), camera={"center": ["x"], "zoom": -1}, step=(3, 4, 5, 6, 7)),
    ],
    ids=["an entry that is not there", "values that are nothing"],
)
def test_a_view_that_makes_no_sense_does_no_harm(project, view):
    project.set_view(view)
    assert reopen(project).layers == ()
    apply_camera(ViewerModel(), project.view)
