"""The list of a batch as the viewer has it: in memory until its first run, then in its output.

Nothing here waits for a disk: what changes the file does so in a thread, one
change after the other, and the list is what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.batch_file import change_state, load_state
from napari_virtualstain.jobs.batch_item import Item, Key, shape_of_plates
from napari_virtualstain.jobs.batch_items import Chosen, placed, plates_in
from napari_virtualstain.jobs.batch_state import BatchState
from napari_virtualstain.widgets._jobs import Background

__all__ = ["QueueList"]

Change = Callable[[BatchState], BatchState]
_STATED = ("channel", "pixel_size", "z_step")
"""Settings of the form that hold for the images that say nothing themselves."""


class QueueList(QObject):
    """The images of a queue, and the output that keeps them.

    Parameters
    ----------
    parent
        As in Qt.
    background
        In which files are read and written.
    """

    changed = Signal()
    """The list is another now."""
    failed = Signal(str)
    """A change was not possible, in a sentence."""
    found = Signal(object)
    """The list that lies in the output that was chosen, `None` if there is none."""

    def __init__(self, parent: QObject, background: Background) -> None:
        super().__init__(parent)
        self._background = background
        self.state = BatchState()
        self.out: Path | None = None
        """Where the list is kept; `None` until its first run."""
        self._places: dict[Key, Chosen] = {}
        self._waiting: deque[tuple[Callable[[], BatchState], Callable[[], None]]] = deque()
        self._busy = False
        self._told: dict[Key, dict[str, Any]] = {}

    # --- what a user changes ----------------------------------------------------------------------

    def add(self, chosen: Sequence[Chosen], own: dict[str, Any]) -> None:
        """Add images.

        Parameters
        ----------
        chosen
            What `chosen_images` returned.
        own
            What is stated of them, and their time points.
        """
        out = self.out
        if out is None:
            # Where results go is decided with the output: a plate has other places than a folder.
            items = [
                Item(input=str(path), scene="" if scene is None else scene.name, out="", **own)
                for path, scene in chosen
            ]
            self._places |= dict(zip((item.key for item in items), chosen, strict=True))
            self.edit(lambda state: state.with_items(items))
        else:
            self.edit(lambda state: _with_images(state, chosen, own, plate=_is_plate(out)))

    def move(self, keys: Collection[Key], by: int) -> None:
        """Do images earlier (-1) or later (1)."""
        self.edit(lambda state: state.moved(keys, by))

    def remove(self, keys: Collection[Key]) -> None:
        """Take images off the list; what was stained of them stays."""
        self.edit(lambda state: state.without(keys))

    def retry(self, keys: Collection[Key] | None = None) -> None:
        """Let what failed wait again."""
        self.edit(lambda state: state.retried(keys))

    def pause(self) -> None:
        """Begin no further image."""
        self.edit(lambda state: replace(state, paused=True))

    def edit(self, change: Change, then: Callable[[], None] = lambda: None) -> None:
        """Change the list, where it is kept too."""
        out = self.out
        if out is not None:
            self._do(lambda: change_state(out, change), then)
            return
        try:
            self.state = change(self.state)
        except VirtualStainError as error:
            self.failed.emit(str(error))
            return
        self.changed.emit()
        then()

    # --- the output -------------------------------------------------------------------------------

    def look(self, out: Path) -> None:
        """Find out whether an output holds a list; `found` tells."""
        self._background.run(
            "look", lambda: load_state(out), self.found.emit, lambda text: self.failed.emit(text)
        )

    def go_on(self, out: Path) -> None:
        """Take the list of an output, and put what was in this one behind it."""
        mine, places = self.state.items, dict(self._places)

        def change(state: BatchState) -> BatchState:
            return _with_own(state, mine, places, plate=_is_plate(out))

        self.out = out
        self._do(lambda: change_state(out, change), lambda: None)

    def begin(
        self, out: Path, settings: dict[str, Any], stated: dict[str, Any], then: Callable[[], None]
    ) -> None:
        """Keep the list in an output, so that it can be run.

        Parameters
        ----------
        out
            Its folder or plate.
        settings
            Of all stains; those of a list that was begun stay.
        stated
            Channel, pixel size and distance of planes of images that state none.
        then
            Called when it is there.
        """
        mine, places = (self.state.items, dict(self._places)) if self.out is None else ((), {})

        def change(state: BatchState) -> BatchState:
            if not state.begun:
                state = replace(state, settings=settings)
            state = _with_own(
                state, [_stating(item, stated) for item in mine], places, plate=_is_plate(out)
            )
            return replace(state, paused=False)

        def keep() -> None:
            self.out = out
            self._told.clear()
            then()

        self._do(lambda: change_state(out, change), keep)

    def forget(self) -> None:
        """Begin another list, without images."""
        self.state, self.out, self._places = BatchState(), None, {}
        self._told.clear()
        self.changed.emit()

    # --- the run ----------------------------------------------------------------------------------

    def follow(self, run: Run) -> None:
        """Take what a run has told since it was asked last."""
        state = self.state
        for key, told in run.items.items():
            if self._told.get(key) is told:
                continue
            self._told[key] = told
            state = state.marked(
                key, state=told["state"], sentence=told["sentence"], seconds=told["seconds"]
            )
        if run.ended:
            state = state.each(
                lambda item: replace(item, state="waiting") if item.state == "running" else item
            )
        if state != self.state:
            self.state = state
            self.changed.emit()
        if run.ended:
            self.reload()

    def reload(self) -> None:
        """Read the list again."""
        out = self.out
        if out is not None:
            self._do(lambda: load_state(out) or BatchState(), lambda: None)

    # --- one after the other ----------------------------------------------------------------------

    def _do(self, work: Callable[[], BatchState], then: Callable[[], None]) -> None:
        self._waiting.append((work, then))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        work, then = self._waiting.popleft()
        self._background.run(
            "list", work, lambda state: self._done(state, then), lambda text: self._refused(text)
        )

    def _done(self, state: BatchState, then: Callable[[], None]) -> None:
        self._busy = False
        running = {item.key for item in self.state.items if item.state == "running"}
        self.state = state.each(
            lambda item: (
                replace(item, state="running")
                if item.key in running and item.state == "waiting"
                else item
            )
        )
        then()
        self.changed.emit()
        self._next()

    def _refused(self, sentence: str) -> None:
        self._busy = False
        self.failed.emit(sentence)
        self._next()


def _is_plate(out: Path) -> bool:
    return out.suffix == ".zarr"


def _stating(item: Item, stated: dict[str, Any]) -> Item:
    missing = {k: stated[k] for k in _STATED if k in stated and getattr(item, k) is None}
    return replace(item, **missing)


def _with_own(
    state: BatchState, mine: Sequence[Item], places: dict[Key, Chosen], *, plate: bool
) -> BatchState:
    """Return a list with images that had no place for their results yet."""
    for own, items in groupby(mine, lambda item: {**item.own(), "times": item.times}):
        state = _with_images(state, [places[item.key] for item in items], own, plate=plate)
    return state


def _with_images(
    state: BatchState, chosen: Sequence[Chosen], own: dict[str, Any], *, plate: bool
) -> BatchState:
    known = (*state.items, *state.removed)
    new = placed(chosen, known, plate=plate, own=own)
    shape = shape_of_plates(plates_in(chosen), state.plate) if plate else None
    return replace(state.with_items(new), plate=shape)
