"""What happens on a worker: a job by its name, told on, stopped between tiles, ended in words.

Nothing here is pickled from the caller but names and numbers, and nothing goes
back but plain values: an error travels as its sentence and its traceback, so
that the viewer needs none of the libraries that raised it.
"""

from __future__ import annotations

import inspect
import json
import os
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from napari_virtualstain.errors import RunCancelled, sentence_of
from napari_virtualstain.jobs.base import make_settings

__all__ = ["JOBS", "MESSAGE_BYTES", "cancel", "perform", "run_job", "warm"]

JOBS = ("stain", "plan", "evaluate", "doctor")
"""The verbs that may run elsewhere: those whose inputs and outputs are paths."""
MESSAGE_BYTES = 4096
"""The scheduler keeps the last thousand messages of a topic: they have to be small."""
_PAUSE_S = 0.1
"""Between messages of a run; the newest of a kind wins."""
_KEPT = 256

_cancelled: OrderedDict[str, None] = OrderedDict()


class Listener(Protocol):
    """Told what a job says, from the thread of the job."""

    def __call__(self, kind: str, content: Any) -> None:
        """Take ``"progress"`` with (done, total, what), ``"note"`` or ``"store"`` with a text."""


async def cancel(run: str) -> None:
    """Let a run end at its next tile; executed by the worker's event loop, beside the run."""
    _cancelled[run] = None
    while len(_cancelled) > _KEPT:
        _cancelled.popitem(last=False)


def run_job(verb: str, values: dict[str, Any], tell: Listener) -> dict[str, Any]:
    """Run a job in this process and return its result as plain values.

    Parameters
    ----------
    verb
        One of `JOBS`.
    values
        Of its settings model.
    tell
        Takes progress, notes and the place of the output.

    Raises
    ------
    VirtualStainError
        Whatever the job raises.
    """
    module = import_module(f"napari_virtualstain.jobs.{verb}")
    settings = make_settings(getattr(module, f"{verb.capitalize()}Settings"), values)
    callbacks: dict[str, Callable[..., None]] = {
        "on_progress": lambda done, total, what: tell("progress", (done, total, what)),
        "on_note": lambda text: tell("note", text),
        "on_store": lambda path: tell("store", str(path)),
    }
    takes = inspect.signature(module.run).parameters
    result = module.run(settings, **{k: v for k, v in callbacks.items() if k in takes})
    plain = module.describe(result) if hasattr(module, "describe") else result.to_json()
    return dict(plain)


def perform(verb: str, values: dict[str, Any], run: str, topic: str) -> dict[str, Any]:
    """Run a job on a worker of dask and return how it ended.

    Parameters
    ----------
    verb, values
        See `run_job`.
    run
        Its number, by which it is cancelled.
    topic
        Under which messages are sent to whoever asked.

    Returns
    -------
    dict
        ``result`` where it succeeded, else ``sentence``, ``traceback`` and ``cancelled``.
    """
    import dask
    from distributed import get_worker

    worker = get_worker()
    post = _Post(lambda message: worker.log_event(topic, message), run)

    def tell(kind: str, content: Any) -> None:
        post.put(kind, content)
        if run in _cancelled:
            raise RunCancelled("The run was cancelled. What was done is kept; resume to go on.")

    post.put("started", {"worker": worker.address, "pid": os.getpid()})
    try:
        with dask.config.set(scheduler="synchronous"):
            if run in _cancelled:
                raise RunCancelled("The run was cancelled before it began. Nothing was written.")
            return {"result": run_job(verb, values, tell)}
    except Exception as error:  # noqa: BLE001 (told to whoever asked)
        return {
            "sentence": sentence_of(error),
            "traceback": traceback.format_exc(),
            "cancelled": isinstance(error, RunCancelled),
        }
    finally:
        post.close()


def warm() -> dict[str, Any]:
    """Import what a run needs and wake the device; return what this process has.

    Returns
    -------
    dict
        ``pid``, ``device`` that ``auto`` means, ``devices`` by their name for a
        setting and for people, ``threads``, ``torch``.
    """
    import_module("napari_virtualstain.jobs.stain")
    device = import_module("napari_virtualstain.inference.device")
    return {"pid": os.getpid(), **device.wake_device()}


class _Post:
    """Sends what a job says from a thread of its own: at most ten messages a second, newest first.

    Notes and places are kept apart and sent in order; of progress only the newest is sent.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], run: str) -> None:
        self._send, self._run = send, run
        self._lock = threading.Lock()
        self._words: list[tuple[str, Any]] = []
        self._progress: Any = None
        self._woken, self._hurry = threading.Event(), threading.Event()
        self._open = True
        self._thread = threading.Thread(target=self._work, name="messages", daemon=True)
        self._thread.start()

    def put(self, kind: str, content: Any) -> None:
        """Take a message; never waits."""
        with self._lock:
            if kind == "progress":
                self._progress = content
            else:
                self._words.append((kind, content))
                self._hurry.set()
        self._woken.set()

    def close(self) -> None:
        """Send what is left."""
        self._open = False
        self._hurry.set()
        self._woken.set()
        self._thread.join(timeout=2.0)

    def _work(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            self._hurry.clear()
            last = not self._open
            self._flush()
            if last:
                return
            # Progress that comes meanwhile goes together; a word does not wait.
            self._hurry.wait(_PAUSE_S)

    def _flush(self) -> None:
        with self._lock:
            words, progress = self._words, self._progress
            self._words, self._progress = [], None
        message = {"run": self._run, "words": words, "progress": progress}
        while len(json.dumps(message)) > MESSAGE_BYTES and message["words"]:
            first, *rest = message["words"]
            self._send({"run": self._run, "words": [_short(first)], "progress": None})
            message["words"] = rest
        if message["words"] or progress is not None:
            self._send(message)


def _short(word: tuple[str, Any]) -> tuple[str, Any]:
    kind, content = word
    limit = MESSAGE_BYTES // 8  # letters, of which JSON may make six bytes each
    return (
        (kind, content[:limit] + " ...")
        if isinstance(content, str) and len(content) > limit
        else word
    )
