"""Two runs never write the same store; a run that is dead keeps nobody out."""

import json
import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from napari_virtualstain.errors import OutputBusyError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.io.sink_lock import LOCK, StoreLock, check_unlocked


def create(path, **changes):
    stated = {"shape": (1, 1, 1, 8, 8), "channels": [Channel("DNA")], "n_tiles": 1}
    return OmeZarrSink.create(path, **{**stated, **changes})


def entry(**changes):
    stated = {"pid": os.getpid(), "host": platform.node(), "at": time.time(), "token": "x"}
    return json.dumps({**stated, **changes})


def dead_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_store_that_is_being_written_is_refused(tmp_path):
    path = tmp_path / "o.zarr"
    sink = create(path)
    said = f"is being written by process {os.getpid()}. Wait until it is done, stop it, or choose"
    with pytest.raises(OutputBusyError, match=said):
        create(path, overwrite=True)
    with pytest.raises(OutputBusyError, match=said):
        OmeZarrSink.resume(path)
    with pytest.raises(OutputBusyError, match=said):
        check_unlocked(path)
    sink.write(tuple(slice(0, n) for n in sink.shape), np.ones(sink.shape))
    sink.commit(0)
    sink.finish()
    assert read_record(path)["status"] == "complete"


@pytest.mark.parametrize("end", ["finish", "fail", "leave"])
def test_a_store_that_is_done_is_free(end, tmp_path):
    path = tmp_path / "o.zarr"
    sink = create(path)
    assert (path / LOCK).exists()
    if end == "finish":
        sink.write(tuple(slice(0, n) for n in sink.shape), np.ones(sink.shape))
        sink.commit(0)
        sink.finish()
    else:
        getattr(sink, end)("enough")
    assert not (path / LOCK).exists()
    check_unlocked(path)
    create(path, overwrite=True).fail("stopped")


STALE = {
    "a process that is dead": lambda: entry(pid=dead_process()),
    "a number that another process got": lambda: entry(pid=os.getppid(), at=0.0),
    "a run of this process that is gone": lambda: entry(),
}
LIVE = {
    "another process": lambda: entry(pid=os.getppid()),
    "another computer": lambda: entry(host="elsewhere"),
    "a lock that is just being written": lambda: "",
}


@pytest.mark.parametrize("content", STALE.values(), ids=STALE)
def test_a_stale_lock_is_taken_over(content, tmp_path):
    path = tmp_path / "o.zarr"
    create(path).fail("stopped")
    (path / LOCK).write_text(content())
    sink = OmeZarrSink.resume(path)
    assert json.loads((path / LOCK).read_text())["pid"] == os.getpid()
    sink.fail("stopped")
    assert sorted(p.name for p in (path / "0").iterdir()) == ["zarr.json"]


@pytest.mark.parametrize("content", LIVE.values(), ids=LIVE)
def test_a_live_lock_is_respected(content, tmp_path):
    path = tmp_path / "o.zarr"
    create(path).fail("stopped")
    (path / LOCK).write_text(content())
    with pytest.raises(OutputBusyError, match="is being written by"):
        OmeZarrSink.resume(path)
    assert (path / LOCK).read_text() == content() or "at" in content()


def test_a_lock_that_was_never_filled_is_stale_after_a_while(tmp_path):
    path = tmp_path / "o.zarr"
    create(path).fail("stopped")
    (path / LOCK).touch()
    os.utime(path / LOCK, (0, 0))
    OmeZarrSink.resume(path).fail("stopped")


def test_the_lock_of_another_computer_names_the_file_to_delete(tmp_path):
    path = tmp_path / "o.zarr"
    create(path).fail("stopped")
    (path / LOCK).write_text(entry(host="elsewhere", pid=7))
    with pytest.raises(OutputBusyError, match="by process 7 on 'elsewhere'.*or delete '.*lock'"):
        check_unlocked(path)


def test_of_many_that_want_a_stale_lock_one_gets_it(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / LOCK).write_text(entry(pid=dead_process()))
    gate, got, refused = threading.Barrier(8), [], []

    def want():
        gate.wait()
        try:
            got.append(StoreLock.take(tmp_path))
        except OutputBusyError:
            refused.append(1)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].release()
    assert list((tmp_path / "0").iterdir()) == []
