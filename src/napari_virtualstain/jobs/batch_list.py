"""The list of a batch as a run sees it: read anew before each image, noted in after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.plate_write import PlateStore
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.batch_file import FILE, change_state, load_state
from napari_virtualstain.jobs.batch_item import ITEM_SETTINGS, Item, shape_of_plates
from napari_virtualstain.jobs.batch_items import (
    Found,
    chosen_images,
    key_of,
    placed,
    plates_in,
    stem_of,
)
from napari_virtualstain.jobs.batch_state import BatchState, differing
from napari_virtualstain.jobs.prepare import InputSettings
from napari_virtualstain.jobs.stain import StainSettings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.batch import BatchSettings

__all__ = ["Batch", "common_settings"]

_OWN = ("input", "scene", *ITEM_SETTINGS)
"""Settings that say which images, or what one of them is like; the others hold for all."""


def common_settings(settings: InputSettings) -> dict[str, Any]:
    """Return what holds for all images of a batch, as plain values."""
    values = settings.model_dump(mode="json")
    return {k: v for k, v in values.items() if k in InputSettings.model_fields and k not in _OWN}


class Batch:
    """The images of a batch and what is known of each, kept in its output.

    Parameters
    ----------
    settings
        Of the batch.

    Raises
    ------
    SettingsError
        If the output was begun with other settings, or if there is neither an input nor a list.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self.out = Path(settings.out)
        state = load_state(self.out)
        if state is None and settings.input is None:
            raise SettingsError(
                f"'{settings.out}' holds no list of images (no {FILE}). Name a plate, a file or a "
                "folder to stain."
            )
        self.settings = _completed(settings, state)
        self._values = common_settings(self.settings)
        if state is not None and state.begun:
            self._refuse_others(state)
        self._state = state or BatchState(settings=self._values)
        self._plate: PlateStore | None = None
        self._listed: set[tuple[int, int, str]] = set()

    def _refuse_others(self, state: BatchState) -> None:
        differ = differing(_with_defaults(state.settings), self._values)
        if differ:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in differ)
            raise SettingsError(
                f"{str(self.out)!r} was begun with other settings ({options}). Repeat these to go "
                "on, or choose another --out."
            )

    @property
    def in_plate(self) -> bool:
        """Whether the results are the fields of one plate."""
        return self.out.suffix == ".zarr"

    @property
    def items(self) -> tuple[Item, ...]:
        """All images, in order."""
        return self._state.items

    @property
    def waiting(self) -> tuple[Item, ...]:
        """The images that are still to be stained."""
        return self._state.waiting

    @property
    def paused(self) -> bool:
        """Whether somebody has asked for no further image to be begun."""
        return self._state.paused

    def begin(self) -> None:
        """Note that a run begins: settings stay from now on, and what is lost is done again."""

        def change(state: BatchState) -> BatchState:
            checked = state.each(lambda item: _checked(item, self.out))
            checked = checked.retried() if self.settings.retry else checked
            return replace(checked, settings=self._values, begun=True, paused=False)

        self._change(change)
        self._list_fields()

    def take(self, found: Found) -> tuple[int, tuple[Item, ...]]:
        """Add what is there now.

        Returns
        -------
        tuple
            How many images have no transmitted light, and which were taken off the list before.

        Raises
        ------
        SettingsError
            If there is nothing to stain, an image of a plate lies in no well, or one is in the
            list with other settings.
        """
        chosen, without = chosen_images(
            found, scenes=self.settings.scene, channel=self.settings.channel, plate=self.in_plate
        )
        own = {name: getattr(self.settings, name) for name in (*ITEM_SETTINGS, "times")}
        plates = plates_in(chosen) if self.in_plate else ()

        def change(state: BatchState) -> BatchState:
            known = (*state.items, *state.removed)
            new = placed(chosen, known, plate=self.in_plate, own=own)
            shape = shape_of_plates(plates, state.plate)
            return replace(
                state.with_items(new, again=self.settings.retry),
                plate=shape if self.in_plate else None,
            )

        self._change(change)
        here = {key_of(path, scene) for path, scene in chosen}
        return without, tuple(item for item in self._state.removed if item.key in here)

    def next(self, busy: set[tuple[str, str]]) -> Item | None:
        """Look at the list again, and return the next image; `None` at its end, or if it pauses.

        Parameters
        ----------
        busy
            Images that another run writes, which are not to be returned.
        """
        self._state = load_state(self.out) or self._state
        if self._state.paused:
            return None
        return next((item for item in self._state.waiting if item.key not in busy), None)

    def settings_of(self, item: Item) -> StainSettings:
        """Return the settings of the stain of one image."""
        values = {name: getattr(self.settings, name) for name in InputSettings.model_fields}
        values |= {"input": item.input, "scene": item.scene or None, **item.own()}
        return StainSettings(**values, times=item.times, out=str(self.out / item.out), resume=True)

    def mark(self, item: Item, **changes: Any) -> Item:
        """Note what became of an image, on disk too; return it as it is then."""
        self._change(lambda state: state.marked(item.key, **changes))
        self._list_fields()
        return self._state.item(item.key) or replace(item, **changes)

    def _change(self, change: Callable[[BatchState], BatchState]) -> None:
        if change(self._state) == self._state and (self.out / FILE).exists():
            return
        self._state = change_state(
            self.out, change, new=BatchState(settings=self._values, plate=self._state.plate)
        )

    def _list_fields(self) -> None:
        """List fields that are there in their plate."""
        shape = self._state.plate
        if not self.in_plate or shape is None:
            return
        if self._plate is None:
            # A plate without a name goes by that of its file: so do others that are made of it.
            name = shape.name or stem_of(Path(self.items[0].input))
            self._plate = PlateStore(self.out, name=name, rows=shape.rows, columns=shape.columns)
        for item in self.items:
            if item.state == "done" and item.field is not None and item.field not in self._listed:
                self._plate.add(*item.field, site=item.site if item.well else None)
                self._listed.add(item.field)


def _completed(settings: BatchSettings, state: BatchState | None) -> BatchSettings:
    """Return settings in which those that nobody stated are as in the list that is gone on with."""
    if settings.input is not None or state is None:
        return settings
    stated = {name: getattr(settings, name) for name in settings.model_fields_set}
    known = {k: v for k, v in state.settings.items() if k not in stated}
    return make_settings(type(settings), {**known, **stated})


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a list that an older version began, which did not know all of them."""
    fields = InputSettings.model_fields
    defaults = {
        name: fields[name].get_default(call_default_factory=True)
        for name in fields
        if name not in _OWN
    }
    return {**{k: list(v) if isinstance(v, tuple) else v for k, v in defaults.items()}, **values}


def _checked(item: Item, out: Path) -> Item:
    """Return an item as waiting whose stain is not there any more."""
    if item.state != "done":
        return item
    try:
        record = read_record(out / item.out)
    except VirtualStainError:
        return replace(item, state="waiting")
    # Of chosen time points, all is there if the run that was asked for them has ended well.
    there = record["status"] == "complete" or (bool(item.times) and record["tiles_done"] > 0)
    return item if there else replace(item, state="waiting")
