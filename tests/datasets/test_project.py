"""A project opens again as it was left, also after it was moved, cut off or written by two."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.datasets.project import Project, is_project
from napari_virtualstain.datasets.project_entries import (
    SCHEMA_VERSION,
    InputEntry,
    Region,
    RunEntry,
    View,
    short_id,
)
from napari_virtualstain.errors import (
    DiskError,
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    SettingsError,
)

FIXTURES = sorted((Path(__file__).parent / "projects").iterdir())


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.create(tmp_path / "project", name="Night run")


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_a_project_of_every_schema_still_opens(fixture, tmp_path):
    shutil.copytree(fixture, tmp_path / "project")
    project = Project(tmp_path / "project")
    assert (project.name, project.damaged) == ("Night run", ())
    field, stains = project.inputs
    assert (field.scene, field.roles, field.pixel_size_um) == ("A/1/0", {"BF": "brightfield"}, 0.65)
    assert (stains.partner, stains.stains) == (field.id, {"Hoechst": "DNA"})
    (run,) = project.runs
    assert (run.verb, run.status, run.input) == ("stain", "partial", field.id)
    assert project.models[0].name == "demo"
    assert project.regions[0].vertices_px == ((0, 0), (0, 10), (10, 10))
    assert [d.verdict for d in project.decisions] == ["reject"]
    assert (project.view.page, project.view.step) == ("stain", (0, 1))
    assert [report.name for report in project.reports] == ["quality.html"]


def test_there_is_a_fixture_of_the_present_schema():
    assert FIXTURES[-1].name == f"v{SCHEMA_VERSION}"
    assert InputEntry.model_fields["schema_version"].default == SCHEMA_VERSION


def test_an_image_is_added_once_and_more_is_said_of_it_later(project, tmp_path):
    first = project.add_input(tmp_path / "a.tif", roles={"BF": "brightfield"})
    again = project.add_input(tmp_path / "a.tif", axes="zyx")
    other = project.add_input(tmp_path / "a.tif", scene="2")
    assert (again.id, again.axes, again.roles) == (first.id, "zyx", first.roles)
    assert [entry.id for entry in project.inputs] == [first.id, other.id]


def test_a_run_that_writes_to_the_same_place_replaces_the_one_before(project, tmp_path):
    project.add_run(tmp_path / "o.ome.zarr", verb="stain", status="failed", sentence="No room.")
    project.add_run(tmp_path / "o.ome.zarr", verb="stain")
    assert [(run.status, run.sentence) for run in project.runs] == [("complete", "")]


def test_what_was_moved_with_the_project_is_found(tmp_path):
    here = tmp_path / "here"
    project = Project.create(here / "project")
    (here / "a.tif").write_bytes(b"x")
    project.add_input(here / "a.tif")
    shutil.move(here, tmp_path / "there")
    moved = Project(tmp_path / "there" / "project")
    assert moved.path_of(moved.inputs[0].place) == str(tmp_path / "there" / "a.tif")
    again = moved.add_input(tmp_path / "there" / "a.tif")
    assert [entry.id for entry in moved.inputs] == [again.id]


def test_what_was_left_behind_is_found_by_its_full_path(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    project = Project.create(tmp_path / "one" / "project")
    project.add_input(tmp_path / "a.tif")
    shutil.move(project.folder, tmp_path / "project")
    moved = Project(tmp_path / "project")
    assert moved.path_of(moved.inputs[0].place) == str(tmp_path / "a.tif")
    (tmp_path / "a.tif").unlink()
    assert not moved.inputs[0].place.exists(moved.folder)


def test_a_url_stays_a_url(project):
    entry = project.add_input("https://example.org/a.zarr")
    assert project.path_of(entry.place) == "https://example.org/a.zarr"
    assert entry.place.relative is None
    assert entry.place.exists(project.folder)


def test_the_last_decision_counts_and_none_is_lost(project):
    about = {"run": "a", "channel": "DNA"}
    project.decide("qc", "reject", about=about, by="AB")
    project.decide("qc", "accept", about={"run": "b"})
    project.decide("qc", "accept", about=about, reason="dust only")
    assert [d.verdict for d in project.decisions] == ["reject", "accept", "accept"]
    assert project.last_decision("qc", about).reason == "dust only"
    assert project.last_decision("review", about) is None


def test_decisions_of_several_programs_at_once_are_all_kept(project):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: project.decide("qc", "accept", about={"n": n}), range(200)))
    assert {decision.about["n"] for decision in project.decisions} == set(range(200))


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 400))
def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path_factory, cut):
    project = Project.create(tmp_path_factory.mktemp("p") / "project")
    for n in range(3):
        project.decide("qc", "accept", about={"n": n}, reason="è")
    file = project.folder / "decisions.jsonl"
    whole = file.read_bytes()
    kept = whole[: max(0, len(whole) - cut)]
    file.write_bytes(kept)
    project.decide("qc", "reject", about={"n": 9})
    numbers = [decision.about["n"] for decision in project.decisions]
    # A line still counts of which only the end of the line is gone.
    assert numbers == [*range(kept.count(b'"by": ""}')), 9]


def test_an_entry_that_is_damaged_is_named_and_the_rest_still_opens(project, tmp_path):
    kept = project.add_input(tmp_path / "a.tif")
    lost = project.add_input(tmp_path / "b.tif")
    (project.folder / "inputs" / f"{lost.id}.json").write_text('{"id": ')
    assert [entry.id for entry in project.inputs] == [kept.id]
    (sentence,) = project.damaged
    assert lost.id in sentence
    assert sentence.endswith(("put a copy of it back.", "Correct or delete it."))


BROKEN = {
    "a newer program": ({"schema_version": SCHEMA_VERSION + 1}, "Update napari-virtualstain."),
    "another program": ({"format": "something else"}, "Choose the folder of a project."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_project_that_is_not_ours_is_refused(project, case):
    changed, ending = BROKEN[case]
    file = project.folder / "project.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    with pytest.raises(ImageFileError, match=f"{ending}$"):
        Project(project.folder)


def test_an_entry_of_a_newer_program_is_left_alone(project, tmp_path):
    entry = project.add_input(tmp_path / "a.tif")
    file = project.folder / "inputs" / f"{entry.id}.json"
    newer = json.dumps({**json.loads(file.read_text()), "schema_version": SCHEMA_VERSION + 1})
    file.write_text(newer)
    assert project.inputs == ()
    assert project.damaged[0].endswith("Update napari-virtualstain.")
    assert file.read_text() == newer


def test_what_another_program_wrote_into_an_entry_is_kept(project, tmp_path):
    entry = project.add_input(tmp_path / "a.tif")
    file = project.folder / "inputs" / f"{entry.id}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "green"}))
    project.add_input(tmp_path / "a.tif", axes="yx")
    assert json.loads(file.read_text())["colour"] == "green"


def test_a_view_that_is_damaged_is_an_empty_one(project):
    project.set_view(View(page="load"))
    assert project.view.page == "load"
    (project.folder / "view.json").write_text("[1")
    assert project.view == View()


def test_what_is_removed_is_forgotten_and_stays_on_disk(project, tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    entry = project.add_input(tmp_path / "a.tif")
    project.remove(entry)
    assert project.inputs == ()
    assert (tmp_path / "a.tif").exists()


REFUSED = {
    "no project": (lambda p: Project(p.folder.parent), MissingInputError),
    "a project is there": (lambda p: Project.create(p.folder), OutputExistsError),
    "no such entry": (lambda p: p.find(RunEntry, "x"), SettingsError),
    "a report elsewhere": (lambda p: p.report("../x.html"), SettingsError),
    "a report without a name": (lambda p: p.report(""), SettingsError),
    "a status that there is not": (
        lambda p: p.add_run("o", verb="stain", status="x"),
        SettingsError,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_sentence(project, case):
    act, kind = REFUSED[case]
    with pytest.raises(kind, match=r"\.$"):
        act(project)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DiskError):
        Project.create(tmp_path / "file" / "project")


def test_nothing_half_written_is_left(project, tmp_path):
    project.add_input(tmp_path / "a.tif")
    assert not list(project.folder.rglob("*.partial"))
    assert is_project(project.folder)
    assert not is_project(tmp_path)


def test_a_region_has_three_corners_at_least(project, tmp_path):
    entry = project.add_input(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="at least 3"):
        Region(id="r", input=entry.id, purpose="exclude", vertices_px=((0, 0), (1, 1)))


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_ids_are_names_of_files_and_tell_things_apart(text, one, other):
    first, second = short_id(text, one), short_id(text, other)
    assert (first == second) == (one == other)
    InputEntry(id=first, place={"absolute": "x"})
