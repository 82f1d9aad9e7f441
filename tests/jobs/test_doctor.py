"""The doctor looks at everything, whatever fails, and tells nobody who you are."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_virtualstain.cli import main
from napari_virtualstain.errors import ModelPackageError, RunCancelled
from napari_virtualstain.inference.device import TorchFacts
from napari_virtualstain.jobs import doctor, doctor_checks, doctor_selftest
from napari_virtualstain.jobs.doctor import Check, DoctorReport, DoctorSettings
from napari_virtualstain.jobs.doctor_checks import graphics, write_speed

QUICK = DoctorSettings(selftest=False)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(doctor_checks, "_WRITTEN", 1 << 20)


def test_everything_is_looked_at_and_said_in_plain_text():
    calls = []
    report = doctor.run(on_progress=lambda *call: calls.append(call))
    names = [check.name for check in report.checks]
    assert names == [
        "Python", "System", "Versions", "Processor", "Memory", "Graphics card", "Display",
        "Cache folder", "Models folder", "Temporary folder", "Self-test",
    ]  # fmt: skip
    text = report.text()
    assert all(name in text for name in names)
    assert "torch 2." in text
    assert calls[0] == (0, 9, "checks made")
    assert calls[-1] == (9, 9, "checks made")
    found = report.checks[-1]
    assert found.status == "ok", found
    assert "s a megapixel" in found.found
    assert json.loads(json.dumps(report.to_json()))["problem"] == report.problem


def test_a_report_comes_back_from_another_process():
    report = doctor.run(QUICK)
    assert DoctorReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_check_that_fails_stops_no_other(monkeypatch):
    def broken():
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(doctor_checks.CHECKS, "Memory", broken)
    report = doctor.run(QUICK, extra=[("OpenGL", broken), ("Server", lambda: Check(
        name="Server", status="warning", found="slow", advice="Wait."))])  # fmt: skip
    by_name = {check.name: check for check in report.checks}
    assert by_name["Memory"].status == by_name["OpenGL"].status == "problem"
    assert by_name["Memory"].found.startswith("ZeroDivisionError: oops. This is a defect")
    assert by_name["Server"].advice == "Wait."
    assert report.problem == ("Not everything works: Memory, OpenGL. Do what the report advises.")
    assert "-> Wait." in report.text()


def test_the_doctor_can_be_cancelled():
    def stop(done, total, what):
        raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        doctor.run(QUICK, on_progress=stop)


def test_checks_of_a_viewer_are_added():
    report = doctor.run(QUICK)
    more = report.with_checks([Check(name="OpenGL", status="ok", found=f"{Path.home()}/lib")])
    assert (more.checks[:-1], more.checks[-1].found) == (report.checks, "~/lib")


def test_the_report_names_neither_home_nor_user(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "greta")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/greta"))
    report = doctor.run(QUICK, extra=[("x", lambda: Check(
        name="x", status="ok", found="/home/greta/a, /tmp/greta/b, '/scratch/greta'",
        advice="see /home/gretas"))])  # fmt: skip
    assert report.checks[-1].found == "~/a, /tmp/USER/b, '/scratch/USER'"
    assert report.checks[-1].advice == "see /home/gretas"


FACTS = TorchFacts(version="2.9", cuda=None, cuda_devices=(), cuda_error="", mps=False, threads=4)
CARDS = {
    "a card": ({"cuda": "12.8", "cuda_devices": ("H200",)}, ("H200", "13.0"), "ok", "H200 .CUDA 12"),
    "Apple": ({"mps": True}, None, "ok", "Apple graphics"),
    "none": ({}, None, "ok", "without CUDA, and there is no NVIDIA driver"),
    "a build without CUDA": ({}, ("A4000", "12.4"), "warning", "A4000 is not used: torch 2.9 is a"),
    "no driver": ({"cuda": "12.8"}, None, "warning", "CUDA 12.8, but there is no NVIDIA driver"),
    "an old driver": (
        {"cuda": "12.8"}, ("A4000", "11.4"), "warning", "needs CUDA 12.8, its driver allows 11.4",
    ),
    "a card in use": (
        {"cuda": "12.8", "cuda_devices": ("H200",), "memory": (10**9, 8 * 10**9)}, ("H200", "13.0"),
        "warning", r"H200 .CUDA 12.8., 1.0 GB free of 8.0 GB$",
    ),
    "a free card": (
        {"cuda": "12.8", "cuda_devices": ("H200",), "memory": (7 * 10**9, 8 * 10**9)},
        ("H200", "13.0"), "ok", "7.0 GB free of 8.0 GB",
    ),
    "a small card": (
        {"cuda": "12.8", "cuda_devices": ("K1",), "memory": (10**9, 2 * 10**9)}, ("K1", "13.0"),
        "warning", "1.0 GB free of 2.0 GB",
    ),
    "something else": (
        {"cuda": "12.8", "cuda_error": "no"}, ("A4000", "12.9"), "warning", "is not used: no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "driver", "status", "found"), CARDS.values(), ids=CARDS)
def test_the_graphics_card_is_found_or_it_is_said_why_not(facts, driver, status, found):
    import re

    check = graphics(replace(FACTS, **facts), driver)
    assert check.status == status
    assert re.search(found, check.found)
    assert bool(check.advice) == (status != "ok")


@pytest.mark.parametrize(
    ("cuda", "then"), [(None, "then a CUDA build of torch"), ("12.8", "system.")]
)
def test_a_card_without_its_driver_is_told_from_no_card(cuda, then):
    check = graphics(replace(FACTS, cuda=cuda), None, built_in=True)
    assert check.status == "warning"
    assert "an NVIDIA card is in this machine and is not used: its driver is missing" in check.found
    assert check.advice.startswith("Install NVIDIA's driver for this system")
    assert then in check.advice


def test_a_small_card_is_not_told_to_close_programs():
    facts = replace(FACTS, cuda="12.8", cuda_devices=("K1",), memory=(10**9, 2 * 10**9))
    assert graphics(facts, ("K1", "13.0")).advice.startswith("It is small: use a smaller --tile")


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_variable_that_hides_the_card_is_named(value, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    check = graphics(replace(FACTS, cuda="12.8", cuda_error="no"), ("A4000", "12.9"))
    assert check.found == f"A4000 is not used: CUDA_VISIBLE_DEVICES={value!r} hides it"


@pytest.mark.parametrize(
    ("vendor", "kind", "there"),
    [("0x10de", "0x030000", True), ("0x10de", "0x040300", False), ("0x8086", "0x030000", False)],
    ids=["a card", "its sound", "of another maker"],
)
def test_a_card_is_seen_on_the_bus(vendor, kind, there, tmp_path):
    assert not doctor_checks._built_in(tmp_path / "no bus")
    place = tmp_path / "0000:01:00.0"
    place.mkdir()
    (place / "vendor").write_text(f"{vendor}\n")
    assert not doctor_checks._built_in(tmp_path)
    (place / "class").write_text(f"{kind}\n")
    assert doctor_checks._built_in(tmp_path) == there


def test_the_driver_is_asked_and_not_torch(monkeypatch):
    shown = {
        "": "| NVIDIA-SMI 570.86  Driver Version: 570.86  CUDA Version: 12.8 |",
        "-L": "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)\n",
    }
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(
        doctor_checks.subprocess, "run",
        lambda line, **_: SimpleNamespace(stdout=shown["".join(line[1:])]),
    )  # fmt: skip
    assert doctor_checks._driver() == ("NVIDIA H200", "12.8")


def test_a_machine_without_display_and_one_without_viewer(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor_checks, "_installed", lambda name: "1.0")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "no window can open" in doctor_checks._display().found
    monkeypatch.setenv("DISPLAY", ":9")
    assert doctor_checks._display().status == "ok"
    monkeypatch.setattr(doctor_checks, "_installed", lambda name: None)
    assert doctor_checks._display().found == (
        "napari and Qt not installed: only the command line works"
    )


def test_folders_that_cannot_be_written_or_are_full(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "not" / "there"))
    ok = doctor_checks._folder("Cache folder", tmp_path / "not" / "there", {})
    assert (ok.status, list(tmp_path.iterdir())) == ("ok", [])
    monkeypatch.setattr(doctor_checks, "free_bytes", lambda path: 5e7)
    full = doctor_checks._folder("Cache folder", tmp_path, {})
    assert (full.status, full.advice) == ("problem", "Make room on this disk.")
    monkeypatch.setattr(doctor_checks, "write_speed", refuse)
    shut = doctor_checks._folder("Cache folder", tmp_path, {})
    assert (shut.status, "Permission denied" in shut.found) == ("problem", True)
    assert shut.advice.endswith("or set NVS_CACHE to another folder.")


def test_the_speed_of_a_disk_is_measured_in_bounded_time(tmp_path):
    assert write_speed(tmp_path, 1 << 20) > 0
    assert write_speed(tmp_path, 1 << 40, seconds=0.05) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_repeat_its_test_pair_is_a_problem(monkeypatch, capsys):
    def altered(name):
        raise ModelPackageError("It does not reproduce its own test pair. Do not use it.")

    monkeypatch.setattr(doctor_selftest, "load_generator", altered)
    assert main(["doctor", "--json"]) == 1
    shown = capsys.readouterr()
    (check,) = [c for c in json.loads(shown.out)["checks"] if c["name"] == "Self-test"]
    assert check["status"] == "problem"
    assert check["found"] == "It does not reproduce its own test pair. Do not use it."
    assert shown.err.endswith(
        "error: Not everything works: Self-test. Do what the report advises.\n"
    )


def test_tiles_that_differ_from_the_whole_are_a_problem(monkeypatch):
    original = doctor_selftest.compare_stores
    monkeypatch.setattr(
        doctor_selftest, "compare_stores", lambda *a: replace(original(*a), relative=0.1)
    )
    check = doctor_selftest.self_test()
    assert check.status == "problem"
    assert "allowed 1e-05" in check.found


def test_the_self_test_leaves_nothing_behind(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    doctor_selftest.self_test()
    assert list(tmp_path.iterdir()) == []
