"""The same command on a scheduler that somebody else runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from napari_virtualstain.cli.main import ELSEWHERE, VERBS, main
from napari_virtualstain.compute.work import JOBS
from napari_virtualstain.io.open import open_image


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a dask scheduler with one worker, started as on a cluster."""
    place = tmp_path_factory.mktemp("cluster")
    found = place / "scheduler.json"
    scheduler = [
        "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(found),
    ]  # fmt: skip
    worker = [
        "dask_worker", "--scheduler-file", str(found), "--nthreads", "1", "--no-dashboard",
        "--no-nanny", "--local-directory", str(place), "--memory-limit", "0",
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words in (scheduler, worker)
    ]
    until = time.monotonic() + 30
    while not (found.exists() and found.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    yield json.loads(found.read_text())["address"]
    for process in processes:
        process.kill()
        process.wait()


def words(verb, *more):
    return [verb, *map(str, more), "--json"]


def test_a_stain_elsewhere_has_the_pixels_of_one_here(
    scheduler, field_folder, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(field_folder)  # a relative path means the same there
    asked = ["brightfield.ome.zarr", "--model", tiny_model, "--tile", 64]
    outs = [tmp_path / f"{name}.ome.zarr" for name in ("here", "there")]
    assert main(words("stain", *asked, "--out", outs[0])) == 0
    assert main(words("stain", *asked, "--out", outs[1], "--scheduler", scheduler)) == 0
    assert capsys.readouterr().err.count("16 of 16 tiles stained") == 2
    a, b = (open_image(out).data.compute(scheduler="synchronous") for out in outs)
    assert a.tobytes() == b.tobytes()


def test_evaluate_and_plan_print_the_same_here_and_elsewhere(
    scheduler, field_folder, tiny_model, tmp_path, capsys
):
    out = tmp_path / "o.ome.zarr"
    plan = ["plan", field_folder / "brightfield.ome.zarr", "--model", tiny_model]
    stain = ["stain", field_folder / "brightfield.ome.zarr", "--model", tiny_model, "--out", out]
    evaluate = ["evaluate", out, "--target", field_folder / "stains.ome.zarr"]
    for verb, *more in (plan, stain, evaluate):
        if verb == "stain":
            assert main(words(verb, *more)) == 0
            capsys.readouterr()
            continue
        here, there = [], []
        for address, into in (((), here), (("--scheduler", scheduler), there)):
            assert main(words(verb, *more, *address)) == 0
            into.append(json.loads(capsys.readouterr().out))
        assert here == there


def test_a_failure_elsewhere_is_the_sentence_of_the_job(scheduler, tmp_path, capsys):
    arguments = ["stain", "/nowhere/a.tif", "--out", str(tmp_path / "o.ome.zarr")]
    assert main([*arguments, "--scheduler", scheduler]) == 1
    assert capsys.readouterr().err == (
        "error: '/nowhere/a.tif' does not exist, nor does the folder '/nowhere'. Check the path.\n"
    )


def test_only_verbs_whose_job_may_run_elsewhere_offer_it():
    assert set(ELSEWHERE) <= set(JOBS) & set(VERBS)
