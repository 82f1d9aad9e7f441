"""A scheduler and its workers beside a viewer or a command, while somebody holds its input.

``python -m napari_virtualstain.compute.serve FOLDER [CROWD]`` writes one line of JSON
to its standard output (address and credentials) and serves until its standard
input says ``stop`` or ends. An end without a word means that the viewer is
gone, however it went: then ``FOLDER``, with the temporary stores in it, is
deleted too. Without a crowd (see `compute.cluster.Crowd`, as JSON) there is
one worker, for a viewer; with one there are so many, for a run that they share.

The credentials are made at the start, live in memory only, and reach the
viewer through a pipe that nobody else can read. Whoever cannot show them is
refused in the handshake, the worker's own connections included.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CONFIG", "LOG", "STOP", "main"]

STOP = "stop"
"""Said on the input by a session that wants to keep its folder."""
LOG = "server.log"
"""In the folder: what scheduler, worker and networks print."""
THREADS = 3
"""Of the viewer's worker: one for the run, one for a plan or a question, and one for a download."""
_NUMBER_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NICENESS = 15
"""Lower than the viewer's: it stays smooth, the network loses about 3 % (measured)."""
_LAST_RESORT_S = 3.0

CONFIG: dict[str, Any] = {
    # A killed worker's task would be run again from the start, without a word.
    "distributed.scheduler.allowed-failures": 0,
    # A laptop that slept has a worker that did not answer for hours.
    "distributed.scheduler.worker-ttl": None,
    # A child process of a data loader needs a parent that is no daemon.
    "distributed.worker.daemon": False,
    # By default one thread a network and memory handed back after every layer: 2.6 times slower.
    **{
        f"distributed.nanny.pre-spawn-environ.{name}": None
        for name in ("MALLOC_TRIM_THRESHOLD_", *_NUMBER_THREADS)
    },
    # Memory is bounded by tiles; a worker that is paused or ended half-way helps nobody.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Inside a task the default is to send the graph back to the scheduler: 24 times slower.
    "scheduler": "synchronous",
    # An hour of call stacks, of measurements every half second and of transitions: 0.8 MB a run,
    # and nobody looks at them.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.log-length": 60,
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.tick.limit": "30 s",
    # Pages with call stacks and logs, without a login.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


async def _serve(
    folder: Path, ended: threading.Event, announce: Any, crowd: dict[str, Any] | None
) -> None:
    from distributed import Scheduler
    from distributed.security import Security

    security = Security.temporary()
    async with Scheduler(
        host="127.0.0.1",
        port=0,
        protocol="tls",
        dashboard=False,
        dashboard_address="127.0.0.1:0",  # not a port that the user's own cluster wants
        security=security,
    ) as scheduler:
        announce(scheduler.address, security)
        nannies = list(_nannies(scheduler.address, security, folder, crowd))
        try:
            await asyncio.gather(*nannies)  # which starts them
            await asyncio.to_thread(ended.wait)
        finally:
            await asyncio.gather(*(nanny.close() for nanny in nannies), return_exceptions=True)


def _nannies(
    address: str, security: Any, folder: Path, crowd: dict[str, Any] | None
) -> Iterator[Any]:
    """Make what starts each worker, and starts it again if it dies."""
    from distributed import Nanny

    cards = (crowd or {}).get("cards") or ()
    for number in range(1 if crowd is None else crowd["count"]):
        # A worker sees its own graphics card only, which is therefore the first one there.
        card = {"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]} if cards else {}
        yield Nanny(
            address,
            nthreads=THREADS if crowd is None else crowd["threads"],
            host="127.0.0.1",
            protocol="tls",
            security=security,
            memory_limit=0,
            local_directory=str(folder / "worker"),
            config=CONFIG,
            env=card,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
        )


def _set_environment(crowd: dict[str, Any] | None) -> None:
    """Set what workers inherit, and what is read before any of their code runs."""
    # Memory of all threads in one arena: in others glibc maps every large tensor anew.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    if crowd is not None:
        os.environ.update(dict.fromkeys(_NUMBER_THREADS, str(crowd["threads"])))


def _announce(address: str, security: Any) -> None:
    """Write the one line, and give the output away: what a worker prints must not fill the pipe."""
    line = {
        "address": address,
        "pid": os.getpid(),
        "certificate": security.tls_ca_file,
        "key": security.tls_client_key,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    os.dup2(2, 1)


def _listen(ended: threading.Event, words: list[str]) -> None:
    """Wait until the input says stop, or ends."""
    for line in sys.stdin:
        if line.strip() == STOP:
            words.append(STOP)
            break
    ended.set()
    # The loop may be stuck in a worker that does not close.
    timer = threading.Timer(_LAST_RESORT_S, _leave, args=(words,))
    timer.daemon = True
    timer.start()


def _leave(words: list[str]) -> None:
    _end_workers()
    _tidy(Path(sys.argv[1]), words)
    _end_workers()  # deleting takes a while, in which the loop may have started another
    os._exit(0)


def _end_workers() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def _tidy(folder: Path, words: list[str]) -> None:
    shutil.rmtree(folder / "worker", ignore_errors=True)
    if STOP not in words:
        shutil.rmtree(folder, ignore_errors=True)


def _step_back() -> None:
    """Leave the processor to the viewer whenever it wants it."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
        return
    import psutil

    psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", _NICENESS))


def main() -> int:
    """Serve until the input ends; return 0."""
    import dask

    folder = Path(sys.argv[1])
    # Ctrl-C in the terminal is for the viewer, which tells us what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    crowd = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None
    if crowd is None:
        _step_back()
    _set_environment(crowd)
    # Scratch files of libraries belong where they are deleted.
    tempfile.tempdir = str(folder)
    ended, words = threading.Event(), list[str]()
    threading.Thread(target=_listen, args=(ended, words), daemon=True).start()
    try:
        with dask.config.set(CONFIG):
            asyncio.run(_serve(folder, ended, _announce, crowd))
    finally:
        _tidy(folder, words)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
