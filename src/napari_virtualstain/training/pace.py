"""How many steps fit into the time that a training may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.state import State

__all__ = ["Pace"]

_UNTIMED, _TIMED = 3, 12
"""Steps before the first that is timed, since they wake libraries up, and steps that are."""


class Pace:
    """The number of steps: as set, or what a time budget comes to.

    A budget is turned into a number after the first steps, and kept with the checkpoint: the
    learning rate follows it, and a resumed training ends where the undisturbed one did. Steps that
    begin to say more than before have more to do (a critic plays along now): they are timed anew,
    and what is left of the budget is divided by what they take.

    Parameters
    ----------
    settings, state
        Of the training.
    clock
        Returns seconds.
    """

    def __init__(
        self, settings: LoopSettings, state: State, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget, self._clock = settings.budget, clock
        self._first: tuple[int, float] | None = None
        self._timing = settings.budget is not None and state.total is None
        self._since = state.step
        self._known: set[str] = set()
        self.steps = settings.steps if settings.budget is None else state.total or _GUESS

    def tell(self, state: State, said: Collection[str] = ()) -> None:
        """Look at the clock after a step.

        Parameters
        ----------
        state
            With that step counted.
        said
            Names of what the step said.
        """
        if self._budget is None:
            return
        if self._known and not self._known.issuperset(said):
            self._timing, self._first, self._since = True, None, state.step - 1
        self._known.update(said)
        if not self._timing:
            return
        now = self._clock()
        if self._first is None:
            if state.step - self._since >= _UNTIMED:
                self._first = (state.step, now)
            return
        step, began = self._first
        if state.step - step < _TIMED and now - began < self._budget / 4:
            return
        each = (now - began) / (state.step - step)
        self._timing = False
        if state.total is None:
            total = round(self._budget / each)
        else:
            # What is left of the time, in steps of the old pace and of the new.
            left = (state.total - self._since) * self._budget / state.total
            total = min(state.total, self._since + round(left / each))
        self.steps = state.total = max(state.step, total)


_GUESS = 1_000_000
"""Steps of a budget whose pace is not known yet."""
