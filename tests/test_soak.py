"""The soak counts what is there, and notices what grows."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "soak.py"
if not FILE.exists():
    pytest.skip("the benchmarks are not part of an installed package", allow_module_level=True)


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("rounds", "rows"),
    [(500, set(range(50, 501, 50))), (10, set(range(1, 11))), (3, {1, 2, 3}), (1, {1})],
)
def test_a_row_is_said_ten_times_and_at_the_end(rounds, rows, soak):
    assert soak.rows_at(rounds) == rows
    assert rounds in rows


def test_threads_processes_and_files_are_counted(soak, tmp_path):
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("widgets are counted where there is a display")
    pytest.importorskip("qtpy.QtWidgets")
    before = soak.state_of_process()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    files = [(tmp_path / str(n)).open("w") for n in range(20)]
    try:
        after = soak.state_of_process()
    finally:
        end.set()
        thread.join()
        child.communicate(b"\n")
        for file in files:
            file.close()
    assert after["threads"] == before["threads"] + 1
    assert after["processes"] == before["processes"] + 1
    assert after["files"] >= before["files"] + 20
    again = soak.state_of_process()
    assert (again["threads"], again["processes"]) == (before["threads"], before["processes"])


EVEN = {"viewer_mb": 400.0, "widgets": 0, "layers": 0, "processes": 1, "threads": 12, "files": 40}


def rows_with(**growing):
    """Ten rows in which something grows by so much a row."""
    return [
        {"round": n + 1, **EVEN, **{name: EVEN[name] + by * n for name, by in growing.items()}}
        for n in range(10)
    ]


@pytest.mark.parametrize("name", ["widgets", "layers", "processes", "threads", "files"])
def test_what_grows_is_named(name, soak):
    assert soak.grown(rows_with()) == []
    first, last = EVEN[name] + 4 * 2, EVEN[name] + 9 * 2
    assert soak.grown(rows_with(**{name: 2})) == [f"{name} from {first} to {last}"]


def test_memory_is_held_against_the_middle(soak):
    assert soak.growth(rows_with(), "viewer_mb") == 0
    assert soak.growth(rows_with(viewer_mb=10), "viewer_mb") == pytest.approx(490 / 440 - 1)


@pytest.mark.slow
def test_a_few_rounds_leave_nothing(soak, tmp_path):
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("a window needs a display: run under xvfb-run")
    pytest.importorskip("napari")
    from napari_virtualstain.jobs.simulate import SimulateSettings
    from napari_virtualstain.jobs.simulate import run as simulate

    (field,) = simulate(SimulateSettings(out=str(tmp_path), size=256, seed=1))
    simulate(SimulateSettings(out=str(tmp_path / "pairs"), size=96, seed=50, fields=2))
    rows = soak._run("dock", 3, field)
    assert [row["round"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert (row["widgets"], row["layers"]) == (0, 0)
    assert rows[0]["processes"] == rows[-1]["processes"] > 0
