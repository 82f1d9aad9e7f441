"""The same command on a scheduler that somebody else runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_virtualstain.cli.main import ELSEWHERE, VERBS, main
from napari_virtualstain.compute.work import JOBS
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record


@pytest.fixture(scope="module")
def scheduler(dask_cluster):
    """The address of a dask scheduler with two workers, started as on a cluster."""
    return dask_cluster.address


@pytest.fixture(autouse=True)
def _one_thread():
    """The last bits depend on the number of threads, and the workers have one each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_workers_of_this_machine_share_a_stain(
    field_folder, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    before = dict(os.environ)
    asked = [field_folder / "brightfield.ome.zarr", "--model", tiny_model, "--tile", 64]
    outs = [tmp_path / f"{name}.ome.zarr" for name in ("here", "there")]
    assert main(words("stain", *asked, "--out", outs[0])) == 0
    capsys.readouterr()
    assert main(words("stain", *asked, "--out", outs[1], "--workers", 2)) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["tiles_done"] == 16
    assert shown.err.count("16 of 16 tiles stained") == 1
    a, b = (open_image(out).data.compute(scheduler="synchronous") for out in outs)
    assert a.tobytes() == b.tobytes()
    spread = read_record(outs[1])["record"]["runs"][0]["spread"]
    assert spread == {"scheduler": "the workers of this machine", "workers": 2, "hosts": 1}
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--workers", "none"), "--workers 'none' is neither a number from 1 on nor 'gpus'. Give"),
        (("--workers", "2", "--scheduler", "tcp://127.0.0.1:9"), "not both."),
        (("--scheduler", "tcp://127.0.0.1:9"), "or compute on this machine."),
    ],
    ids=["no number", "both", "no scheduler"],
)
def test_workers_that_cannot_be_are_one_sentence(
    more, sentence, field_folder, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("napari_virtualstain.compute.cluster._CONNECT_S", 0.5)
    asked = [field_folder / "brightfield.ome.zarr", "--model", tiny_model]
    assert main(words("stain", *asked, "--out", tmp_path / "o.ome.zarr", *more)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert sentence in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_of_a_shared_stain_keeps_its_tiles_and_leaves_no_process(tiny_model, tmp_path):
    import psutil
    import tifffile

    path, out = tmp_path / "large.ome.tif", tmp_path / "o.ome.zarr"
    pixels = np.random.default_rng(0).integers(0, 999, (3, 1000, 1000)).astype(np.uint16)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    line = words(
        "stain", path, "--model", tiny_model, "--out", out, "--tile", 32, "--pixel-size", 0.6,
        "--z", "0,1,2", "--workers", 2,
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_virtualstain", *line],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    below = []
    try:
        until = time.monotonic() + 90
        while time.monotonic() < until and process.poll() is None and not list(out.glob("0/c/*")):
            time.sleep(0.02)
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "is marked partial. To go on, run the command again with --resume." in errors
    state = read_record(out)
    assert state["status"] == "partial"
    assert 0 < state["tiles_done"] < state["tiles_total"]
    assert not (out / "0" / "lock").exists()
    assert len(below) >= 3
    assert psutil.wait_procs(below, timeout=10)[1] == []


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
        here, there = flat(here), flat(there)
        assert here.keys() == there.keys()
        for name, value in here.items():
            # Sums over pixels are dealt out to threads, of which a worker has another number.
            near = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert there[name] == near, name


def flat(value, name=""):
    """Return what a JSON value holds, by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in flat(part, f"{name}/{key}").items()}
    return {name: value}


@pytest.mark.parametrize("classes", [(), ("DNA", "ER")], ids=["features", "a classifier"])
def test_embed_writes_the_same_tables_here_and_elsewhere(
    scheduler, field_folder, tmp_path, capsys, monkeypatch, classes
):
    from little_encoders import write_encoder

    learnt = {"encoder": "resnet", "classes": classes, "label": "channel"} if classes else {}
    eye = write_encoder(tmp_path / "eye", crop=32, **learnt)
    monkeypatch.chdir(field_folder)  # a relative path means the same there
    asked = ["embed", "stains.ome.zarr", "--model", eye]
    told, texts = [], []
    for name, address in (("here", ()), ("there", ("--scheduler", scheduler))):
        assert main(words(*asked, "--out", tmp_path / name, *address)) == 0
        found, errors = capsys.readouterr()
        assert "1 of 1 fields embedded" in errors
        told.append(json.loads(found) | {"out": "", "seconds": 0.0})
        assert main([*map(str, asked), "--out", str(tmp_path / name), "--overwrite", *address]) == 0
        texts.append(capsys.readouterr().out.splitlines()[1:])
    assert told[0] == told[1]
    assert (told[0]["verdict"] is None) is not bool(classes)
    assert texts[0] == texts[1]
    tables = [(tmp_path / name / "fields.csv").read_bytes() for name in ("here", "there")]
    assert tables[0] == tables[1]


def test_a_failure_elsewhere_is_the_sentence_of_the_job(scheduler, tmp_path, capsys):
    arguments = ["stain", "/nowhere/a.tif", "--out", str(tmp_path / "o.ome.zarr")]
    assert main([*arguments, "--scheduler", scheduler]) == 1
    assert capsys.readouterr().err == (
        "error: '/nowhere/a.tif' does not exist, nor does the folder '/nowhere'. Check the path.\n"
    )


def test_only_verbs_whose_job_may_run_elsewhere_offer_it():
    assert set(ELSEWHERE) <= set(JOBS) & set(VERBS)
