"""What happens on a worker that helps with a stain: a look around, a plan, a shard.

Tasks are sent by the name of their function, take plain values and give plain
values back: an error travels as its kind and its sentence. What a worker opened
for a run stays open until the run ends, so that it reads model and input once.
"""

from __future__ import annotations

import os
import platform
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from napari_virtualstain.compute.work import Post, is_cancelled
from napari_virtualstain.errors import MissingInputError, RunCancelled, sentence_of
from napari_virtualstain.jobs.stain_share import PROTOCOL, Helper, Report, Share, foresee

__all__ = ["close_run", "foresee_there", "greet", "measure_there", "stain_there"]

_PROCESS = uuid4().hex
"""Of this process: an address may be given to another one after a crash."""
_helpers: OrderedDict[str, Helper] = OrderedDict()
_MOST_OPEN = 2
"""Runs that a worker of several users has open."""
_one = threading.Lock()
"""One shard at a time, also where a worker has several threads: a shard uses all of them."""

Answer = dict[str, Any]


def _answered(what: Callable[[], Answer]) -> Answer:
    """Return what a function returns, or what went wrong, in plain values."""
    import dask

    try:
        with dask.config.set(scheduler="synchronous"):
            return what()
    except Exception as error:  # noqa: BLE001 (told to whoever asked)
        return {
            "error": {
                "kind": type(error).__name__,
                "sentence": sentence_of(error),
                "traceback": traceback.format_exc(),
            }
        }


def greet(values: dict[str, Any], probe: str) -> Answer:
    """Say what this worker is, and whether it sees what a run needs.

    Parameters
    ----------
    values
        Of the settings of a stain.
    probe
        A file beside the output, that whoever asks has just made.

    Returns
    -------
    dict
        ``protocol``, ``process``, ``host``, ``threads``, ``device`` for these settings, bytes
        that are ``free`` on it, ``versions``; or ``error``.
    """

    def look() -> Answer:
        from distributed import get_worker

        from napari_virtualstain.inference.device import choose_device
        from napari_virtualstain.inference.memory import free_memory
        from napari_virtualstain.jobs.base import versions
        from napari_virtualstain.zoo import find_model

        if not Path(values["input"]).exists():
            raise MissingInputError(
                f"It does not see the input {values['input']!r}. Put it on a disk that all workers "
                "see under the same path."
            )
        folder = Path(probe).parent
        if not Path(probe).exists():
            raise MissingInputError(
                f"It does not see the folder {str(folder)!r} of the output. Choose an --out on a "
                "disk that all workers see under the same path."
            )
        if not os.access(folder, os.W_OK):
            raise MissingInputError(
                f"It may not write to the folder {str(folder)!r} of the output. Choose another "
                "--out, or let the user of the workers write there."
            )
        find_model(values["model"])
        device = choose_device(values["device"])
        return {
            "device": device,
            "free": free_memory(device),
            "threads": int(get_worker().state.nthreads),
            "versions": versions(),
        }

    return _answered(look) | {
        "protocol": PROTOCOL,
        "process": _PROCESS,
        "host": platform.node(),
    }


def foresee_there(values: dict[str, Any], recorded: dict[str, Any] | None) -> Answer:
    """Plan a run here: ``plan``, ``device`` and ``notes``, or ``error``."""

    def plan() -> Answer:
        found = foresee(values, recorded)
        return {"plan": found.plan, "device": found.device, "notes": list(found.notes)}

    return _answered(plan)


def measure_there(share: dict[str, Any], t: int, process: str) -> Answer:
    """Measure the layers of a time point: ``layers`` by name, or ``error``."""

    def measure() -> Answer:
        with _ready(share, process) as helper:
            found = helper.measure(t)
            return {"layers": {name: (s.mean, s.variance) for name, s in found.items()}}

    return _answered(measure)


def stain_there(
    share: dict[str, Any],
    numbers: tuple[int, ...],
    layers: dict[int, dict[str, Any]],
    key: str,
    topic: str,
    process: str,
) -> Answer:
    """Stain a shard.

    Parameters
    ----------
    share
        See `jobs.stain_share.Share`.
    numbers
        Its tiles.
    layers
        By time point: what `measure_there` gave.
    key
        Of the shard, for messages of progress.
    topic
        Under which they are sent.
    process
        That is meant; another one at its address must not do it unasked.

    Returns
    -------
    dict
        ``reports`` of what was written, also where ``error`` says why the shard is not complete.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    post = Post(lambda message: worker.log_event(topic, message), key)

    def on_tile(done: int, total: int) -> None:
        post.put("progress", (done, total, "tiles stained"))
        # Without a scheduler nobody waits for this any more, and somebody may resume the run.
        if is_cancelled(share["run"]) or worker.status not in (Status.running, Status.paused):
            raise RunCancelled("The run was cancelled. What was done is kept; resume to go on.")

    reports: list[Report] = []

    def stain() -> Answer:
        from napari_virtualstain.inference.norms import LayerStatistics

        known = {
            t: {name: LayerStatistics(*moments) for name, moments in found.items()}
            for t, found in layers.items()
        }
        with _ready(share, process) as helper:
            try:
                helper.stain(numbers, known, on_tile)
            finally:
                reports.append(helper.taken())
        return {}

    try:
        return _answered(stain) | {"reports": reports}
    finally:
        post.close()


@contextmanager
def _ready(share: dict[str, Any], process: str) -> Iterator[Helper]:
    from napari_virtualstain.inference.device import threads_set_to
    from napari_virtualstain.inference.memory import keep_freed_memory

    if process != _PROCESS:
        raise _MovedError
    with _one, threads_set_to(int(share["threads"])):
        # The nanny of a cluster sets the opposite.
        keep_freed_memory()
        run = share["run"]
        if run not in _helpers:
            _helpers[run] = Helper(Share(**share))
        _helpers.move_to_end(run)
        while len(_helpers) > _MOST_OPEN:
            _close(next(iter(_helpers)))
        yield _helpers[run]


class _MovedError(Exception):
    """Another process has taken the place of the one that was asked."""


def _close(run: str) -> None:
    helper = _helpers.pop(run, None)
    if helper is not None:
        with suppress(OSError):
            helper.close()


def close_run(run: str) -> None:
    """Let go of what was opened for a run, and give its memory back."""
    from napari_virtualstain.inference.memory import release_freed_memory

    with _one:
        _close(run)
        release_freed_memory()
