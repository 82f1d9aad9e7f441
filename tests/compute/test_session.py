"""A session: runs in a process beside this one, told on, stopped, killed, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import dask
import distributed
import psutil
import pytest

from napari_virtualstain.compute.session import Session
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.batch import BatchSettings
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.stain import StainSettings


def wait_until(condition, timeout=20.0):
    """Wait without a fixed pause; fail where it never comes true."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true in time")


@pytest.fixture
def heard():
    """What `on_change` was told, as (state, progress) in order."""

    class Heard(list):
        def __call__(self, run):
            self.append((run.state, run.progress))

    return Heard()


@pytest.fixture
def stain(field_folder, tiny_model, tmp_path):
    """Settings of a stain over 64 tiles, each of which takes a moment."""

    def settings(name="out", **more):
        values = {
            "input": str(field_folder / "brightfield.ome.zarr"),
            "model": str(tiny_model),
            "tile": 32,
            "out": str(tmp_path / f"{name}.ome.zarr"),
        }
        return StainSettings(**(values | more))

    return settings


def test_a_run_writes_its_store_and_tells_of_every_stage(compute_session, stain, heard):
    run = compute_session.submit("stain", stain(), on_change=heard)
    outcome = run.wait(60)
    assert outcome.state == "done", outcome
    assert outcome.result["tiles_done"] == outcome.result["tiles_total"] == 64
    assert read_record(outcome.result["out"])["status"] == "complete"
    assert [state for state, _ in heard][-1] == "done"
    assert run.store is not None
    assert {what for _, p in heard if p for what in [p[2]]} >= {"tiles stained"}


def test_a_run_elsewhere_gives_the_pixels_of_a_run_in_this_process(compute_session, stain):
    from napari_virtualstain.jobs import stain as job

    there = compute_session.submit("stain", stain("there")).wait(60)
    here = job.run(stain("here"))
    a, b = (open_image(path).data.compute() for path in (there.result["out"], here.out))
    assert a.tobytes() == b.tobytes()


def test_a_failure_arrives_as_the_sentence_of_the_job(compute_session, stain):
    outcome = compute_session.submit("stain", stain(input="/nowhere/at/all.tif")).wait(30)
    assert outcome.state == "failed"
    assert outcome.sentence == (
        "'/nowhere/at/all.tif' does not exist, nor does the folder '/nowhere/at'. Check the path."
    )
    assert "MissingInputError" in outcome.traceback


def test_runs_queue_in_order_and_an_urgent_one_goes_beside(compute_session, stain):
    order = []
    slow = [
        compute_session.submit(
            "stain", stain(f"o{n}"), on_change=lambda r: order.append((r.verb, r.state, r.id))
        )
        for n in range(2)
    ]
    wait_until(lambda: slow[0].state == "running")
    plan = PlanSettings(
        **{k: v for k, v in stain().model_dump().items() if k in PlanSettings.model_fields}
    )
    quick = compute_session.submit("plan", plan, urgent=True)
    assert quick.wait(30).state == "done"
    assert slow[1].state == "waiting"
    assert [run.wait(60).state for run in slow] == ["done", "done"]
    ends = [run for verb, state, run in order if state == "done"]
    assert ends == [run.id for run in slow]


def test_a_cancelled_run_ends_at_its_next_tile_and_leaves_a_partial_store(compute_session, stain):
    """Within 100 ms and the time of one tile, which is measured here."""
    came = []
    run = compute_session.submit(
        "stain", stain(), on_change=lambda r: came.append((time.monotonic(), r.progress))
    )
    wait_until(lambda: tiles_of(came)[1:])
    began = time.monotonic()
    run.cancel()
    assert run.wait(10).state == "cancelled"
    took = time.monotonic() - began
    # Two reports are a tile apart or more: they come at most ten times a second.
    (first, done), (last, more) = (tiles_of(came)[at] for at in (0, -1))
    tile = (last - first) / max(1, more - done)
    assert took < BUSY * (0.1 + tile), f"{took:.3f} s, a tile takes {tile:.3f} s"
    state = read_record(run.settings.out)
    assert state["status"] == "partial"
    assert state["tiles_done"] < state["tiles_total"]


BUSY = 3.0
"""By which other processes may slow this machine down between two looks at it."""


def tiles_of(came):
    """Return when so many tiles were told as stained."""
    return [(at, p[0]) for at, p in came if p is not None and p[2] == "tiles stained"]


def test_a_run_that_waits_is_cancelled_at_once_and_writes_nothing(compute_session, stain):
    first = compute_session.submit("stain", stain("first"))
    second = compute_session.submit("stain", stain("second"))
    second.cancel()
    assert second.wait(0.5).state == "cancelled"
    assert first.wait(60).state == "done"
    assert not Path(second.settings.out).exists()


def test_a_cancelled_run_resumes_to_the_bits_of_an_undisturbed_one(compute_session, stain):
    run = compute_session.submit("stain", stain("cut"))
    wait_until(lambda: run.progress is not None and run.progress[2] == "tiles stained")
    run.cancel()
    run.wait(10)
    again = compute_session.submit("stain", stain("cut", resume=True)).wait(60)
    whole = compute_session.submit("stain", stain("whole")).wait(60)
    a, b = (open_image(o.result["out"]).data.compute() for o in (again, whole))
    assert a.tobytes() == b.tobytes()


def test_the_default_scheduler_and_the_environment_stay_as_they_were(compute_session, stain):
    before = dict(os.environ)
    assert compute_session.submit("stain", stain()).wait(60).state == "done"
    assert dict(os.environ) == before
    assert dask.config.get("scheduler", None) is None
    with pytest.raises(ValueError, match="No global client found"):
        distributed.get_client()


def test_somebody_elses_dask_layer_is_computed_here_and_at_once(compute_session, stain):
    import dask.array as da

    run = compute_session.submit("stain", stain())
    wait_until(lambda: run.state == "running")
    began = time.monotonic()
    me = os.getpid()
    where = da.from_delayed(dask.delayed(os.getpid)(), (), int).compute()
    took = time.monotonic() - began
    assert int(where) == me
    assert took < 0.5
    run.wait(60)


def test_messages_stay_small_however_much_a_job_says():
    import json

    from napari_virtualstain.compute.work import MESSAGE_BYTES, Post

    sent = []
    post = Post(sent.append, "run")
    for n in range(500):
        post.put("progress", (n, 500, "tiles stained"))
        post.put("note", "µ" * 3000)
    post.close()
    assert max(len(json.dumps(message)) for message in sent) <= MESSAGE_BYTES
    assert sum(len(message["words"]) for message in sent) == 500
    assert [m["progress"][0] for m in sent if m["progress"]][-1] == 499


def test_evaluate_runs_there_too(compute_session, stain, field_folder):
    made = compute_session.submit("stain", stain()).wait(60)
    settings = EvaluateSettings(
        prediction=made.result["out"], target=str(field_folder / "stains.ome.zarr")
    )
    outcome = compute_session.submit("evaluate", settings).wait(60)
    assert outcome.state == "done", outcome
    assert {row["stain"] for row in outcome.result["channels"]} >= {"DNA", "Mito"}


# --- with a server of their own: it is killed, or has to be new ------------------------------------


@pytest.fixture(scope="module")
def own_session():
    """A session that a test may break, since it recovers."""
    session = Session()
    yield session
    session.close()


def test_a_batch_tells_of_each_of_its_images(compute_session, field_folder, tiny_model, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(field_folder / "brightfield.ome.zarr", folder / "a.ome.zarr")
    (folder / "half.tif").write_bytes(b"II*\0" + bytes(50))
    settings = BatchSettings(input=str(folder), model=str(tiny_model), out=str(tmp_path / "out"))
    told = []
    run = compute_session.submit(
        "batch",
        settings,
        on_change=lambda r: told.append({k[0]: v["state"] for k, v in r.items.items()}),
    )
    assert run.wait(60).state == "done"
    path = str(folder / "a.ome.zarr")
    assert next(states[path] for states in told if path in states) == "running"
    assert told[-1] == {path: "done", str(folder / "half.tif"): "failed"}
    assert run.items[str(folder / "half.tif"), ""]["sentence"].endswith("from its source.")


def test_a_killed_worker_fails_its_run_in_one_sentence_and_the_next_run_works(own_session, stain):
    run = own_session.submit("stain", stain("killed"))
    wait_until(lambda: run.progress is not None and run.progress[2] == "tiles stained", 60)
    psutil.Process(run.pid).kill()
    outcome = run.wait(10)
    assert outcome.state == "failed"
    assert outcome.sentence == (
        "The compute process ended unexpectedly: killed, or out of memory. What was done is kept; "
        "start the run again to go on, with a smaller --tile if memory was short."
    )
    assert read_record(run.settings.out)["status"] == "partial"
    resumed = own_session.submit("stain", stain("killed", resume=True)).wait(60)
    assert resumed.state == "done", resumed


def test_kill_ends_a_run_within_five_seconds(own_session, stain):
    run = own_session.submit("stain", stain())
    wait_until(lambda: run.progress is not None, 60)
    began = time.monotonic()
    run.kill()
    assert run.wait(5).state == "cancelled"
    assert time.monotonic() - began < 5
    wait_until(lambda: own_session.state.name == "ready", 30)


# dask's client leaves a socket to the collector when its scheduler is gone in mid-handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_server_fails_its_runs_and_the_next_one_starts_another(own_session, stain):
    run = own_session.submit("stain", stain("one"))
    wait_until(lambda: run.progress is not None and run.progress[2] == "tiles stained", 60)
    psutil.Process(own_session._server.pid).kill()
    assert run.wait(10).state == "failed"
    again = own_session.submit("stain", stain("two")).wait(60)
    assert again.state == "done", again


def test_closing_leaves_no_process_no_thread_and_no_temporary_store(stain):
    threads = set(threading.enumerate())
    session = Session()
    out = session.folder / "temporary.ome.zarr"
    assert session.submit("stain", stain(out=str(out))).wait(60).state == "done"
    # Not all children of this process: those of other tests' sessions come and go.
    server = psutil.Process(session._server.pid)
    children = [server, *server.children(recursive=True)]
    assert len(children) > 1
    session.close()
    assert not session.folder.exists()
    _, left_over = psutil.wait_procs(children, timeout=5)
    assert left_over == []
    # dask and zarr keep pools for the life of a process; none of them is ours.
    left = {t.name for t in set(threading.enumerate()) - threads}
    assert not [name for name in left if name.startswith(("compute", "IO loop", "messages"))]


@pytest.mark.slow
def test_an_idle_process_ends_keeps_its_stores_and_comes_back(stain):
    session = Session(idle_s=0.5)
    try:
        out = session.folder / "kept.ome.zarr"
        assert session.submit("stain", stain(out=str(out))).wait(60).state == "done"
        wait_until(lambda: session.state.name == "asleep", 30)
        assert read_record(out)["status"] == "complete"
        back = {k: v for k, v in stain().model_dump().items() if k in PlanSettings.model_fields}
        assert session.submit("plan", PlanSettings(**back)).wait(60).state == "done"
    finally:
        session.close()


def test_the_server_ends_and_tidies_up_when_the_viewer_is_killed(tmp_path, stain):
    """A parent that dies without a word: nothing of it may live on."""
    import subprocess

    code = (
        "import time\n"
        "from napari_virtualstain.compute.session import Session\n"
        "s = Session(); s.open()\n"
        "while s.state.name != 'ready': time.sleep(0.05)\n"
        "print(s.folder, s._server.pid, s.state.worker['pid'], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    folder, server, worker = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in (server, worker)), 10)
    wait_until(lambda: not Path(folder).exists(), 5)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a terminal are those of POSIX")
def test_ctrl_c_in_the_terminal_of_the_viewer_leaves_the_process_alone(compute_session, stain):
    """An interrupted cell of a notebook, or of napari's console, must not end the computing."""
    import signal

    wait_until(lambda: compute_session.state.name == "ready", 60)
    server = compute_session._server.pid
    assert os.getpgid(server) != os.getpgid(0)
    os.kill(server, signal.SIGINT)
    assert compute_session.submit("stain", stain()).wait(60).state == "done"
    assert compute_session._server.pid == server


def test_a_module_beside_the_images_is_not_run(tmp_path, monkeypatch):
    """The current folder may hold a dask.py of anybody's."""
    (tmp_path / "dask.py").write_text("open('was-run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    session = Session()
    try:
        session.open()
        wait_until(lambda: session.state.name in ("ready", "failed"), 60)
        assert session.state.name == "ready"
    finally:
        session.close()
    assert not (tmp_path / "was-run").exists()


def test_nothing_answers_without_credentials(compute_session):
    """dask opens ports for pages with call stacks and logs: they must have none."""
    import urllib.error
    import urllib.request

    wait_until(lambda: compute_session.state.name == "ready", 60)
    ours = [compute_session._server.pid, compute_session.state.worker["pid"]]
    ports = {
        (c.laddr.ip, c.laddr.port)
        for pid in ours
        for c in psutil.Process(pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert ports
    assert {ip for ip, _ in ports} == {"127.0.0.1"}
    for ip, port in ports:
        for page in ("", "info/main/workers.html", "health", "metrics", "json/counts.json"):
            with pytest.raises((urllib.error.URLError, OSError)):
                urllib.request.urlopen(f"http://{ip}:{port}/{page}", timeout=2)
        try:
            with urllib.request.urlopen(f"http://{ip}:{port}/sitemap.json", timeout=2) as answer:
                listed = json.load(answer)["paths"]
        except OSError:
            continue  # a port with credentials
        assert listed == ["/sitemap.json"]


@pytest.mark.slow
def test_a_run_that_is_cancelled_while_the_process_starts_never_begins(stain):
    session = Session()
    try:
        run = session.submit("stain", stain())
        run.cancel()
        assert run.wait(5).sentence == "Cancelled before it began."
        assert session.submit("stain", stain("next")).wait(60).state == "done"
    finally:
        session.close()
    assert not Path(run.settings.out).exists()


def test_folders_of_viewers_that_are_gone_are_swept(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = psutil.pids()[-1] + 100_000
    old, young, mine = (
        tmp_path / f"virtualstain-{pid}-{name}"
        for pid, name in ((gone, "old"), (gone, "young"), (os.getpid(), "mine"))
    )
    for folder in (old, young, mine):
        folder.mkdir()
    two_days_ago = time.time() - 2 * 86400
    for folder in (old, mine):
        os.utime(folder, (two_days_ago, two_days_ago))
    session = Session()
    session.close()
    assert not old.exists()
    assert young.exists()
    assert mine.exists()


def test_a_stranger_on_this_machine_is_refused(compute_session, stain):
    """Neither without encryption nor with credentials of its own."""
    from distributed import Client
    from distributed.security import Security

    wait_until(lambda: compute_session.state.name == "ready", 60)
    address = compute_session._server.address
    for where, security in (
        (address.replace("tls://", "tcp://"), None),
        (address, Security.temporary()),
    ):
        with pytest.raises(OSError):
            Client(where, security=security, set_as_default=False, timeout=2)
    assert compute_session.submit("stain", stain()).wait(60).state == "done"


SCRIPT = """\
import os, sys
import napari
import psutil

viewer = napari.Viewer(show=False)
with open(os.environ["COUNT"], "a") as count:
    count.write(f"{os.getpid()}\\n")
from napari_virtualstain.compute.session import Session
from napari_virtualstain.jobs.stain import StainSettings


def has_windows(process):
    return any("Qt6Widgets" in part.path for part in process.memory_maps())


def main():
    before = dict(os.environ)
    session = Session()
    run = session.submit("stain", StainSettings(**eval(sys.argv[1])))
    outcome = run.wait(90)
    assert outcome.state == "done", outcome
    assert dict(os.environ) == before
    assert len(napari.Viewer._instances) == 1
    here = psutil.Process()
    children = here.children(recursive=True)
    assert run.pid in [child.pid for child in children]
    if sys.platform == "linux":
        assert has_windows(here)
        assert not any(has_windows(child) for child in children)
    session.close()


"""
CALLS = {
    "without_a_guard": "main()\nviewer.close()\n",
    "with_a_guard": 'if __name__ == "__main__":\n    main()\n    viewer.close()\n',
}
NO_WINDOW = find_spec("napari") is None or (
    sys.platform == "linux" and not os.environ.get("DISPLAY")
)


@pytest.mark.slow
@pytest.mark.skipif(NO_WINDOW, reason="a viewer needs napari and a display: run under xvfb-run")
@pytest.mark.parametrize("guard", CALLS)
def test_a_script_that_opens_a_viewer_at_top_level_gets_one(tmp_path, stain, guard):
    """Nothing runs the user's script again: no second viewer, no guard needed."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + CALLS[guard])
    done = subprocess.run(
        [sys.executable, str(script), repr(stain(tile=64).model_dump(mode="json"))],
        env={**os.environ, "COUNT": str(tmp_path / "count")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "count").read_text().splitlines()) == 1


def test_no_scheduler_at_an_address_is_one_sentence(compute_session, stain, monkeypatch):
    monkeypatch.setattr(compute_session, "address", "tcp://127.0.0.1:9")
    outcome = compute_session.submit("stain", stain()).wait(60)
    assert outcome.state == "failed"
    assert outcome.sentence.startswith("No scheduler answers at tcp://127.0.0.1:9 (")
    assert outcome.sentence.endswith("or compute on this machine.")


def test_no_session_imports_torch_here(subprocess_python):
    code = (
        "import sys, napari_virtualstain.compute.session, napari_virtualstain.jobs.stain\n"
        "import napari_virtualstain.jobs.plan, napari_virtualstain.jobs.evaluate\n"
        "import napari_virtualstain.jobs.doctor, napari_virtualstain.compute.work\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess_python(code).strip() == "False"
