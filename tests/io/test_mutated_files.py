"""Damaged files of every kind: one sentence or the picture, never a crash, a hang or a flood."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import format_cases
import mutate
import pytest
from format_cases import CASES, REAL

pytest.importorskip("resource", reason="memory is measured as on Unix")

MUTATIONS = 10_000
"""Over all kinds."""

SECONDS, MEGABYTES = 5.0, 1024
SILENT = 60.0
"""Seconds without a word after which a worker hangs; 5 s are counted of its own processor time."""
START = 180.0
"""Seconds until a worker has imported what it needs, on a machine that does other things too."""
TOLD = 900
"""A sentence is no longer than that, path included."""

LARGE = {"real-nd2", "real-czi"}
"""Copying these takes longer than opening them: a tenth of the mutations will do."""


FOLDERS = {
    "real-phenix": "phenix/Version5",
    "real-phenix-zarr": "formats/ome_zarr/phenix_V5_iohub_HCS.zarr",
    "real-imagexpress": "formats/imagexpress/9987_Plate_3420",
    "real-cv8000": "formats/cv8000/CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack_20230918_135839",
    "real-isl": "isl_neurons",
    "real-time-lapse": "yeast_timelapse/SL_180519_2_GR",
}
"""Plates and folders of planes, where any file may lack or be another picture."""
FEW = 150
"""Mutations of each of these, over the others."""


def watched(command: list[str]) -> tuple[list[str], int]:
    """Run a process and return its lines; end it when it says nothing for long."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines: list[str] = []
    timer = threading.Timer(START, process.kill)
    timer.start()
    for line in process.stdout:
        timer.cancel()
        lines.append(line.strip())
        timer = threading.Timer(SILENT, process.kill)
        timer.start()
    timer.cancel()
    process.stdout.close()
    process.stderr.close()
    return lines, process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.realdata] * (n in REAL or n in FOLDERS))
        for n in (*CASES, *FOLDERS)
    ],
)
def test_a_damaged_file_is_one_sentence_or_the_picture(name, tmp_path, request, monkeypatch):
    case = CASES.get(name)
    if case is not None and case.library:
        pytest.importorskip(case.library)
    monkeypatch.setattr(format_cases, "EDGES", [24, 32])
    if case is None:
        source = request.getfixturevalue("realdata") / FOLDERS[name]
    elif case.write is None:
        source = request.getfixturevalue("realdata") / case.path
    else:
        source = tmp_path / "whole" / case.path
        source.parent.mkdir()
        case.write(source)
    last = FEW if case is None else MUTATIONS // len(CASES) // (10 if name in LARGE else 1)
    first, baseline, defects, opened = 0, None, [], 0
    slowest = most = 0.0
    while first < last:
        lines, status = watched(
            [sys.executable, "-W", "error", mutate.__file__, str(source), str(tmp_path / "copy"),
             str(first), str(last)]
        )  # fmt: skip
        found = [json.loads(line) for line in lines if line.startswith("{")]
        for one in found:
            baseline = baseline or one["megabytes"]
            opened += one["outcome"] == "opened"
            slowest = max(slowest, one["seconds"])
            most = max(most, one["megabytes"] - baseline)
            if (
                one["outcome"].startswith("DEFECT")
                or "\n" in one["outcome"]
                or len(one["outcome"]) > TOLD + len(str(tmp_path))
                or one["seconds"] > SECONDS
                or one["megabytes"] - baseline > MEGABYTES
            ):
                defects.append(one)
        assert lines, f"the worker did not start: status {status}"
        if status == 0:
            break
        if lines[-1].startswith("{"):  # while it copied the next file, which is not what is asked
            first = json.loads(lines[-1])["seed"] + 1
            continue
        defects.append({"seed": int(lines[-1]), "status": status})
        first = defects[-1]["seed"] + 1
    # A row of the table in docs/benchmarks/formats.md; with -s it is seen.
    sys.stdout.write(
        f"\n| {name} | {last} | {opened} | {len(defects)} | {slowest:.2f} s | {most:.0f} MB |\n"
    )
    assert not defects, f"{len(defects)} of {last}: {defects[:5]}"
    assert 0 < opened < last  # otherwise the mutations do nothing, or destroy everything
