"""Fixtures that all tests share."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores: threads of networks would wait for each other. Before torch
    # is loaded, and for the processes that tests start.
    for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

# Where no viewer can run, its tests are not even collected: they import napari at the top.
_NO_VIEWER = os.environ.get("NVS_NO_DISPLAY") == "1" or find_spec("napari") is None
collect_ignore = ["napari_io", "widgets", "test_manifest.py"] if _NO_VIEWER else []

hypothesis.settings.register_profile(
    "ours", deadline=None, max_examples=50, derandomize="NVS_RANDOM_TESTS" not in os.environ
)
hypothesis.settings.load_profile("ours")


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory):
    """Keep the tests out of the user's caches and models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("NVS_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(autouse=True)
def _same_luck_every_time():
    """Draw the same numbers in every run, alone or after others."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


MARKERS = ("realdata", "gpu", "slow", "network")
_DESELECTED = pytest.StashKey[Counter]()
_TOGETHER = ("widgets", "napari_io")
"""Folders whose tests run one after the other in one process: they open windows."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Deal out whole files, which share what they make once, and all that open windows to one process.

    The largest are dealt first, and these are the largest. (`xdist_group` would say the same, but
    xdist 3.8 loses it under pytest 9.2.)
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class WholeFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            opens_windows = file.startswith(tuple(f"tests/{one}/" for one in _TOGETHER))
            return "windows" if opens_windows else file

    return WholeFiles(config, log)


def pytest_collection_modifyitems(items):
    """Skip, by marker, what this machine has not got."""
    if os.environ.get("NVS_NETWORK") != "1":
        for item in items:
            if "network" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs the internet: set NVS_NETWORK=1"))
    if any("gpu" in item.keywords for item in items):
        import torch

        if not torch.cuda.is_available():
            for item in items:
                if "gpu" in item.keywords:
                    item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_deselected(items):
    """Count what markers keep back."""
    counts = items[0].config.stash.setdefault(_DESELECTED, Counter()) if items else Counter()
    counts.update(marker for item in items for marker in MARKERS if marker in item.keywords)


def pytest_sessionfinish(session):
    """Hand the counts over, where several processes share the tests."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = dict(session.config.stash.get(_DESELECTED, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the counts of a process; all of them have looked at all tests."""
    counts = getattr(node, "workeroutput", {}).get("deselected")
    if counts:
        node.config.stash[_DESELECTED] = Counter(counts)


def pytest_terminal_summary(terminalreporter, config):
    """Say how many tests each marker kept back, so that a green run hides nothing."""
    held = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        for marker in MARKERS:
            # A module that skips itself has a report without keywords.
            if marker in getattr(report, "keywords", ()):
                held[f"{marker} (skipped)"] += 1
    for marker, count in config.stash.get(_DESELECTED, Counter()).items():
        held[f"{marker} (deselected)"] += count
    for name, count in sorted(held.items()):
        terminalreporter.write_line(f"not run: {count} {name}")
    if _NO_VIEWER:
        reason = "NVS_NO_DISPLAY=1" if find_spec("napari") else "napari is not installed"
        terminalreporter.write_line(f"not run: {', '.join(collect_ignore)} ({reason})")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real images; tests that ask for it are skipped where it is absent."""
    stated = os.environ.get("NVS_REALDATA")
    root = Path(stated) if stated else Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("real images are absent: set NVS_REALDATA to their folder")
    return root


@pytest.fixture(scope="session")
def subprocess_python():
    """Run a line of Python in a process of its own; fail with what it printed."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def small_fields():
    """Two simulated fields of 96 x 96 px, and their settings."""
    from napari_virtualstain.simulate import FieldSettings, simulate_field

    settings = FieldSettings(shape_px=(96, 96), n_cells=4)
    return [simulate_field(settings, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, small_fields):
    """A model folder that was trained for a moment; treat it as read-only."""
    from napari_virtualstain.datasets.pairs import PairedField
    from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
    from napari_virtualstain.jobs.training_fields import FieldData

    fields = [
        PairedField(f"field {i}", field.brightfield[0], field.stains[0])
        for i, field in enumerate(small_fields)
    ]
    card = {
        "name": "tiny", "title": "Tiny", "pixel_size_um": 0.6, "input_channel": "Brightfield",
        "z_offsets_um": (-4.0, 0.0, 4.0), "data": "simulated", "licence": "BSD-3-Clause",
    }  # fmt: skip
    out = tmp_path_factory.mktemp("tiny") / "tiny"
    settings = TrainSettings(
        out=str(out), preset="tiny", steps=20, batch=4, patch=32, validation=0, validate_every=20,
        learning_rate=1e-2,
    )  # fmt: skip
    data = FieldData(fields=fields, stains=small_fields[0].stain_names, card=card)
    train_on_fields(data, settings)
    return out


@pytest.fixture(scope="session")
def structure_encoder(tmp_path_factory, small_fields):
    """The folder of a classifier that tells simulated stains apart; read-only."""
    import numpy as np
    from structure_classifier import train_structure_classifier

    out = tmp_path_factory.mktemp("structure") / "which"
    stacks = [np.asarray(field.stains[0], np.float32) for field in small_fields]
    train_structure_classifier(out, stacks, small_fields[0].stain_names)
    return out


@pytest.fixture(scope="session")
def field_folder(tmp_path_factory):
    """A simulated field of 256 x 256 px on disk: bright field, stains, labels; read-only."""
    from napari_virtualstain.jobs.simulate import SimulateSettings
    from napari_virtualstain.jobs.simulate import run as simulate

    out = tmp_path_factory.mktemp("fields")
    (folder,) = simulate(SimulateSettings(out=str(out), size=256, seed=100))
    return folder


@pytest.fixture(scope="session")
def compute_session():
    """The one compute process of a test run; tests that break one start their own."""
    from napari_virtualstain.compute.session import Session

    session = Session()
    session.open()
    yield session
    session.close()


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    """A dask scheduler and two workers of one thread, started as on a cluster; see `.address`."""
    place = tmp_path_factory.mktemp("cluster")
    found = place / "scheduler.json"
    worker = [
        "dask_worker", "--scheduler-file", str(found), "--nthreads", "1", "--no-dashboard",
        "--local-directory", str(place), "--memory-limit", "0",
    ]  # fmt: skip
    scheduler = [
        "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(found),
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words in (scheduler, worker, worker)
    ]
    until = time.monotonic() + 30
    while not (found.exists() and found.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    yield SimpleNamespace(
        address=json.loads(found.read_text())["address"],
        scheduler=processes[0],
        nannies=processes[1:],
    )
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
