"""Which workers of a scheduler can help with a run: asked before anything is written, and again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_virtualstain.compute.helping import greet
from napari_virtualstain.errors import ComputeError
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.stain_share import PROTOCOL

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Crew", "Member", "SchedulerLostError", "first_line"]

_PACKAGE = "napari-virtualstain"
_ANSWER_S = 60.0
"""For workers to come, and to answer; the first question loads the networks' library there."""
_CALL_S = 10.0
"""For a scheduler to say who is there."""
_SILENT_S = 30.0
"""After which a scheduler that says nothing counts as lost."""
_NAMED = 3
"""Workers that a sentence names; of more it says how many."""


class SchedulerLostError(ComputeError):
    """The scheduler ended, or nothing reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A worker that can help.

    Parameters
    ----------
    address, host
        Where it is.
    process
        Of which process it is the address.
    device, free
        On which it computes, and the bytes that were free there.
    threads
        That it was started with.
    """

    address: str
    host: str
    process: str
    device: str
    free: int
    threads: int

    @property
    def name(self) -> str:
        """Say it to people."""
        return f"{self.address} on {self.host!r}"


class Crew:
    """The workers that share a run.

    Parameters
    ----------
    client
        Connected to their scheduler.
    where
        The scheduler as people know it.
    on_note
        Told of workers that cannot help, or otherwise than the rest.
    on_wait
        Called while workers are waited for; what it raises ends the waiting.
    """

    def __init__(
        self,
        client: Client,
        *,
        where: str,
        on_note: Callable[[str], None],
        on_wait: Callable[[], None],
    ) -> None:
        self._wait = on_wait
        self._client, self._where, self._note = client, where, on_note
        self.members: list[Member] = []
        self.threads = 1
        self._coming: dict[str, tuple[str, Future[Any]]] = {}
        self._refused: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._probe = ""
        self._mustered = False
        self._heard = time.monotonic()
        self._versions: dict[str, str] = {}

    def muster(self, values: dict[str, Any], probe: str, *, expected: int = 1) -> None:
        """Ask every worker; it takes some seconds where they have not run anything yet.

        Parameters
        ----------
        values
            Of the settings of the stain.
        probe
            A file beside the output that every worker has to see.
        expected
            Workers to wait for, of a scheduler that is just being started.

        Raises
        ------
        ComputeError
            If none comes or answers, or one of them cannot help.
        """
        self._values, self._probe = values, probe
        self.members, self._mustered = [], False
        self._coming.clear()
        self._refused.clear()
        until = time.monotonic() + _ANSWER_S
        while time.monotonic() < until:
            self.look()
            if not self._coming and len(self.members) + len(self._refused) >= expected:
                break
            self._wait()
            time.sleep(0.05)
        if self._refused:
            raise ComputeError(self._refusals())
        if not self.members:
            raise ComputeError(self._nobody())
        if self._coming:
            self._note(f"{len(self._coming)} workers do not answer; the run begins without them")
        self._keep_one_kind()
        self.threads = min(member.threads for member in self.members)
        self._say_versions()
        self._mustered = True

    def seen_at(self, probe: str) -> None:
        """Name another file that workers have to see which come later."""
        self._probe = probe

    def has(self, member: Member) -> bool:
        """Return whether a worker is there."""
        return member in self.members

    def drop(self, member: Member) -> None:
        """Note that a worker is gone; what has come at its address is asked as a new one."""
        if member in self.members:
            self.members.remove(member)

    def memory(self, wanted_gb: float | None) -> float:
        """Return the memory budget of one worker in GB.

        Parameters
        ----------
        wanted_gb
            Of all workers of a computer together; half of what is free if `None`.
        """
        beside = max(Counter(member.host for member in self.members).values())
        if wanted_gb is not None:
            return wanted_gb / beside
        free = min(member.free for member in self.members)
        on_cards = all(member.device.startswith("cuda") for member in self.members)
        return free / 2 / (1 if on_cards else beside) / 1e9

    def look(self) -> None:
        """See who is there: forget who is gone, and ask who is new.

        Raises
        ------
        SchedulerLostError
            If the scheduler is gone.
        """
        present = self._present()
        self.members = [member for member in self.members if member.address in present]
        for known in (self._coming, self._refused):
            for address in set(known) - present:
                del known[address]
        asked = {m.address for m in self.members} | set(self._coming) | set(self._refused)
        for address in present - asked:
            # By a function that every Python has: it may have nothing of ours.
            self._ask(address, "version", version, _PACKAGE)
        for address, (question, future) in list(self._coming.items()):
            if future.status != "pending":
                del self._coming[address]
                self._answered(address, question, future)

    def _present(self) -> set[str]:
        if self._client.status == "running":
            try:
                present = set(self._client.nthreads(callback_timeout=_CALL_S))
            except (OSError, TimeoutError):
                present = None
            if present is not None:
                self._heard = time.monotonic()
                return present
            if self._client.status == "running" and time.monotonic() - self._heard < _SILENT_S:
                return {m.address for m in self.members} | set(self._coming) | set(self._refused)
        raise SchedulerLostError(
            f"{self._where[:1].upper()}{self._where[1:]} is lost: it ended, or the network did. "
            "What was done is kept: start it again, and run the command again with --resume."
        )

    def _ask(self, address: str, question: str, function: Any, *arguments: Any) -> None:
        future = self._client.submit(
            function, *arguments, workers=[address], pure=False, retries=0, priority=10
        )
        self._coming[address] = (question, future)

    def _answered(self, address: str, question: str, future: Future[Any]) -> None:
        if question == "version":
            mine = version(_PACKAGE)
            found = future.result() if future.status == "finished" else None
            if found == mine:
                self._ask(address, "greet", greet, self._values, self._probe)
            elif found is not None or type(future.exception()).__name__ == "PackageNotFoundError":
                has = "no napari-virtualstain" if found is None else f"{_PACKAGE} {found}"
                self._refuse(
                    address,
                    f"it has {has}, and this computer {_PACKAGE} {mine}. Install version {mine} in "
                    "the environment that the workers run in.",
                )
            return  # whoever died is new when it comes back
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            if error is not None and type(error).__name__ != "KilledWorker":
                self._refuse(
                    address,
                    f"it cannot be asked ({type(error).__name__}: {first_line(error)}). Install "
                    "the same version of napari-virtualstain there as here.",
                )
            return
        answer = future.result()
        if answer["protocol"] != PROTOCOL:
            self._refuse(
                address,
                f"it shares runs in form {answer['protocol']}, this computer in form {PROTOCOL}. "
                "Install the same version of napari-virtualstain there as here.",
            )
        elif "error" in answer:
            said = answer["error"]["sentence"]
            self._refuse(address, said[:1].lower() + said[1:], answer["host"])
        else:
            self._versions = answer["versions"]
            self._welcome(
                Member(
                    address=address, host=answer["host"], process=answer["process"],
                    device=answer["device"], free=int(answer["free"]),
                    threads=int(answer["threads"]),
                )
            )  # fmt: skip

    def _welcome(self, member: Member) -> None:
        if self._mustered and self.members and _kind(member) != _kind(self.members[0]):
            self._refuse(member.address, f"it computes on {member.device!r}. The run does not.")
            return
        self.members.append(member)

    def _refuse(self, address: str, why: str, host: str = "") -> None:
        self._refused[address] = why
        if self._mustered:
            name = f"{address} on {host!r}" if host else address
            self._note(f"the worker {name} cannot help: {why}")

    def _refusals(self) -> str:
        """Say in a sentence who cannot help, and why."""
        why = next(iter(self._refused.values()))
        same = [address for address, other in self._refused.items() if other == why]
        named = ", ".join(same[:_NAMED]) + (", ..." if len(same) > _NAMED else "")
        there = len(self._refused) + len(self.members)
        who = f"The worker {named}" if there == 1 else f"Of {there} workers, {len(same)} ({named})"
        return f"{who} cannot help: {why}"

    def _nobody(self) -> str:
        if self._coming:
            return (
                f"The {len(self._coming)} workers of {self._where} did not answer within "
                f"{_ANSWER_S:.0f} s: they are busy, or hang. Wait for their work, or start them "
                "again."
            )
        return (
            f"No worker came to {self._where} within {_ANSWER_S:.0f} s. Start workers there, for "
            "example `dask worker ADDRESS`, and run the command again."
        )

    def _keep_one_kind(self) -> None:
        """Leave processors out where there are graphics cards: one run has one kind of numbers."""
        kinds = {_kind(member) for member in self.members}
        if len(kinds) < 2:
            return
        best = "cuda" if "cuda" in kinds else max(kinds)
        for member in [m for m in self.members if _kind(m) != best]:
            self.members.remove(member)
            self._refused[member.address] = "it has no such device"
            self._note(f"the worker {member.name} is left out: it has no {best!r}, others have")

    def _say_versions(self) -> None:
        mine = versions()
        other = [f"{name} {has}" for name, has in self._versions.items() if mine.get(name) != has]
        if other:
            self._note(
                f"the workers have {', '.join(other)}, this computer has other versions; "
                "the last digits may differ from those of a run here"
            )


def _kind(member: Member) -> str:
    return member.device.partition(":")[0]


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
