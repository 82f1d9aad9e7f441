"""Which workers share a stain: those of a scheduler elsewhere, or processes of this machine."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_virtualstain.compute.crew import first_line
from napari_virtualstain.compute.server import Server
from napari_virtualstain.compute.spread import ClusterSpread
from napari_virtualstain.compute.work import Listener, cancel, perform
from napari_virtualstain.errors import ComputeError, SettingsError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["GPUS", "Crowd", "ask", "connected", "crowd_of", "shared_over", "workers_here"]

GPUS = "gpus"
"""In place of a number of workers: one a graphics card."""
_CONNECT_S = 5.0
_TICK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many processes of this machine share a run, and what each has.

    Parameters
    ----------
    count
        Processes.
    threads
        Of an operation on the processor, in each.
    cards
        What ``CUDA_VISIBLE_DEVICES`` is in each, in turn; none without graphics cards.
    """

    count: int
    threads: int
    cards: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def crowd_of(wanted: str) -> Crowd:
    """Return what a wish for workers means on this machine.

    Parameters
    ----------
    wanted
        A number, or ``"gpus"`` for one a graphics card. With fewer cards than workers some
        share one; without cards they share the processor.

    Raises
    ------
    SettingsError
        If it is no number from 1 on, or there is no graphics card.
    """
    cards = _cards()
    if wanted == GPUS:
        if not cards:
            raise SettingsError(
                "No graphics card is there for --workers gpus. Give a number of workers instead."
            )
        count = len(cards)
    elif wanted.isascii() and wanted.isdigit() and int(wanted) > 0:
        count = int(wanted)
    else:
        raise SettingsError(
            f"--workers {wanted!r} is neither a number from 1 on nor 'gpus'. Give one of these."
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Crowd(count=count, threads=max(1, (cores or 1) // count), cards=cards)


def _cards() -> tuple[str, ...]:
    """Return the graphics cards that this process may use, as the environment names them."""
    from napari_virtualstain.inference.device import describe_torch

    count = len(describe_torch().cuda_devices)
    stated = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [part.strip() for part in stated.split(",")] if stated else map(str, range(count))
    return tuple(names)[:count]


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler; credentials for ``tls://`` come from dask's own configuration.

    Parameters
    ----------
    address
        For example ``"tcp://host:8786"``.

    Raises
    ------
    ComputeError
        If nothing answers there.
    """
    try:
        client = _client(address)
    except (OSError, TimeoutError, ValueError, TypeError, MemoryError) as error:
        # TypeError: there are no credentials. MemoryError: the first bytes that a web server
        # sends were taken for a length.
        strange = isinstance(error, MemoryError)
        why = "what answers is none" if strange else first_line(error)
        raise ComputeError(
            f"No scheduler answers at {address} ({why}). Check the address, "
            "that it runs, and that its credentials are in dask's configuration; or compute on "
            "this machine."
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=2)


def _client(address: str, **more: Any) -> Client:
    """Connect; what it began is ended where it does not come about."""
    from distributed import Client

    client = Client.__new__(Client)
    try:
        # As the default client it would take over every .compute() of this process.
        client.__init__(address, set_as_default=False, timeout=_CONNECT_S, **more)
    except BaseException:
        with suppress(Exception):
            client.close(timeout=0.1)
        client.status = "closed"  # or it would be tried again for ten seconds at some later time
        raise
    return client


def ask(client: Client, verb: str, values: dict[str, Any], tell: Listener) -> dict[str, Any]:
    """Have one worker run a whole job, and return its result as plain values.

    Parameters
    ----------
    client
        Connected to its scheduler.
    verb, values, tell
        See `compute.work.run_job`; ``tell`` is called in the caller's thread.

    Raises
    ------
    ComputeError
        With the sentence of the job, or if the worker or the scheduler went away.
    """
    run, topic = uuid4().hex, f"virtualstain-{uuid4().hex}"
    heard: queue.Queue[tuple[str, Any]] = queue.Queue()

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        for kind, content in event[1]["words"]:
            heard.put((kind, content))
        if event[1]["progress"] is not None:
            heard.put(("progress", tuple(event[1]["progress"])))

    client.subscribe_topic(topic, hear)
    future = client.submit(perform, verb, values, run, topic, pure=False, retries=0)
    try:
        while future.status == "pending" or not heard.empty():
            with suppress(queue.Empty):
                tell(*heard.get(timeout=_TICK_S))
    except BaseException:
        # On the workers' event loops, beside the job; future.cancel() does not stop one.
        with suppress(OSError, TimeoutError, KeyError):
            client.run(cancel, run, wait=False, on_error="ignore")
        raise
    finally:
        client.unsubscribe_topic(topic)
    if future.status != "finished":
        error = future.exception() if future.status == "error" else None
        why = "" if error is None else f" ({type(error).__name__}: {first_line(error)})"
        raise ComputeError(
            f"The worker or the scheduler went away{why}. See that they run and have the same "
            "version of napari-virtualstain as this computer, and run the command again."
        )
    told: dict[str, Any] = future.result()
    if "result" in told:
        return dict(told["result"])
    raise ComputeError(told["sentence"])


@contextmanager
def workers_here(crowd: Crowd) -> Iterator[Client]:
    """Start processes on this machine, and end them when the block is left.

    Parameters
    ----------
    crowd
        How many.

    Raises
    ------
    ComputeError
        If they do not start.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"virtualstain-{os.getpid()}-"))
    server = None
    try:
        server = Server(folder, lambda _server: None, crowd=crowd.to_json())
        try:
            client = _client(server.address, security=server.credentials.security())
        except (OSError, TimeoutError, ValueError) as error:
            raise ComputeError(
                f"The workers were started, but do not answer ({first_line(error)}). "
                "Try again; if it goes on, run `virtualstain doctor`."
            ) from error
        try:
            yield client
        finally:
            client.close(timeout=2)
    finally:
        if server is not None:
            server.stop(keep=False)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_over(
    *,
    scheduler: str | None = None,
    workers: str | None = None,
    tell: Listener,
) -> Iterator[ClusterSpread]:
    """Return what shares a stain out, for `jobs.stain.run`.

    Parameters
    ----------
    scheduler
        Address of a scheduler; workers of this machine if `None`.
    workers
        See `crowd_of`.
    tell
        As of `compute.work.run_job`.
    """
    note = partial(tell, "note")
    wait = partial(tell, "progress", (0, 1, "workers asked"))
    if scheduler is not None:
        with connected(scheduler) as client:
            where = f"the scheduler at {scheduler}"
            yield ClusterSpread(client, where=where, on_note=note, on_wait=wait)
        return
    crowd = crowd_of(workers or "1")
    with workers_here(crowd) as client:
        yield ClusterSpread(
            client, where="the workers of this machine", on_note=note, on_wait=wait,
            expected=crowd.count,
        )  # fmt: skip
