"""A stain that is killed and gone on with is, to the byte, the stain that nothing disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import KEY, read_commits, read_record
from napari_virtualstain.jobs.stain_record import asked_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks processes that have loaded torch"),
]

SCRIPT = Path(__file__).with_name("forked_runs.py")
SHAPE = (4, 3, 1100, 96)
"""(T, Z, Y, X): 112 tiles of 80 px in halo mode, 12 strips in stream mode."""
MODES = {"halo": ["--mode", "halo", "--tile", "80"], "stream": ["--mode", "stream"]}
CASES = list(product(MODES, ["float32", "float16", "uint16"]))
MOMENTS = [
    "at the beginning", "at the end", "in the middle", "twice", "in the middle", "twice",
    "in the middle", "in the middle", "twice",
]  # fmt: skip
"""Each is met by all cases, one seed after the other; the last by those that are left of 50."""
SEEDS = range(50)


class Runs:
    """Command lines in processes that were forked when all was loaded."""

    def __init__(self, folder):
        self._server = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._logs = (folder / f"{n}.txt" for n in count())
        assert self._hear() == "ready"

    def _hear(self):
        return self._server.stdout.readline().strip()

    def begin(self, words, cache):
        self.log = next(self._logs)
        request = {"words": words, "environment": {"NVS_CACHE": str(cache)}, "log": str(self.log)}
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        self.pid = int(self._hear())

    def going(self):
        return Path(f"/proc/{self.pid}").exists()

    def wait(self, until, most_s=60.0):
        """Look again and again; return whether it came true before the run ended."""
        end = time.monotonic() + most_s
        while not until():
            if not self.going():
                return False
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.001)
        return True

    def kill(self):
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self):
        return int(self._hear())

    def close(self):
        self._server.kill()
        self._server.communicate()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("logs"))
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def words_of(tmp_path_factory, tiny_model):
    """The command line of a case."""
    stack = tmp_path_factory.mktemp("stack") / "bf.ome.tif"
    pixels = np.random.default_rng(0).normal(1000, 100, SHAPE).astype(np.uint16)
    tifffile.imwrite(
        stack, pixels, ome=True,
        metadata={
            "axes": "TZYX", "PhysicalSizeX": 0.6, "PhysicalSizeY": 0.6, "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm", "Channel": {"Name": ["Brightfield"]},
        },
    )  # fmt: skip

    def words_of(mode, dtype, out):
        common = ["stain", str(stack), "--model", str(tiny_model), "--out", str(out)]
        # The same plan, however much memory is free.
        return [*common, *MODES[mode], "--dtype", dtype, "--device", "cpu", "--memory", "1"]

    return words_of


def files(store):
    """The bytes of all files, but for the metadata, which hold times."""
    found = {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}
    return {name: content for name, content in found.items() if name != "zarr.json"}


def described(store):
    """The metadata, but for what a run is free to differ in; and the runs apart."""
    attributes = json.loads((store / "zarr.json").read_text())["attributes"]
    record = attributes[KEY]["record"]
    runs = record.pop("runs")
    for name in ("created", "seconds"):
        record.pop(name)
    for name in ("out", "resume"):
        record["settings"].pop(name)
    return attributes, runs


@dataclass
class Undisturbed:
    """What a run that nothing disturbed has written, and when, in seconds."""

    store: Path
    files: dict[str, bytes]
    n_tiles: int
    first: float
    last: float
    end: float


@pytest.fixture(scope="module")
def undisturbed(runs, words_of, tmp_path_factory):
    known = {}

    def undisturbed(mode, dtype):
        if (mode, dtype) not in known:
            place = tmp_path_factory.mktemp("whole")
            store = place / "out.ome.zarr"
            began = time.monotonic()
            runs.begin(words_of(mode, dtype, store), place / "cache")
            assert runs.wait(lambda: read_commits(store)), runs.log.read_text()
            first = time.monotonic() - began
            total = read_record(store)["tiles_total"]
            assert runs.wait(lambda: len(read_commits(store)) == total)
            last = time.monotonic() - began
            assert runs.end() == 0, runs.log.read_text()
            end = time.monotonic() - began
            known[mode, dtype] = Undisturbed(store, files(store), total, first, last, end)
        return known[mode, dtype]

    return undisturbed


def moment(when, whole, listed, rng):
    """Return how many tiles have to be listed before a kill, and the seconds to wait then."""
    if when == "at the beginning":
        return 0, rng.uniform(0, whole.first)
    if when == "at the end":
        return whole.n_tiles, rng.uniform(0, whole.end - whole.last)
    # Not the last tiles: the moment would have passed before the kill comes.
    tiles = rng.randint(listed + 1, max(listed + 1, whole.n_tiles - 3))
    return tiles, rng.uniform(0, (whole.last - whole.first) / whole.n_tiles)


@pytest.fixture(scope="module")
def hits():
    """Of each kill: where it was meant to hit, and what it has left."""
    return []


def name_of(seed):
    return f"{seed} {' '.join(CASES[seed % len(CASES)])} {MOMENTS[seed // len(CASES)]}"


def again(words, store):
    return [*words, "--resume"] if store.exists() else words


def left_of(store):
    """What a killed run has left: the part of the tiles that is listed, and what it says of it."""
    if not store.exists():
        return 0.0, "nothing"
    state = read_record(store)
    return state["tiles_done"] / state["tiles_total"], state["status"]


def runs_expected(store):
    """How many runs the record names when one more has gone on with the store."""
    if not store.exists():
        return 1
    state = read_record(store)
    return len(state["record"]["runs"]) + (state["status"] != "complete")


@pytest.mark.parametrize("seed", SEEDS, ids=name_of)
def test_a_killed_stain_goes_on_to_the_undisturbed_bytes(
    seed, runs, words_of, undisturbed, hits, tmp_path
):
    case, when = CASES[seed % len(CASES)], MOMENTS[seed // len(CASES)]
    whole = undisturbed(*case)
    store = tmp_path / "here" / "out.ome.zarr"
    words, cache = words_of(*case, store), tmp_path / "cache"
    rng = random.Random(seed)
    for _ in range(2 if when == "twice" else 1):
        runs.begin(again(words, store), cache)
        tiles, seconds = moment(when, whole, len(read_commits(store)), rng)
        if runs.wait(lambda least=tiles: len(read_commits(store)) >= least):
            time.sleep(seconds)
        runs.kill()
        assert runs.end() in (-signal.SIGKILL, 0), runs.log.read_text()
        hits.append((when, *left_of(store)))
    entries = runs_expected(store)
    runs.begin(again(words, store), cache)
    assert runs.end() == 0, runs.log.read_text()

    assert read_record(store)["status"] == "complete"
    found = files(store)
    assert sorted(found) == sorted(whole.files)
    assert [name for name in found if found[name] != whole.files[name]] == []
    (mine, runs_of_it), (theirs, _) = described(store), described(whole.store)
    assert mine == theirs
    assert asked_for(runs_of_it) == whole.n_tiles
    assert len(runs_of_it) == entries
    assert [p.name for p in store.parent.iterdir()] == [store.name]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_what_the_killed_are_held_against_is_a_whole_stain(case, undisturbed):
    whole = undisturbed(*case)
    image = open_image(whole.store)
    assert image.shape == (SHAPE[0], 5, 1, *SHAPE[2:])
    pixels = image.data.compute()
    assert np.isfinite(pixels).all()
    assert (pixels.std(axis=(-1, -2)) > 0).all()
    levels = {name.split("/")[0] for name in whole.files}
    assert len(levels) >= 3


def test_the_kills_hit_where_they_were_meant_to(hits):
    if len(hits) < len(SEEDS):
        pytest.skip("not all seeds have run")
    middle = [part for when, part, _ in hits if when in ("in the middle", "twice")]
    assert sum(0 < part < 1 for part in middle) >= 0.8 * len(middle), hits
    assert sum(0.25 < part < 0.75 for part in middle) >= 0.25 * len(middle), hits
    # Before a tile was listed, and while a store with all its tiles was finished.
    assert sum(part == 0 for _, part, _ in hits) >= 2, hits
    assert sum(part == 1 and status == "partial" for _, part, status in hits) >= 2, hits
