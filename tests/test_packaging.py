"""What is written in several places is the same everywhere; what is published can be built and read."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
if not (ROOT / "scripts" / "lowest_versions.py").exists():
    pytest.skip("the scripts are not part of an installed package", allow_module_level=True)


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


# --- conda ----------------------------------------------------------------------------------------

CONDA = {"torch": ("pytorch",), "dask": ("dask", "distributed")}
"""What is called otherwise there, or comes in parts."""


def recipe():
    return yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8"))


def test_the_conda_recipe_needs_what_pyproject_needs():
    wanted = {"python": SpecifierSet(PROJECT["requires-python"])}
    for line in PROJECT["dependencies"]:
        asked = Requirement(line)
        for name in CONDA.get(asked.name, (asked.name,)):
            wanted[name] = asked.specifier
    found = {}
    for line in recipe()["requirements"]["run"]:
        name, _, versions = line.partition(" ")
        found[name] = SpecifierSet(versions)
    assert found == wanted


def test_the_conda_recipe_makes_the_same_command():
    (line,) = recipe()["build"]["python"]["entry_points"]
    assert line == "virtualstain = " + PROJECT["scripts"]["virtualstain"]


# --- versions -------------------------------------------------------------------------------------


def test_every_file_names_the_same_version():
    assert set(script("release_notes").versions().values()) == {PROJECT["version"]}


def test_the_lowest_versions_are_those_of_pyproject():
    assert script("lowest_versions").main(["--check"]) == 0


def test_the_lowest_versions_leave_out_what_only_developers_install():
    text = script("lowest_versions").lowest_text(
        '[project]\nname = "us"\ndependencies = ["a[x]>=1.2,!=1.3.*", "b>=2"]\n'
        '[project.optional-dependencies]\nmore = ["us[less]", "b>=2.5"]\ntest = ["c"]\nless = ["d==4"]\n'
    )
    assert text.splitlines()[3:] == ["a==1.2", "b==2.5", "d==4"]


def test_a_dependency_without_a_least_version_is_named():
    with pytest.raises(SystemExit, match="'a<3' names no least version"):
        script("lowest_versions").lowest_text(
            '[project]\nname = "us"\ndependencies = ["a<3"]\noptional-dependencies = {}\n'
        )


CHANGES = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2027-01-01\n\n### Added\n\n- two\n\n## [0.1.0]\n\n- one\n"


@pytest.mark.parametrize(
    ("version", "notes"),
    [("0.2.0", "### Added\n\n- two"), ("0.1.0", "- one"), ("0.3.0", "")],
)
def test_the_notes_of_a_version_are_its_part_of_the_changelog(version, notes):
    assert script("release_notes").notes_of(version, CHANGES) == notes


def test_a_tag_of_another_version_is_refused_with_what_to_do(capsys):
    assert script("release_notes").main(["--tag", "v99.0.0"]) == 1
    said = capsys.readouterr().err
    assert "pyproject.toml is at version " in said
    assert "CHANGELOG.md has no part [99.0.0]. Rename [Unreleased]" in said


def test_the_tag_of_this_version_gives_its_notes(capsys):
    assert script("release_notes").main(["--tag", f"v{PROJECT['version']}"]) == 0
    assert "virtualstain" in capsys.readouterr().out


# --- extras ---------------------------------------------------------------------------------------


def names_of(extra):
    found = set()
    for line in EXTRAS[extra]:
        asked = Requirement(line)
        found |= (
            set.union(*map(names_of, asked.extras))
            if asked.name == PROJECT["name"]
            else {asked.name}
        )
    return found


def test_all_is_what_users_may_want_beside_the_viewer():
    everything = set.union(
        *(names_of(name) for name in EXTRAS if name not in {"all", "dev", "docs", "gui", "test"})
    )
    assert names_of("all") == everything


def test_each_extra_that_an_error_or_a_page_names_is_there():
    named = set()
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = file.read_text(encoding="utf-8")
        for words in re.findall(r"(?:napari-virtualstain|\.)\[([a-z0-9,]+)\]", text):
            named |= set(words.split(","))
        named |= set(re.findall(r'extra="([a-z0-9]+)"', text))
    named -= {"allow", "forbid", "ignore"}  # of pydantic
    assert len(named) > 6
    assert named <= set(EXTRAS)


# --- workflows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_yaml_whose_actions_are_pinned(path):
    whole = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in whole["jobs"].values() for step in job["steps"]]
    uses = [step["uses"] for step in steps if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one) for one in uses)
    assert all("timeout-minutes" in job for job in whole["jobs"].values())
    run = " ".join(step.get("run", "") for step in steps)
    for name in re.findall(r"scripts/[\w.]+", run):
        assert (ROOT / name).is_file(), name


def test_only_the_release_may_do_more_than_read():
    for path in WORKFLOWS:
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        granted = [
            whole.get("permissions"),
            *(job.get("permissions") for job in whole["jobs"].values()),
        ]
        more = {right for one in granted if one for right, how in one.items() if how == "write"}
        assert more == ({"contents", "id-token"} if path.name == "release.yml" else set())


def test_the_tests_run_on_each_python_that_is_announced():
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    strategy = matrix["jobs"]["test"]["strategy"]["matrix"]
    announced = {
        line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)
    }
    assert set(strategy["python"]) == announced
    assert {name.split("-")[0] for name in strategy["system"]} == {"ubuntu", "macos", "windows"}


# --- container, hub -------------------------------------------------------------------------------


def test_what_the_container_copies_is_there_and_is_not_ignored():
    text = (ROOT / "packaging/Containerfile").read_text(encoding="utf-8")
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    python = re.search(r"python:(\d+\.\d+)-slim", text)[1]
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_the_page_of_the_hub_says_what_pyproject_says():
    settings = yaml.safe_load((ROOT / ".napari-hub/config.yml").read_text(encoding="utf-8"))
    assert PROJECT["description"].partition(": ")[2] in settings["summary"]
    page = (ROOT / ".napari-hub/DESCRIPTION.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {PROJECT['name']}\n")
    assert "](" not in page  # no link that leads nowhere there


# --- wheel ----------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("napari_virtualstain/a.bin", bytes(3000))
    return path


def test_a_wheel_that_is_too_large_is_said_with_what_is_largest_in_it(wheel):
    check = script("check_package")
    assert check.size_problems(wheel) == []
    (said,) = check.size_problems(wheel, largest=1000)
    assert said.startswith("x-1-py3-none-any.whl has 0.0 MB, at most 0 are allowed: ")
    assert said.endswith("Largest is napari_virtualstain/a.bin (0.0 MB).")
