"""Which runs there are, where they run, and who is told.

A session belongs to an application. Nothing in it waits: what takes time is
done by one thread of its own, in order, so that a viewer may call anything
from its main thread. Torch is never imported here.
"""

from __future__ import annotations

import os
import queue
import shutil
import stat
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from napari_virtualstain.compute.run import ENDED, Outcome, Run
from napari_virtualstain.compute.server import Server
from napari_virtualstain.errors import ComputeError, sentence_of
from napari_virtualstain.jobs.base import JobSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from napari_virtualstain.jobs.stain_order import Region

__all__ = ["Session", "SessionState"]

_PREFIX = "virtualstain-"
"""Of folders with temporary stores; behind it the number of the process that owns them."""
_OLD_S = 86400.0
_IDLE_S = 600.0
"""After which a worker of ours ends: the memory of a graphics card goes only with its process."""
_CONNECT_S = 5.0

StateName = Literal["asleep", "starting", "warming", "ready", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the session is doing, in a word and in words.

    Parameters
    ----------
    name
        ``"asleep"`` until something is asked for, ``"starting"``, ``"warming"``
        (runs may begin, the first one waits for imports), ``"ready"``,
        ``"failed"`` (the next run tries again), or ``"closed"``.
    words
        For people.
    worker
        What `compute.work.warm` found; empty until then.
    """

    name: StateName
    words: str
    worker: dict[str, Any]


class Session:
    """Runs jobs in a process beside the viewer, which may share them out to a scheduler elsewhere.

    Parameters
    ----------
    address
        Of a scheduler, ``"tcp://host:8786"`` or ``"tls://..."`` (then with the
        credentials of dask's own configuration), whose workers share a stain, and one of which
        does any other job. The process of ours opens, measures and holds the lock of the
        store, so that a run outlives any worker. `None` to compute in the process of ours. The
        attribute of that name may be set anew, for the runs that begin later.
    on_state
        Called with each new state, from a thread of the session.
    idle_s
        Seconds without a run after which a process of ours ends; the next run starts another.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        on_state: Callable[[SessionState], None] = lambda state: None,
        idle_s: float = _IDLE_S,
    ) -> None:
        self.address, self.on_state, self._idle_s = address, on_state, idle_s
        self.state = SessionState("asleep", "not started", {})
        self._folder: Path | None = None
        self._server: Server | None = None
        self._client: Client | None = None
        self._topic = ""
        self._runs: dict[str, Run] = {}
        self._waiting: deque[Run] = deque()
        self._numbers = count(1)
        self._lock = threading.RLock()
        self._orders: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._busy_until = time.monotonic()
        self._orders.put(_sweep)
        self._thread = threading.Thread(target=self._work, name="compute-session", daemon=True)
        self._thread.start()

    # --- for everybody, from any thread; nothing waits -------------------------------------------

    @property
    def local(self) -> bool:
        """Whether it is a process of ours that computes."""
        return self.address is None

    @property
    def folder(self) -> Path:
        """Where temporary stores lie until the session is closed; only the user may enter it."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
            return self._folder

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is running or waiting, in order."""
        with self._lock:
            return tuple(run for run in self._runs.values() if not run.ended)

    def open(self) -> None:
        """Start the server if it is not there, so that the first run need not wait."""
        self._orders.put(self._connect)

    def submit(
        self,
        verb: str,
        settings: JobSettings,
        *,
        on_change: Callable[[Run], None] = lambda run: None,
        urgent: bool = False,
    ) -> Run:
        """Ask for a job and return at once.

        Parameters
        ----------
        verb
            One of `compute.work.JOBS`.
        settings
            Of the verb; paths are made absolute.
        on_change
            See `Run`.
        urgent
            Whether it runs beside others instead of behind them.

        Returns
        -------
        Run
            Waiting.
        """
        run = Run(
            id=f"{os.getpid()}-{time.time_ns():x}-{next(self._numbers)}",
            verb=verb,
            settings=settings.absolute(),
            urgent=urgent,
            on_change=on_change,
            session=self,
        )
        with self._lock:
            self._runs[run.id] = run
            if not urgent:
                self._waiting.append(run)
        if self.state.name == "closed":
            self._end(run, Outcome(state="failed", sentence="The session is closed. Reopen it."))
            return run
        self._orders.put((lambda: self._dispatch(run)) if urgent else self._next)
        return run

    def cancel(self, run: Run) -> None:
        """See `Run.cancel`."""
        with self._lock:
            if run in self._waiting:
                self._waiting.remove(run)
            if run.future is None and not run.ended:
                self._end(run, Outcome(state="cancelled", sentence="Cancelled before it began."))
                return
        if run.ended:
            return
        run.change(state="cancelling")
        self._orders.put(lambda: self._tell_worker(run))

    def turn_to(self, run: Run, region: Region, times: tuple[int, ...]) -> None:
        """See `Run.turn_to`."""
        if not run.ended:
            self._orders.put(lambda: self._turn(run, region, times))

    def kill(self, run: Run) -> None:
        """See `Run.kill`."""
        self.cancel(run)
        # Not in the queue of orders: one of them may be what hangs.
        threading.Thread(target=self._kill, args=(run,), name="compute-kill", daemon=True).start()

    def close(self, timeout: float = 6.0) -> None:
        """End everything and delete temporary stores; waits at most `timeout` seconds."""
        self._orders.put(None)
        self._thread.join(timeout)

    # --- in the session's own thread --------------------------------------------------------------

    def _work(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=min(5.0, self._idle_s / 2))
            except queue.Empty:
                self._rest()
                continue
            if order is None:
                break
            try:
                order()
            except Exception as error:  # noqa: BLE001 (the thread has to live on)
                self._lost(sentence_of(error))
        self._shut()

    def _say(self, name: StateName, words: str, worker: dict[str, Any] | None = None) -> None:
        known = self.state.worker if worker is None else worker
        self.state = SessionState(name, words, known)
        self.on_state(self.state)

    def _connect(self) -> None:
        self._busy_until = time.monotonic()
        if (
            self._client is not None
            and self._client.status == "running"
            and self._server is not None
            and self._server.alive
        ):
            return
        self._drop_client()
        self._say("starting", "starting the compute process", {})
        from distributed import Client

        self._server = Server(self.folder, self._gone)
        try:
            # As the default client it would take over every .compute() of the viewer.
            self._client = Client(
                self._server.address,
                security=self._server.credentials.security(),
                set_as_default=False,
                timeout=_CONNECT_S,
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ComputeError(
                f"The compute process was started, but does not answer ({_first_line(error)}). "
                "Try again; if it goes on, run `virtualstain doctor`."
            ) from error
        self._topic = f"virtualstain-{self._client.id}"
        self._client.subscribe_topic(self._topic, self._heard)
        self._warm()

    def _warm(self) -> None:
        from napari_virtualstain.compute.work import warm

        assert self._client is not None
        self._say("warming", "loading the networks' library")
        self._client.submit(warm, pure=False, priority=10).add_done_callback(self._warmed)

    def _warmed(self, future: Future[Any]) -> None:
        if future.status == "finished":
            self._say("ready", "ready", future.result())
        elif future.status == "error" and self.state.name == "warming":
            self._say("failed", _first_line(future.exception()))

    def _next(self) -> None:
        """Send the first of those who wait, if nothing runs."""
        with self._lock:
            busy = any(
                not r.urgent and not r.ended and r not in self._waiting for r in self._runs.values()
            )
            run = self._waiting.popleft() if self._waiting and not busy else None
        if run is not None:
            self._dispatch(run)

    def _dispatch(self, run: Run) -> None:
        if run.ended:
            return
        try:
            self._connect()
        except Exception as error:
            self._end(run, Outcome(state="failed", sentence=sentence_of(error)))
            raise
        from napari_virtualstain.compute.work import perform

        assert self._client is not None
        values = run.settings.model_dump(mode="json")
        with self._lock:
            if run.ended:
                return  # cancelled while the process started
            run.future = self._client.submit(
                perform, run.verb, values, run.id, self._topic, self.address,
                key=f"{run.verb}-{run.id}", pure=False, priority=5 if run.urgent else 0, retries=0,
            )  # fmt: skip
        run.future.add_done_callback(lambda future: self._ended(run, future))

    def _tell_worker(self, run: Run) -> None:
        from napari_virtualstain.compute.work import cancel

        if run.ended or self._client is None:
            return
        # On the worker's event loop, beside the run; future.cancel() does not stop one. A worker
        # that went away meanwhile cannot be told, and need not be: the future says so.
        with suppress(OSError, TimeoutError, KeyError):
            self._client.run(cancel, run.id, wait=False, on_error="ignore")
        if run.worker is None and run.future is not None:
            run.future.cancel()

    def _turn(self, run: Run, region: Region, times: tuple[int, ...]) -> None:
        from napari_virtualstain.compute.work import turn_to

        if run.ended or self._client is None or run.future is None:
            return
        with suppress(OSError, TimeoutError, KeyError):
            self._client.run(turn_to, run.id, region, times, wait=False, on_error="ignore")

    def _rest(self) -> None:
        """End an idle process of ours; its folder stays."""
        with self._lock:
            idle = not any(not run.ended for run in self._runs.values())
        if not idle:
            self._busy_until = time.monotonic()
        elif self._server is not None and time.monotonic() - self._busy_until > self._idle_s:
            self._drop_client()
            self._say("asleep", "resting; starts again when needed", {})

    def _drop_client(self, *, keep: bool = True) -> None:
        client, self._client = self._client, None
        server, self._server = self._server, None
        if client is not None:
            client.close(timeout=2)
        if server is not None:
            server.stop(keep=keep)

    def _shut(self) -> None:
        self._say("closed", "closed")
        for run in self.runs:
            self._end(run, Outcome(state="cancelled", sentence="The viewer was closed."))
        self._drop_client(keep=False)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # --- called by dask, in threads of its own ----------------------------------------------------

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        run = self._runs.get(message["run"])
        if run is None:
            return
        for kind, content in message["words"]:
            if kind == "started":
                state = "running" if run.state == "waiting" else run.state
                run.change(state=state, worker=content["worker"], pid=content["pid"])
            elif kind == "note":
                run.change(notes=[*run.notes, content])
            elif kind == "store":
                run.change(store=Path(content))
            elif kind == "item":
                key = (content["input"], content["scene"])
                run.change(items={**run.items, key: content})
        if message["progress"] is not None:
            done, total, what = message["progress"]
            run.change(progress=(int(done), int(total), str(what)))

    def _ended(self, run: Run, future: Future[Any]) -> None:
        if future is not run.future:
            return  # sent again, to another server
        try:
            self._finished(run, future)
        except Exception as error:  # noqa: BLE001 (else the run would never end)
            self._end(run, Outcome(state="failed", sentence=_DIED, traceback=repr(error)))

    def _finished(self, run: Run, future: Future[Any]) -> None:
        status = future.status
        if status == "finished":
            told = future.result()
            if "result" in told:
                outcome = Outcome(state="done", result=told["result"])
            else:
                outcome = Outcome(
                    state="cancelled" if told["cancelled"] else "failed",
                    sentence=told["sentence"],
                    traceback=told["traceback"],
                )
        elif status == "error" and run.state != "cancelling":
            error = future.exception()
            outcome = Outcome(state="failed", sentence=_blame(error), traceback=repr(error))
        elif run.state == "cancelling":
            how = "Cancelled before it began." if run.worker is None else _ENDED_WITH_PROCESS
            outcome = Outcome(state="cancelled", sentence=how)
        else:
            outcome = Outcome(state="failed", sentence=_DIED, traceback=f"future {status}")
        self._end(run, outcome)
        if status == "error":
            self._orders.put(self._wake_again)

    def _wake_again(self) -> None:
        # Another worker is being started by the server: warm it as the first was.
        if self._client is not None and self.state.name in ("ready", "warming"):
            self._warm()

    def _end(self, run: Run, outcome: Outcome) -> None:
        with self._lock:
            self._runs.pop(run.id, None)
        self._busy_until = time.monotonic()
        self._orders.put(self._next)
        run.end(outcome)
        run.future = None

    def _kill(self, run: Run) -> None:
        if self._server is not None and run.future is not None and not run.ended:
            self._server.kill_workers(run.pid)

    def _gone(self, server: Server) -> None:
        """Note that a server has ended by itself; perhaps another has taken its place."""
        self._orders.put(lambda: self._bury(server))

    def _bury(self, server: Server) -> None:
        """Fail what ran on a server that is gone; what had only been sent to it is sent again."""
        if server is not self._server:
            return
        with self._lock:
            unheard = [run for run in self.runs if run.future is not None and run.worker is None]
            for run in unheard:
                run.future = None
                if not run.urgent and not run.sent_again and run.state != "cancelling":
                    run.sent_again = True
                    self._waiting.appendleft(run)
        self._lost(_DIED)
        self._drop_client()
        self._next()

    def _lost(self, sentence: str) -> None:
        self._say("failed", sentence)
        for run in self.runs:
            if run.state not in ENDED and run not in self._waiting:
                self._end(run, Outcome(state="failed", sentence=sentence))


def _sweep() -> None:
    """Delete the temporary stores of viewers that were killed together with their server."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not owner.isdecimal() or psutil.pid_exists(int(owner)):
            continue
        try:
            found = folder.lstat()
        except OSError:
            continue
        mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        # A container may share the folder and count its processes otherwise.
        if mine and stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > _OLD_S:
            shutil.rmtree(folder, ignore_errors=True)


_DIED = (
    "The compute process ended unexpectedly: killed, or out of memory. What was done is kept; "
    "start the run again to go on, with a smaller --tile if memory was short."
)


_ENDED_WITH_PROCESS = "Cancelled; its process was ended. What was done is kept."


def _blame(error: BaseException) -> str:
    """Return why a task has no result: its process is gone, or it could not be run at all."""
    if type(error).__name__ in ("KilledWorker", "CommClosedError", "CancelledError"):
        return _DIED
    return (
        f"The worker could not run the job ({type(error).__name__}: {_first_line(error)}). "
        "Install the same version of napari-virtualstain there as here."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
