"""One job that somebody asked for: waiting, running, ended, and how."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from napari_virtualstain.compute.session import Session
    from napari_virtualstain.jobs.base import JobSettings
    from napari_virtualstain.jobs.stain_order import Region

__all__ = ["ENDED", "Outcome", "Run", "RunState"]

RunState = Literal["waiting", "running", "cancelling", "done", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    state
        ``"done"``, ``"failed"`` or ``"cancelled"``.
    result
        Plain values of the job, `None` unless it is done.
    sentence
        What went wrong and what to do, ``""`` if nothing did.
    traceback
        For a report.
    """

    state: RunState
    result: dict[str, Any] | None = None
    sentence: str = ""
    traceback: str = ""


@dataclass(eq=False, kw_only=True)
class Run:
    """A job in a session; made by `Session.submit`.

    What it knows may be read from any thread. `on_change` is called from threads of the
    session: a widget sends it on by a queued signal.

    Parameters
    ----------
    id
        Unique in its session.
    verb, settings
        What is done; paths are absolute.
    urgent
        Whether it goes beside a run instead of behind it: a plan, a question.
    on_change
        Called with the run after every change.
    items
        Of a batch, by path and scene: what became of images in this run, see `Item.told`.
    """

    id: str
    verb: str
    settings: JobSettings
    urgent: bool
    on_change: Callable[[Run], None]
    session: Session = field(repr=False)
    state: RunState = "waiting"
    progress: tuple[int, int, str] | None = None
    notes: list[str] = field(default_factory=list)
    store: Path | None = None
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    outcome: Outcome | None = None
    worker: str | None = None
    pid: int | None = None
    future: Any = field(default=None, repr=False)
    sent_again: bool = field(default=False, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Ask the run to end at its next tile; one that waits ends at once."""
        self.session.cancel(self)

    def turn_to(self, region: Region, times: tuple[int, ...] = ()) -> None:
        """Say what is looked at now: a stain that goes on does it first.

        Parameters
        ----------
        region, times
            See `jobs.stain_order.Focus`.
        """
        self.session.turn_to(self, region, times)

    def kill(self) -> None:
        """End the process that it runs in, for one that does not end when asked."""
        self.session.kill(self)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until the run has ended; not for the viewer's thread.

        Raises
        ------
        TimeoutError
            If it has not ended by then.
        """
        if not self._over.wait(timeout):
            raise TimeoutError(f"Run {self.id} ({self.verb}) has not ended. Wait longer.")
        assert self.outcome is not None
        return self.outcome

    def end(self, outcome: Outcome) -> bool:
        """Note how the run ended; only the first word counts. Return whether this was it."""
        if self._over.is_set():
            return False
        self.state, self.outcome = outcome.state, outcome
        self._over.set()
        self.on_change(self)
        return True

    def change(self, **values: Any) -> None:
        """Note something new about a run that goes on."""
        if self._over.is_set():
            return
        for name, value in values.items():
            setattr(self, name, value)
        self.on_change(self)
