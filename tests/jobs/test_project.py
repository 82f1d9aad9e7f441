"""A project is made, added to and described from the command line's settings."""

from __future__ import annotations

import json
import shutil

import pytest

from napari_virtualstain.datasets.project import Project
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.project import ProjectSettings, note_stain, run
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain import run as stain


@pytest.fixture(scope="module")
def stained(tmp_path_factory, field_folder, tiny_model):
    out = tmp_path_factory.mktemp("stained") / "stain.ome.zarr"
    image = str(field_folder / "brightfield.ome.zarr")
    stain(StainSettings(input=image, model=str(tiny_model), out=str(out)))
    return out


def made(tmp_path, *paths, **values) -> Project:
    folder = tmp_path / "project"
    settings = ProjectSettings(folder=str(folder), new=True, add=tuple(map(str, paths)), **values)
    run(settings)
    return Project(folder)


def test_what_is_added_is_known_for_what_it_is(tmp_path, field_folder, tiny_model, stained):
    truth = field_folder / "stains.ome.zarr"
    project = made(tmp_path, truth, stained, tiny_model, "demo", name="Night")
    assert project.name == "Night"
    assert [project.path_of(e.place) for e in project.inputs] == [
        str(truth),
        str(field_folder / "brightfield.ome.zarr"),
    ]
    (noted,) = project.runs
    assert (noted.verb, noted.status) == ("stain", "complete")
    assert noted.input == project.inputs[1].id
    assert project.inputs[1].roles == {"Brightfield": "brightfield"}
    tiny, demo = project.models
    assert noted.model == tiny.id
    assert (demo.name, demo.place) == ("demo", None)
    assert len(tiny.fingerprint) == len(demo.fingerprint) == 64


def test_a_run_that_is_gone_on_with_is_noted_anew(tmp_path, stained):
    project = made(tmp_path, stained)
    before = project.runs
    state = json.loads((stained / "zarr.json").read_text())
    assert note_stain(project, stained).id == before[0].id
    assert len(project.runs) == 1
    assert state == json.loads((stained / "zarr.json").read_text())


def test_the_summary_says_what_is_gone(tmp_path, field_folder):
    shutil.copytree(field_folder / "stains.ome.zarr", tmp_path / "a.ome.zarr")
    project = made(tmp_path, tmp_path / "a.ome.zarr")
    project.decide("qc", "reject", about={"input": project.inputs[0].id})
    project.report("quality.html").write_text("x")
    shutil.rmtree(tmp_path / "a.ome.zarr")
    found = run(ProjectSettings(folder=str(project.folder)))
    assert found.text().splitlines()[1:] == [
        f"image {tmp_path / 'a.ome.zarr'}, which is gone",
        "decisions: 1 qc: reject",
        "reports: quality.html",
    ]
    assert found.to_json()["inputs"][0]["there"] is False


def test_an_empty_project_says_what_to_do_next(tmp_path):
    project = made(tmp_path)
    assert "add images, results and models with --add" in (
        run(ProjectSettings(folder=str(project.folder))).text()
    )


BAD = {
    "no project": ({}, r"Make one there with --new\.$"),
    "a file that is no image": ({"new": True, "add": (__file__,)}, r"OME-Zarr first\.$"),
    "nothing there": ({"new": True, "add": ("nothing.tif",)}, r"Check the path\.$"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_sentence(tmp_path, case):
    values, ending = BAD[case]
    with pytest.raises(VirtualStainError, match=ending):
        run(ProjectSettings(folder=str(tmp_path / "project"), **values))


def test_a_project_is_named_once(tmp_path):
    project = made(tmp_path)
    with pytest.raises(VirtualStainError, match=r"Leave out --name\.$"):
        run(ProjectSettings(folder=str(project.folder), name="Day"))
