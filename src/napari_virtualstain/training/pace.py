"""How many steps fit into the time that a training may take."""

from __future__ import annotations

import time

from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.state import State

__all__ = ["Pace"]

_UNTIMED, _TIMED = 3, 12
"""Steps before the first that is timed, since they wake libraries up, and steps that are."""


class Pace:
    """The number of steps: as set, or what a time budget comes to.

    A budget is turned into a number once, after the first steps, and kept with the checkpoint:
    the learning rate follows it, and a resumed training ends where the undisturbed one did.

    Parameters
    ----------
    settings, state
        Of the training.
    """

    def __init__(self, settings: LoopSettings, state: State) -> None:
        self._budget = settings.budget
        self._first: tuple[int, float] | None = None
        self.steps = settings.steps if settings.budget is None else state.total or _GUESS

    def tell(self, state: State) -> None:
        """Look at the clock after a step."""
        if self._budget is None or state.total is not None:
            return
        now = time.monotonic()
        if self._first is None:
            if state.step >= _UNTIMED:
                self._first = (state.step, now)
            return
        step, began = self._first
        if state.step - step < _TIMED and now - began < self._budget / 4:
            return
        each = (now - began) / (state.step - step)
        self.steps = state.total = max(state.step, round(self._budget / each))


_GUESS = 1_000_000
"""Steps of a budget whose pace is not known yet."""
