"""Whatever ends a run, what is gone on with becomes the store of a run that nothing ended."""

import json
import random
import runpy
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_commits, read_record

SCRIPT = Path(__file__).with_name("tile_writer.py")
writer = runpy.run_path(str(SCRIPT))
N = len(writer["REGIONS"])


@contextmanager
def process(kind, path):
    """Start a writer in a process of its own, loaded and waiting for its go."""
    child = subprocess.Popen(
        [sys.executable, str(SCRIPT), kind, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def go(child):
    child.stdin.write("go\n")
    child.stdin.flush()


def contents(path):
    group = zarr.open_group(path, mode="r")
    windows = [channel["window"] for channel in group.attrs["ome"]["omero"]["channels"]]
    return [group[str(level)][:] for level in range(4)], windows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The store of a run that nothing ended, and the seconds that it took."""
    path = tmp_path_factory.mktemp("whole") / "out.zarr"
    with process("run", path) as child:
        began = time.monotonic()
        go(child)
        assert child.stdout.readline() == "done\n"
        seconds = time.monotonic() - began
    return contents(path), seconds


def check(path, undisturbed, *, tidy=True):
    (levels, windows), _ = undisturbed
    assert read_record(path)["status"] == "complete"
    found, shown = contents(path)
    for one, other in zip(found, levels, strict=True):
        np.testing.assert_array_equal(one, other)
    assert shown == windows
    if tidy:
        assert sorted(p.name for p in (path / "0").iterdir()) == ["c", "zarr.json"]
        assert not list(path.glob("**/*.partial"))
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path, undisturbed):
    path = tmp_path / "out.zarr"
    sink = writer["open_sink"](path)
    with process("help", path) as child:
        go(child)
        writer["write"](sink, range(0, N, 2))
        assert child.stdout.readline() == "done\n"
    assert sink.committed() == set(range(N))
    sink.finish()
    check(path, undisturbed)


def half_a_line(path):
    for name in ("commits", "notes"):
        with (path / "0" / name).open("ab") as file:
            file.write(b'\n{"tile": 1' if name == "notes" else b"\n1")


def truncated_chunk(path):
    """Of the tile that was being written, and of a level above it."""
    for file in (path / "0/c/0/0/0/2/4", path / "1/c/0/1/0/1/2"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x28\xb5\x2f\xfd"[: 4 if file.name == "4" else 0])


def half_a_chunk_beside(path):
    file = path / "0/c/0/0/0/2/4.0123.partial"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x28")


def half_of_the_metadata_beside(path):
    (path / "zarr.0123.partial").write_bytes(b"{")


def pixels_of_another_device(path):
    """A tile that was written, but not listed, with other last bits."""
    region = writer["REGIONS"][6]
    zarr.open_array(path / "0", mode="r+")[region] = writer["tile"](6) * 1.01


@pytest.mark.parametrize(
    "harm",
    [
        half_a_line,
        truncated_chunk,
        half_a_chunk_beside,
        half_of_the_metadata_beside,
        pixels_of_another_device,
    ],
    ids=lambda harm: harm.__name__.replace("_", " "),
)
def test_what_a_crash_leaves_behind_does_no_harm(tmp_path, undisturbed, harm):
    path = tmp_path / "out.zarr"
    sink = writer["open_sink"](path)
    writer["write"](sink, range(6))
    del sink
    harm(path)
    writer["run"](path)
    check(path, undisturbed)


def test_a_chunk_that_a_power_cut_damaged_is_one_sentence(tmp_path):
    path = tmp_path / "out.zarr"
    sink = writer["open_sink"](path)
    writer["write"](sink, range(N - 1))
    sink.leave("cut off")
    (path / "1/c/1/1/0/4/2").write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(ImageFileError, match="is damaged: .*Run the command again with --overwr"):
        writer["run"](path)
    assert read_record(path)["status"] == "partial"


@pytest.mark.parametrize("left", [0, 1, 4, 15, 16, 17, 40, 0.5, 0.99])
@pytest.mark.parametrize("rest", [b"", b"\0"], ids=["cut off", "zeros"])
def test_a_chunk_that_is_not_whole_is_an_error_never_other_pixels(tmp_path, left, rest):
    path = tmp_path / "out.zarr"
    with writer["open_sink"](path) as sink:
        writer["write"](sink, range(N))
    file = path / "0/c/0/0/0/1/1"
    whole = file.read_bytes()
    keep = int(left * len(whole)) if isinstance(left, float) else left
    file.write_bytes(whole[:keep] + rest * (len(whole) - keep))
    with pytest.raises(ImageFileError, match="cannot be read to the end"):
        open_image(path).read(writer["REGIONS"][0])


def test_after_a_power_cut_only_what_the_disk_has_is_believed(tmp_path, undisturbed):
    path = tmp_path / "out.zarr"
    sink = writer["open_sink"](path)
    writer["write"](sink, range(7))
    sink._log.sync()
    writer["write"](sink, [*range(7, 12), 0])
    del sink
    # The process alone was killed.
    sink = writer["open_sink"](path)
    assert sink.committed() == set(range(12))
    del sink
    # The computer was: the entries are of another start, and a chunk is lost.
    notes = path / "0" / "notes"
    entries = [json.loads(line) for line in notes.read_text().splitlines() if line]
    lines = [json.dumps(e | ({"start": "before"} if "tile" in e else {})) for e in entries]
    notes.write_text("".join(f"\n{line}\n" for line in lines))
    (path / "0/c/0/0/0/4/6").unlink()
    sink = writer["open_sink"](path)
    assert sink.committed() == set(range(1, 7))
    del sink
    writer["run"](path)
    check(path, undisturbed)


def kill_and_go_on(path, undisturbed, seed):
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 2)):
        with process("run", path) as child:
            go(child)
            time.sleep(rng.uniform(0, 1.1 * undisturbed[1]))
            child.kill()
            child.wait()
        if not path.exists():
            continue
        if read_record(path)["status"] == "complete":
            # Killed between its last word and tidying up, or too late.
            check(path, undisturbed, tidy=False)
            return
        finest = zarr.open_array(path / "0", mode="r")
        for number in read_commits(path):  # all that is listed is there, to the last pixel
            np.testing.assert_array_equal(finest[writer["REGIONS"][number]], writer["tile"](number))
    writer["run"](path)
    check(path, undisturbed)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_goes_on_to_the_undisturbed_pixels(tmp_path, undisturbed, seed):
    kill_and_go_on(tmp_path / "out.zarr", undisturbed, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 53))
def test_a_run_killed_at_fifty_points_goes_on_too(tmp_path, undisturbed, seed):
    kill_and_go_on(tmp_path / "out.zarr", undisturbed, seed)
