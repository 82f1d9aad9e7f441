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
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from napari_virtualstain.errors import RunCancelled, sentence_of
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.stain_order import Focus, Region

if TYPE_CHECKING:
    from napari_virtualstain.jobs.stain_share import Spread

__all__ = [
    "JOBS",
    "MESSAGE_BYTES",
    "Post",
    "cancel",
    "is_cancelled",
    "perform",
    "run_job",
    "turn_to",
    "warm",
]

JOBS = (
    "stain", "plan", "evaluate", "embed", "doctor", "batch", "passport", "models", "explain",
    "pairs", "finetune", "suggest",
)  # fmt: skip
"""The verbs that may run elsewhere: those whose inputs and outputs are paths."""
_HERE = ("models",)
"""Those that are about this computer, also where a scheduler elsewhere does the others."""
MESSAGE_BYTES = 4096
"""The scheduler keeps the last thousand messages of a topic: they have to be small."""
_PAUSE_S = 0.1
"""Between messages of a run; the newest of a kind wins."""
_KEPT = 256

_cancelled: OrderedDict[str, None] = OrderedDict()
_looked_at: OrderedDict[str, tuple[Region, tuple[int, ...]]] = OrderedDict()


class Listener(Protocol):
    """Told what a job says, from the thread of the job."""

    def __call__(self, kind: str, content: Any) -> None:
        """Take what is told.

        ``"progress"`` with (done, total, what), ``"note"`` or ``"store"`` with a text, ``"item"``
        with what became of an image of a batch.
        """


async def cancel(run: str) -> None:
    """Let a run end at its next tile; executed by the worker's event loop, beside the run."""
    _cancelled[run] = None
    while len(_cancelled) > _KEPT:
        _cancelled.popitem(last=False)


async def turn_to(run: str, region: Region, times: tuple[int, ...]) -> None:
    """Let a stain turn to what is looked at now; executed as `cancel` is."""
    _looked_at[run] = (region, times)
    _looked_at.move_to_end(run)
    while len(_looked_at) > _KEPT:
        _looked_at.popitem(last=False)


def is_cancelled(run: str) -> bool:
    """Return whether a run is to end."""
    return run in _cancelled


def run_job(
    verb: str,
    values: dict[str, Any],
    tell: Listener,
    *,
    spread: Spread | None = None,
    run: str | None = None,
) -> dict[str, Any]:
    """Run a job in this process and return its result as plain values.

    Parameters
    ----------
    verb
        One of `JOBS`.
    values
        Of its settings model.
    tell
        Takes progress, notes and the place of the output.
    spread
        Workers that share a stain; no other job is shared.
    run
        Its number, by which it is told what is looked at; `None` if nobody tells.

    Raises
    ------
    VirtualStainError
        Whatever the job raises.
    """
    module = import_module(f"napari_virtualstain.jobs.{verb}")
    settings = make_settings(getattr(module, f"{verb.capitalize()}Settings"), values)
    callbacks: dict[str, Callable[..., Any]] = {
        "on_progress": lambda done, total, what: tell("progress", (done, total, what)),
        "on_note": lambda text: tell("note", text),
        "on_store": lambda path: tell("store", str(path)),
        "on_item": lambda item: tell("item", item.told()),
    }
    if run is not None:
        callbacks["look"] = partial(_look, run)
    takes = inspect.signature(module.run).parameters
    more = {"spread": spread} if spread is not None and "spread" in takes else {}
    result = module.run(settings, **{k: v for k, v in callbacks.items() if k in takes}, **more)
    plain = module.describe(result) if hasattr(module, "describe") else result.to_json()
    return dict(plain)


def _look(run: str) -> Focus | None:
    found = _looked_at.get(run)
    return None if found is None else Focus(*found)


def perform(
    verb: str, values: dict[str, Any], run: str, topic: str, scheduler: str | None = None
) -> dict[str, Any]:
    """Run a job on a worker of dask and return how it ended.

    Parameters
    ----------
    verb, values
        See `run_job`.
    run
        Its number, by which it is cancelled.
    topic
        Under which messages are sent to whoever asked.
    scheduler
        Address of another scheduler, whose workers share a stain, and one of which does any
        other job; this worker if `None`.

    Returns
    -------
    dict
        ``result`` where it succeeded, else ``sentence``, ``traceback`` and ``cancelled``.
    """
    import dask
    from distributed import get_worker

    worker = get_worker()
    post = Post(lambda message: worker.log_event(topic, message), run)

    def tell(kind: str, content: Any) -> None:
        post.put(kind, content)
        if is_cancelled(run):
            raise RunCancelled("The run was cancelled. What was done is kept; resume to go on.")

    post.put("started", {"worker": worker.address, "pid": os.getpid()})
    try:
        with dask.config.set(scheduler="synchronous"):
            if is_cancelled(run):
                raise RunCancelled("The run was cancelled before it began. Nothing was written.")
            return {"result": _result(verb, values, tell, run, scheduler)}
    except Exception as error:  # noqa: BLE001 (told to whoever asked)
        return {
            "sentence": sentence_of(error),
            "traceback": traceback.format_exc(),
            "cancelled": isinstance(error, RunCancelled),
        }
    finally:
        post.close()


def _result(
    verb: str, values: dict[str, Any], tell: Listener, run: str, scheduler: str | None
) -> dict[str, Any]:
    if scheduler is None or verb in _HERE:
        return run_job(verb, values, tell, run=run)
    # Imported where it is needed, since it imports this module.
    from napari_virtualstain.compute.cluster import ask, connected, shared_over

    if verb != "stain":
        with connected(scheduler) as client:
            return ask(client, verb, values, tell)
    with shared_over(scheduler=scheduler, tell=tell) as spread:
        return run_job(verb, values, tell, spread=spread)


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
    found = {"pid": os.getpid(), **device.wake_device()}
    # Only plans need it, and a plan that comes meanwhile waits no longer than without.
    threading.Thread(target=device.wake_meta, name="virtualstain-wake", daemon=True).start()
    return found


class Post:
    """Sends what a job says from a thread of its own: at most ten messages a second, newest first.

    Notes and places are kept apart and sent in order; of progress only the newest is sent.

    Parameters
    ----------
    send
        Takes a message, small and JSON-able.
    run
        What the messages are about; their entry ``"run"``.
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
        room = MESSAGE_BYTES - len(json.dumps(self._message([], progress)))
        together: list[tuple[str, Any]] = []
        used = 0
        for word in words:
            if (length := _length(word)) > room:
                word = _short(word)
                length = _length(word)
            if together and used + length > room:
                self._send(self._message(together, None))
                together, used = [], 0
            together.append(word)
            used += length
        if together or progress is not None:
            self._send(self._message(together, progress))

    def _message(self, words: list[tuple[str, Any]], progress: Any) -> dict[str, Any]:
        return {"run": self._run, "words": words, "progress": progress}


def _length(word: tuple[str, Any]) -> int:
    """Return the letters that a word takes in a message, its comma included."""
    return len(json.dumps(word)) + 2


def _short(word: tuple[str, Any]) -> tuple[str, Any]:
    kind, content = word
    limit = MESSAGE_BYTES // 8  # letters, of which JSON may make six bytes each
    return (
        (kind, content[:limit] + " ...")
        if isinstance(content, str) and len(content) > limit
        else word
    )
