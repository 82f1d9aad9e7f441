"""One stain over several workers: the same bits, nothing lost, one sentence for what goes wrong."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from distributed import Client

from napari_virtualstain.compute import crew, dispatch, spread
from napari_virtualstain.compute.cluster import (
    Crowd,
    connected,
    crowd_of,
    shared_over,
    workers_here,
)
from napari_virtualstain.compute.dispatch import Dispatcher, Unit, Work
from napari_virtualstain.compute.helping import greet, measure_there, stain_there
from napari_virtualstain.compute.spread import ClusterSpread
from napari_virtualstain.errors import ComputeError, DiskError, RunCancelled, SettingsError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain as job
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay import run as replay
from napari_virtualstain.jobs.stain import StainSettings

# What tests do to workers is sent as code: there is no such module there.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def _one_thread():
    """The last bits depend on the number of threads, and the workers have one each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stain(field_folder, tiny_model, tmp_path):
    """Settings of a stain over 64 tiles."""

    def settings(name="out", **more):
        values = {
            "input": str(field_folder / "brightfield.ome.zarr"),
            "model": str(tiny_model),
            "tile": 32,
            "out": str(tmp_path / f"{name}.ome.zarr"),
        }
        return StainSettings(**(values | more))

    return settings


@pytest.fixture
def notes():
    return []


@pytest.fixture
def client(dask_cluster):
    """Connected; both workers are there and are as they were before."""
    with connected(dask_cluster.address) as client:
        client.wait_for_workers(2, timeout=30)
        client.run(slowly, 0.0)
        yield client
        if client.status == "running":
            client.run(slowly, 0.0)


@pytest.fixture
def shared(client, notes):
    return ClusterSpread(client, where="the scheduler", on_note=notes.append)


def slowly(seconds):
    """On a worker: let every tile take so long."""
    import time

    from napari_virtualstain.io.sink_write import TileWriter

    plain = getattr(TileWriter, "plain", None) or TileWriter.write
    TileWriter.plain = plain

    def write(self, region, pixels, **more):
        time.sleep(seconds)
        plain(self, region, pixels, **more)

    TileWriter.write = write


def files(store):
    """The bytes of a store but for the record."""
    return {
        str(f.relative_to(store)): f.read_bytes()
        for f in Path(store).rglob("*")
        if f.is_file() and f.parent != Path(store)
    }


def pids(client):
    return client.run(os.getpid)


def kill_when(condition, *victims):
    """Kill processes as soon as a condition holds, from a thread."""

    def wait():
        until = time.monotonic() + 60
        while time.monotonic() < until and not condition():
            time.sleep(0.01)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(victim() if callable(victim) else victim).kill()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


class Stop:
    """Raises when so many tiles are done."""

    def __init__(self, at):
        self.at, self.seen = at, []

    def __call__(self, done, total, what):
        self.seen.append((done, total, what))
        if what == "tiles stained" and done >= self.at:
            raise RunCancelled("enough")


# --- the same bits ------------------------------------------------------------------------------


def test_a_shared_stain_has_the_bytes_of_one_in_this_process(stain, shared):
    seen = []
    there = job.run(stain("there"), spread=shared, on_progress=lambda *p: seen.append(p))
    here = job.run(stain("here"))
    assert files(there.out) == files(here.out)
    assert there.tiles_done == there.tiles_total == 64
    assert there.notes == here.notes
    record = read_record(there.out)["record"]
    assert record["runs"][0]["spread"] == {"scheduler": "the scheduler", "workers": 2, "hosts": 1}
    assert record["threads"] == 1
    assert there.seams is not None
    assert there.seams == here.seams
    tiles = [p for p in seen if p[2] == "tiles stained"]
    assert tiles[0] == (0, 64, "tiles stained")
    assert tiles[-1] == (64, 64, "tiles stained")
    assert tiles.count(tiles[-1]) == 1
    assert replay(ReplaySettings(record=str(there.out))).likeness.equal


def test_strips_of_a_stream_are_shared(tiny_model, tmp_path, shared):
    import tifffile

    path = tmp_path / "tall.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 999, (3, 1700, 64)).astype(np.uint16)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    outs = [tmp_path / f"{name}.ome.zarr" for name in ("here", "there")]
    for out, how in zip(outs, (None, shared), strict=True):
        settings = StainSettings(
            input=str(path), model=str(tiny_model), out=str(out), mode="stream", pixel_size=0.6,
            z=(0, 1, 2),
        )  # fmt: skip
        result = job.run(settings, spread=how)
    assert result.tiles_total == 4
    assert files(outs[0]) == files(outs[1])


@pytest.fixture(scope="module")
def instance_model(tiny_model, tmp_path_factory):
    """A network that normalises by the statistics of its image, with random weights."""
    from napari_virtualstain.generators.package import read_card, save_package
    from napari_virtualstain.generators.registry import build_generator

    card = read_card(tiny_model)
    architecture = {**card.architecture, "norm": "instance"}
    generator = build_generator(
        card.generator, in_channels=3, out_channels=len(card.stains), architecture=architecture
    )
    planes = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    out = tmp_path_factory.mktemp("instance") / "instance"
    save_package(out, card.model_copy(update={"architecture": architecture}), generator, planes)
    return out


@pytest.mark.parametrize("statistics", ["frozen", "exact"])
def test_statistics_of_an_image_are_measured_once_and_sent(
    stain, shared, instance_model, statistics, monkeypatch
):
    asked = {"model": str(instance_model), "statistics": statistics, "tile": 64}
    here = job.run(stain("here", **asked))
    measured = []
    plain = spread.measure_there
    send = Dispatcher._send

    def counted(self, unit, member):
        measured.append(unit.function is plain)
        send(self, unit, member)

    monkeypatch.setattr(Dispatcher, "_send", counted)
    there = job.run(stain("there", **asked), spread=shared)
    assert read_record(there.out)["record"]["plan"]["statistics"] == statistics
    assert sum(measured) == 1
    assert files(there.out) == files(here.out)


def test_what_is_drawn_is_the_same_wherever_it_is_drawn(
    stain, shared, tiny_model, tmp_path_factory
):
    from napari_virtualstain.generators.package import read_card, save_package
    from napari_virtualstain.generators.registry import GENERATORS, build_generator

    architecture = {**GENERATORS["palette"].presets["tiny"], "init": "kaiming"}
    card = read_card(tiny_model).model_copy(
        update={"generator": "palette", "architecture": architecture}
    )
    generator = build_generator(
        "palette", in_channels=3, out_channels=len(card.stains), architecture=architecture
    )
    model = tmp_path_factory.mktemp("palette") / "palette"
    save_package(model, card, generator, np.zeros((1, 3, 16, 16), np.float32))
    asked = {
        "model": str(model), "statistics": "frozen", "tile": 128, "seed": 5, "sampling_steps": 2,
        "draws": 2,
    }  # fmt: skip
    here = job.run(stain("here", **asked))
    there = job.run(stain("there", **asked), spread=shared)
    assert files(there.out) == files(here.out)
    assert replay(ReplaySettings(record=str(there.out))).likeness.equal


def test_a_run_that_was_cancelled_keeps_its_tiles_and_goes_on(stain, client, shared):
    client.run(slowly, 0.02)
    stop = Stop(at=8)
    with pytest.raises(RunCancelled, match="enough"):
        job.run(stain("cut"), spread=shared, on_progress=stop)
    state = read_record(stain("cut").out)
    assert state["status"] == "partial"
    assert 8 <= state["tiles_done"] < 64
    assert not (Path(stain("cut").out) / "0" / "lock").exists()
    client.run(slowly, 0.0)
    again = job.run(stain("cut", resume=True), spread=shared)
    assert again.tiles_done == 64
    assert files(again.out) == files(job.run(stain("whole")).out)


# --- workers die --------------------------------------------------------------------------------


def test_the_tiles_of_a_worker_that_dies_go_to_another(stain, client, shared, notes):
    client.run(slowly, 0.02)
    victim = next(iter(pids(client).values()))
    seen = []
    thread = kill_when(lambda: seen and seen[-1][0] > 4, victim)
    result = job.run(stain(), spread=shared, on_progress=lambda *p: seen.append(p))
    thread.join()
    assert result.tiles_done == 64
    assert [note for note in notes if "died; what it had goes to another one" in note]
    assert files(result.out) == files(job.run(stain("whole")).out)


def deadly():
    """On a worker: die at the first tile."""
    import os
    import signal

    from napari_virtualstain.inference.stainer import Stainer

    Stainer.predict = lambda *args: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_tiles_that_kill_two_workers_end_the_run(stain, client, shared):
    client.run(deadly)
    settings = stain(tile=256)
    with pytest.raises(ComputeError) as caught:
        job.run(settings, spread=shared)
    assert str(caught.value).startswith("Two workers died over the same tiles")
    assert str(caught.value).endswith("run the command again with --resume.")
    assert read_record(settings.out)["status"] == "partial"
    client.wait_for_workers(2, timeout=60)
    assert job.run(stain(tile=256, resume=True), spread=shared).tiles_done == 1


def test_no_worker_left_ends_the_run(stain, client, shared, monkeypatch):
    monkeypatch.setattr(dispatch, "_EMPTY_S", 0.5)
    client.run(slowly, 0.05)
    monkeypatch.setattr(crew.Crew, "look", lambda self: self.members.clear())
    monkeypatch.setattr(crew.Crew, "muster", lambda self, *a, **k: None)
    with pytest.raises(ComputeError, match="No worker of the scheduler is left.*--resume"):
        shared._dispatcher.work([Unit(stain_there, ({}, (), {}))], Work("", print, bool))


# --- before anything is written -----------------------------------------------------------------


def refused(stain, shared, pattern, **more):
    """Run, and see that it is refused in one sentence before anything is written."""
    with pytest.raises(ComputeError, match=pattern) as caught:
        job.run(stain(**more), spread=shared)
    assert not Path(stain().out).exists()
    assert not list(Path(stain().out).parent.glob("*.probe"))
    return str(caught.value)


def test_workers_of_another_version_are_refused(stain, shared, monkeypatch):
    monkeypatch.setattr(crew, "version", lambda name: "9.9")
    monkeypatch.setattr(crew.Crew, "_ask", asks_for_version(crew.Crew._ask))
    said = refused(stain, shared, "Of 2 workers, 2 .* cannot help: it has napari-virtualstain 0")
    assert said.endswith("Install version 9.9 in the environment that the workers run in.")


def asks_for_version(plain):
    from importlib.metadata import version

    def ask(self, address, question, function, *arguments):
        plain(self, address, question, version if question == "version" else function, *arguments)

    return ask


def test_workers_without_the_package_are_refused(stain, shared, monkeypatch):
    from importlib.metadata import version

    plain = crew.Crew._ask

    def ask(self, address, question, function, *arguments):
        plain(self, address, question, version, "napari-virtualstain-that-is-not-there")

    monkeypatch.setattr(crew.Crew, "_ask", ask)
    refused(stain, shared, "it has no napari-virtualstain, and this computer")


def test_workers_that_share_runs_in_another_form_are_refused(stain, shared, monkeypatch):
    monkeypatch.setattr(crew, "PROTOCOL", 99)
    refused(stain, shared, "shares runs in form 1, this computer in form 99. Install the same")


def test_workers_that_do_not_see_the_output_are_refused(stain, shared, monkeypatch, tmp_path):
    @contextlib.contextmanager
    def elsewhere(out):
        yield tmp_path / "not-there" / "probe"

    monkeypatch.setattr(spread, "_probe", elsewhere)
    said = refused(stain, shared, "it does not see the folder '.*not-there' of the output")
    assert said.endswith("Choose an --out on a disk that all workers see under the same path.")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"input": "/nowhere/a.tif"}, "does not see the input '/nowhere/a.tif'.*under the same"),
        ({"model": "/nowhere/model"}, "There is no model at '/nowhere/model'. Give a model"),
        ({"device": "cuda:77"}, "Device 'cuda:77' is not there.*Use --device cpu"),
    ],
    ids=["input", "model", "device"],
)
def test_what_a_worker_lacks_is_one_sentence(stain, client, tmp_path, values, sentence):
    asked = stain().model_dump(mode="json") | values
    (tmp_path / "probe").touch()
    answer = client.submit(greet, asked, str(tmp_path / "probe"), pure=False).result(30)
    assert re.search(sentence, answer["error"]["sentence"])


def test_a_scheduler_without_workers_is_one_sentence(stain, shared, monkeypatch):
    monkeypatch.setattr(crew, "_ANSWER_S", 0.3)
    monkeypatch.setattr(crew.Crew, "_present", lambda self: set())
    refused(stain, shared, "No worker came to the scheduler within 0 s. Start workers there.*again")


def test_workers_that_hang_are_one_sentence(stain, client, shared, monkeypatch):
    monkeypatch.setattr(crew, "_ANSWER_S", 1.0)
    hung = [psutil.Process(pid) for pid in pids(client).values()]
    for process in hung:
        process.suspend()
    try:
        refused(stain, shared, "The 2 workers of the scheduler did not answer within 1 s")
    finally:
        for process in hung:
            process.resume()


def test_an_array_cannot_be_shared(stain, shared, field_folder):
    from dataclasses import replace

    image = open_image(field_folder / "brightfield.ome.zarr")
    image = replace(image, source=replace(image.source, identify=None))
    with pytest.raises(SettingsError, match="array in memory cannot be shared.*in this process"):
        job.run(stain(), image=image, spread=shared)


# --- while it goes on ---------------------------------------------------------------------------


def fill_disk(full):
    """On a worker: every write finds the disk full."""
    import zarr

    if not hasattr(zarr.Array, "plain"):
        zarr.Array.plain = zarr.Array.__setitem__

    def refuse(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    zarr.Array.__setitem__ = refuse if full else zarr.Array.plain


def test_a_full_disk_on_a_worker_ends_the_run_in_its_words(stain, client, shared):
    client.run(fill_disk, True)
    try:
        with pytest.raises(DiskError, match="^On the worker tcp://.*(full|space)"):
            job.run(stain(), spread=shared)
    finally:
        client.run(fill_disk, False)
    assert read_record(stain().out)["status"] == "partial"
    assert job.run(stain(resume=True), spread=shared).tiles_done == 64


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("model", "The model .* is another one here.*copy the same files to each"),
        ("identity", "The input .* is another one here.*run the command again"),
    ],
)
def test_a_worker_that_has_another_file_does_nothing(stain, client, shared, part, sentence):
    from dataclasses import replace

    from napari_virtualstain.jobs.stain_share import Share

    plain = Share.of
    changed = staticmethod(lambda *a, **k: replace(plain(*a, **k), **{part: "another"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Share, "of", changed)
        with pytest.raises(SettingsError, match=sentence):
            job.run(stain(), spread=shared)
    assert read_record(stain().out)["tiles_done"] == 0


def test_a_process_that_took_the_place_of_another_does_nothing(client):
    for function, more in ((measure_there, (0,)), (stain_there, ((), {}, "key", "topic"))):
        answer = client.submit(function, {}, *more, "another process", pure=False).result(30)
        assert answer["error"]["kind"] == "_MovedError"


def test_no_scheduler_is_one_sentence(monkeypatch):
    monkeypatch.setattr("napari_virtualstain.compute.cluster._CONNECT_S", 0.5)
    with (
        pytest.raises(ComputeError, match="^No scheduler answers at tcp://127.0.0.1:9 .*machine.$"),
        shared_over(scheduler="tcp://127.0.0.1:9", tell=print),
    ):
        pass


def test_what_answers_and_is_no_scheduler_is_one_sentence():
    """A mistyped port may be that of a web server, which speaks first or after a while."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    other, _ = server.accept()
                    with contextlib.suppress(OSError), other:
                        other.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(ComputeError, match=f"^No scheduler answers at {address} .*machine.$"),
            shared_over(scheduler=address, tell=print),
        ):
            pass


@pytest.mark.parametrize("wanted", ["0", "-1", "two", ""])
def test_a_wish_for_workers_that_is_none_is_refused(wanted):
    with pytest.raises(SettingsError, match="neither a number from 1 on nor 'gpus'. Give one"):
        crowd_of(wanted)


def test_workers_of_this_machine_share_its_cores_and_cards(monkeypatch):
    from napari_virtualstain.compute import cluster

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cluster, "_cards", lambda: ())
    assert crowd_of("3").threads == 2
    assert crowd_of("20").threads == 1
    with pytest.raises(SettingsError, match="No graphics card.*Give a number"):
        crowd_of("gpus")
    monkeypatch.setattr(cluster, "_cards", lambda: ("4", "6"))
    assert (crowd_of("gpus").count, crowd_of("gpus").cards) == (2, ("4", "6"))


# --- asked of a session -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_session_with_an_address_shares_its_stains(
    compute_session, dask_cluster, client, stain, monkeypatch
):
    client.run(slowly, 0.02)
    session = compute_session
    monkeypatch.setattr(session, "address", dask_cluster.address)
    run = session.submit("stain", stain("cut"))
    until = time.monotonic() + 60
    while time.monotonic() < until and not (run.progress or (0, 0, ""))[2].startswith("tiles"):
        time.sleep(0.01)
    assert run.store == Path(stain("cut").out)
    run.cancel()
    assert run.wait(20).state == "cancelled"
    state = read_record(run.settings.out)
    assert state["status"] == "partial"
    client.run(slowly, 0.0)
    done = session.submit("stain", stain("cut", resume=True)).wait(60)
    assert done.state == "done", done
    assert read_record(run.settings.out)["record"]["runs"][-1]["spread"]["workers"] == 2
    assert files(run.settings.out) == files(job.run(stain("whole")).out)


# --- with processes of their own ------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_of_this_machine_that_dies_is_replaced(stain, notes):
    with workers_here(Crowd(count=2, threads=1)) as client:
        client.wait_for_workers(2, timeout=60)
        client.run(slowly, 0.05)
        victim = next(iter(pids(client).values()))
        seen = []
        own = ClusterSpread(client, where="the workers", on_note=notes.append, expected=2)
        thread = kill_when(lambda: seen and seen[-1][0] > 4, victim)
        job.run(stain(), spread=own, on_progress=lambda *p: seen.append(p))
        thread.join()
        # Nobody trims memory after every layer, and all threads take it from one place.
        for names in client.run(lambda: dict(os.environ)).values():
            assert names["MALLOC_ARENA_MAX"] == "1"
            assert names["OMP_NUM_THREADS"] == "1"
            assert "MALLOC_TRIM_THRESHOLD_" not in names
    assert [note for note in notes if "died; what it had goes to another one" in note]
    assert files(stain().out) == files(job.run(stain("whole")).out)


@pytest.mark.gpu
def test_a_worker_sees_its_own_graphics_card(stain):
    import torch

    crowd = crowd_of("gpus")
    with workers_here(crowd) as client:
        client.wait_for_workers(crowd.count, timeout=60)
        own = ClusterSpread(client, where="the workers", expected=crowd.count)
        there = job.run(stain("there", tile=None), spread=own)
        seen = client.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], torch.cuda.device_count()))
    assert sorted(seen.values()) == [(card, 1) for card in sorted(crowd.cards)]
    assert read_record(there.out)["record"]["device"] == "cuda"
    here = job.run(stain("here", tile=None))
    a, b = (open_image(made.out).data.compute() for made in (there, here))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_a_scheduler_with_tls_is_reached_by_the_configuration_of_dask(stain, tmp_path):
    import dask
    from distributed.security import Security

    made = Security.temporary()
    (tmp_path / "cert.pem").write_text(made.tls_ca_file)
    (tmp_path / "key.pem").write_text(made.tls_client_key)
    both = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    tls = {"ca-file": both["cert"], "scheduler": both, "worker": both, "client": both}
    credentials = {"distributed.comm.tls.ca-file": both["cert"]}
    for part in both:
        credentials[f"distributed.comm.tls.client.{part}"] = both[part]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "tls.yaml").write_text(
        json.dumps({"distributed": {"comm": {"require-encryption": True, "tls": tls}}})
    )
    found = tmp_path / "scheduler.json"
    there = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{name}", "--scheduler-file", str(found),
             "--no-dashboard", *more],
            env={**os.environ, "DASK_CONFIG": str(tmp_path / "config")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, more in (
            ("scheduler", ["--host", "127.0.0.1", "--port", "0", "--protocol", "tls"]),
            ("worker", ["--nthreads", "1", "--local-directory", str(tmp_path)]),
        )
    ]  # fmt: skip
    try:
        until = time.monotonic() + 30
        while not (found.exists() and found.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        address = json.loads(found.read_text())["address"]
        assert address.startswith("tls://")
        with (
            pytest.raises(ComputeError, match="No scheduler answers.*in dask's configuration"),
            shared_over(scheduler=address, tell=lambda *said: None),
        ):
            pass
        with (
            dask.config.set(credentials),
            shared_over(scheduler=address, tell=lambda *said: None) as there_shared,
        ):
            assert job.run(stain(), spread=there_shared).tiles_done == 64
    finally:
        for process in reversed(there):
            process.terminate()
            process.wait(10)


# --- last: it ends the scheduler ----------------------------------------------------------------


# dask's client leaves a socket to the collector when its scheduler is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_scheduler_leaves_a_store_to_go_on_with(stain, client, shared, dask_cluster):
    client.run(slowly, 0.05)
    seen = []
    thread = kill_when(lambda: seen and seen[-1][0] > 30, dask_cluster.scheduler.pid)
    with pytest.raises(ComputeError) as caught:
        job.run(stain(), spread=shared, on_progress=lambda *p: seen.append(p))
    thread.join()
    assert str(caught.value) == (
        "The scheduler is lost: it ended, or the network did. What was done is kept: start it "
        "again, and run the command again with --resume."
    )
    state = read_record(stain().out)
    assert (state["status"], state["tiles_total"]) == ("partial", 64)
    assert job.run(stain(resume=True)).tiles_done == 64
    assert files(stain().out) == files(job.run(stain("whole")).out)


def test_a_client_is_never_the_default_one(dask_cluster):
    with pytest.raises(ValueError, match="No clients found|No global client"):
        Client.current()
