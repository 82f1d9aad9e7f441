"""The tutorials do what they say: their lines run, from top to bottom, in an empty folder."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from napari_virtualstain.cli.main import main

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
if not TUTORIALS.is_dir():
    pytest.skip("the pages are not part of an installed package", allow_module_level=True)

SMALLER = {"--size 384": "--size 192", "--size 256": "--size 128", "--steps 60": "--steps 4"}
"""Fields and trainings that are small enough to wait for."""


def lines_of(page: str) -> list[list[str]]:
    """Return what is typed in a tutorial, in words."""
    text = (TUTORIALS / page).read_text(encoding="utf-8")
    typed = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    for usual, small in SMALLER.items():
        typed = typed.replace(usual, small)
    lines = typed.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def type_all(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, *words in lines_of(page):
        if program == "python":
            monkeypatch.setattr(sys, "argv", [*words, "--size", "128"])
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        else:
            assert program == "virtualstain"
            assert main([*words, "--quiet"]) == 0, words


@pytest.mark.slow
def test_the_plate_is_stained_judged_measured_and_has_a_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    type_all("plate.md", monkeypatch)
    said = capsys.readouterr().out
    assert "equal bit for bit" in said
    assert "24 fields: " in said
    for made in ("report/qc.html", "numbers/wells.csv", "verdict/verdict.html"):
        assert (tmp_path / made).is_file(), made


@pytest.mark.slow
def test_the_film_and_the_stack_are_stained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    type_all("timelapse-and-stack.md", monkeypatch)
    said = capsys.readouterr().out
    assert "4 fields: " in said  # time points
    assert "plane 3 is in focus" in said
    assert said.count("PCC  floor") == 3  # the film, the plane in focus, the volume


@pytest.mark.slow
def test_the_model_is_recalibrated_and_tuned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    type_all("tune.md", monkeypatch)
    assert (tmp_path / "recalibrated" / "card.json").is_file()
    assert (tmp_path / "mine" / "card.json").is_file()


@pytest.mark.realdata
@pytest.mark.slow
def test_real_files_are_opened_doubted_and_stained(realdata, tmp_path, monkeypatch, capsys):
    pytest.importorskip("nd2")
    (tmp_path / "phenix").symlink_to(realdata / "phenix" / "Version5" / "images")
    for name, kind in (("pbmc.ome.tif", "ome_tiff/*.tif"), ("yeast.nd2", "nd2/*.nd2")):
        shutil.copyfile(next((realdata / "formats").glob(kind)), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    type_all("real-file.md", monkeypatch)
    said = capsys.readouterr().out
    assert "Not as it is: z planes." in said
    assert "1 field: 1 red" in said
