"""How pieces of work come to workers, one at a time each, and what comes back of each.

The worker of each piece is chosen here, and not by the scheduler: so it is
known what a worker that died had, that goes to another one once, and a task is
not started again by somebody else without a word.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_virtualstain import errors
from napari_virtualstain.compute.crew import Crew, Member, SchedulerLostError, first_line
from napari_virtualstain.compute.helping import measure_there, stain_there
from napari_virtualstain.compute.work import cancel
from napari_virtualstain.errors import ComputeError, VirtualStainError
from napari_virtualstain.io.record import COMMITS
from napari_virtualstain.jobs.stain_share import Report

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Dispatcher", "Unit", "Work"]

_TICK_S = 0.2
"""Between two looks whether somebody wants the run to end."""
_LOOK_S = 1.0
"""Between two looks at who is there."""
_EMPTY_S = 60.0
"""That a run waits for workers when the last one is gone."""
_PATIENCE_S = 60.0
"""For workers that were told to end at their next tile."""


@dataclass(eq=False)
class Unit:
    """Something that one worker does.

    Parameters
    ----------
    function, arguments
        Of `compute.helping`, and what it is given.
    deaths
        Workers that died over it.
    key, done
        Of the task that is under way, and how many tiles it has done.
    """

    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]
    deaths: int = 0
    key: str = ""
    done: int = 0

    def leave_out(self, there: set[int]) -> None:
        """Ask for no tile again that is there."""
        share, numbers, *more = self.arguments
        self.arguments = (share, tuple(n for n in numbers if n not in there), *more)
        self.done = 0


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What a row of units is for.

    Parameters
    ----------
    run
        Number of the run; ``""`` before there is one.
    take
        Takes how many tiles are complete, and what is told of them.
    on_tick
        Called several times a second; what it raises ends the work.
    """

    run: str
    take: Callable[[int, Report], None]
    on_tick: Callable[[], None]


@dataclass(eq=False)
class _Going:
    """A unit that a worker has."""

    unit: Unit
    member: Member
    future: Future[Any] = field(repr=False)


class Dispatcher:
    """Gives units to the workers of a crew.

    Parameters
    ----------
    client
        Connected to their scheduler.
    crew
        The workers.
    where
        The scheduler as people know it.
    on_note
        Told of workers that died.
    """

    def __init__(
        self, client: Client, crew: Crew, *, where: str, on_note: Callable[[str], None]
    ) -> None:
        self._client, self._crew, self._where, self._note = client, crew, where, on_note
        self._topic = f"virtualstain-shards-{uuid4().hex}"
        self._ended: queue.Queue[tuple[str, Future[Any]]] = queue.Queue()
        self._going: dict[str, _Going] = {}

    @property
    def progress(self) -> int:
        """Tiles that are done of units which are not complete."""
        return sum(going.unit.done for going in self._going.values())

    def work(self, units: list[Unit], work: Work) -> list[dict[str, Any]]:
        """Have units done, each by one worker; return what each gave.

        Whatever ends it early, workers are told to end, and what they have done is taken.

        Parameters
        ----------
        units
            In the order in which they are wanted.
        work
            What they are for.

        Raises
        ------
        ComputeError
            If a unit lost its worker twice, or scheduler or workers are gone.
        VirtualStainError
            What a worker raised.
        """
        self._client.subscribe_topic(self._topic, self._heard)
        try:
            return self._work(units, work)
        finally:
            with suppress(OSError, ValueError, KeyError):
                self._client.unsubscribe_topic(self._topic)

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take a message of progress, in a thread of dask."""
        message = event[1]
        going = self._going.get(message["run"])
        if going is not None and message["progress"] is not None:
            going.unit.done = int(message["progress"][0])

    def _work(self, units: list[Unit], work: Work) -> list[dict[str, Any]]:
        waiting, answers = deque(units), dict[int, dict[str, Any]]()
        try:
            looked, alone = time.monotonic(), 0.0
            while waiting or self._going:
                if time.monotonic() - looked > _LOOK_S:
                    looked = time.monotonic()
                    self._crew.look()
                    for key in [k for k, g in self._going.items() if not self._crew.has(g.member)]:
                        self._died(key, waiting)
                self._hand_out(waiting)
                if self._crew.members:
                    alone = 0.0
                else:
                    alone = alone or time.monotonic()
                    if time.monotonic() - alone > _EMPTY_S:
                        raise ComputeError(
                            f"No worker of {self._where} is left. What was done is kept: start "
                            "workers, and run the command again with --resume."
                        )
                with suppress(queue.Empty):
                    self._take(*self._ended.get(timeout=_TICK_S), waiting, answers, work)
                work.on_tick()
        except BaseException as error:
            self._stop(work, lost=isinstance(error, SchedulerLostError))
            raise
        return [answers[id(unit)] for unit in units]

    def _hand_out(self, waiting: deque[Unit]) -> None:
        busy = {going.member.address for going in self._going.values()}
        for member in self._crew.members:
            if not waiting:
                return
            if member.address not in busy:
                self._send(waiting.popleft(), member)

    def _send(self, unit: Unit, member: Member) -> None:
        unit.key, unit.done = f"virtualstain-{uuid4().hex}", 0
        more: tuple[Any, ...] = ()
        if unit.function is stain_there:
            more = (unit.key, self._topic, member.process)
        elif unit.function is measure_there:
            more = (member.process,)
        future = self._client.submit(
            unit.function, *unit.arguments, *more,
            key=unit.key, workers=[member.address], pure=False, retries=0,
        )  # fmt: skip
        self._going[unit.key] = _Going(unit, member, future)
        future.add_done_callback(lambda f, key=unit.key: self._ended.put((key, f)))

    def _take(
        self,
        key: str,
        future: Future[Any],
        waiting: deque[Unit],
        answers: dict[int, dict[str, Any]],
        work: Work,
    ) -> None:
        """Take what a worker gave back."""
        going = self._going.get(key)
        if going is None:
            return  # it was given to somebody else
        if future.status != "finished":
            self._crew.look()  # raises where it is the scheduler that is gone
            if future.status == "error" and not _is_death(error := future.exception()):
                raise ComputeError(
                    f"The worker {going.member.name} could not do its part "
                    f"({type(error).__name__}: {first_line(error)}). Install the same "
                    "version of napari-virtualstain there as here."
                ) from error
            self._crew.drop(going.member)
            self._died(key, waiting)
            return
        answer = future.result()
        problem, unit = answer.get("error"), going.unit
        for report in answer.get("reports", ()):
            there = _take_report(report, work)
            if problem is not None:
                unit.leave_out(there)
        if problem is not None and problem["kind"] in ("_MovedError", "RunCancelled"):
            # Nobody here has cancelled it: the process ends, or is another one than was asked.
            self._crew.drop(going.member)
            self._died(key, waiting)
            return
        del self._going[key]
        if problem is not None:
            raise _raised(problem, going.member)
        answers[id(unit)] = answer

    def _died(self, key: str, waiting: deque[Unit]) -> None:
        """Give what a dead worker had to another one, once."""
        going = self._going.pop(key)
        with suppress(OSError, TimeoutError):
            going.future.cancel()  # or the scheduler would run it again where it likes
        unit, name = going.unit, going.member.name
        unit.deaths += 1
        if unit.deaths > 1:
            raise ComputeError(
                f"Two workers died over the same tiles, the last of them {name}: killed, or out "
                "of memory. What was done is kept: give a worker more memory, or the run less "
                "with --memory, and run the command again with --resume."
            )
        self._note(f"the worker {name} died; what it had goes to another one")
        waiting.appendleft(unit)

    def _stop(self, work: Work, *, lost: bool) -> None:
        """Let workers end at their next tile, and take what they have done."""
        going, self._going = self._going, {}
        if not going or lost:
            return
        if work.run:
            # On the event loop of each worker, beside its task; future.cancel() stops none.
            members = [entry.member.address for entry in going.values()]
            with suppress(OSError, TimeoutError, KeyError):
                self._client.run(cancel, work.run, workers=members, wait=False, on_error="ignore")
            # The first error is the one that is told.
            with suppress(VirtualStainError):
                self._take_last(going, work)
        for entry in going.values():
            with suppress(OSError, TimeoutError):
                entry.future.cancel()

    def _take_last(self, going: dict[str, _Going], work: Work) -> None:
        until = looked = time.monotonic() + _PATIENCE_S
        while going and time.monotonic() < until:
            for key, entry in list(going.items()):
                if entry.future.status == "pending" and self._crew.has(entry.member):
                    continue
                del going[key]
                if entry.future.status == "finished":
                    for report in entry.future.result().get("reports", ()):
                        _take_report(report, work)
            time.sleep(0.02)
            if abs(time.monotonic() - looked) > _LOOK_S:
                looked = time.monotonic()
                self._crew.look()


def _take_report(report: Report, work: Work) -> set[int]:
    """Take a report, and return its tiles."""
    there = {int(line) for name, line in report.lines if name == COMMITS}
    work.take(len(there), report)
    return there


def _is_death(error: BaseException) -> bool:
    return type(error).__name__ in ("KilledWorker", "CommClosedError", "CancelledError")


def _raised(problem: dict[str, str], member: Member) -> VirtualStainError:
    """Return what a worker raised, as an error of this process that says where it was."""
    kind = getattr(errors, problem["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, VirtualStainError)):
        kind = ComputeError
    return kind(f"On the worker {member.name}: {problem['sentence']}")
