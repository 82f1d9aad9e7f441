"""Stain many images, one after the other, and know afterwards what became of each.

An image that fails does not keep the others from being stained. What is done is
remembered after each image, so that the same command goes on after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.errors import RunCancelled, SettingsError, VirtualStainError, sentence_of
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.plate_write import PlateStore
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import PathText, Progress
from napari_virtualstain.jobs.batch_items import Found, Item, find_images, items_of, renewed
from napari_virtualstain.jobs.batch_state import load_items, save_items
from napari_virtualstain.jobs.prepare import InputSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain import run as stain

__all__ = ["Batch", "BatchResult", "BatchSettings", "run", "stain_item"]

_OWN = ("input", "scene", "out", "retry")
"""Settings that may change when a batch is gone on with."""


class BatchSettings(InputSettings):
    """Settings of `virtualstain batch`."""

    input: PathText = Field(
        description="plate, file with several images, or folder of images; each is stained"
    )
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    out: PathText = Field(
        description="folder for the stains; a name that ends in .zarr becomes one OME-Zarr plate"
    )
    retry: bool = Field(default=False, description="try again what failed before")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of each image.

    Parameters
    ----------
    out
        Where the stains are.
    items
        All images of the batch.
    seconds
        That this run took.
    notes
        What was left out, and why.
    """

    out: Path
    items: tuple[Item, ...]
    seconds: float
    notes: tuple[str, ...]

    def count(self, state: str) -> int:
        """Return how many images are in a state."""
        return sum(item.state == state for item in self.items)

    def failures(self) -> dict[str, list[str]]:
        """Return the images that failed, by the sentence that says why."""
        found: dict[str, list[str]] = {}
        for item in self.items:
            if item.state == "failed":
                found.setdefault(item.sentence, []).append(item.name)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "done": self.count("done"),
            "failed": self.count("failed"),
            "waiting": self.count("waiting"),
            "seconds": round(self.seconds, 3),
            "items": [item.to_json() for item in self.items],
            "notes": list(self.notes),
        }


class Batch:
    """The images of a batch and what is known of each, kept in its output.

    Parameters
    ----------
    settings
        Of the batch.

    Raises
    ------
    SettingsError
        If the output was begun with other settings.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self.settings = settings
        self.out = Path(settings.out)
        own = {k: v for k, v in settings.model_dump(mode="json").items() if k not in _OWN}
        self._values = {k: v for k, v in own.items() if k in InputSettings.model_fields}
        known = load_items(self.out, self._values)
        self._items = {item.key: _checked(item, settings, self.out) for item in known}
        self._plate: PlateStore | None = None

    @property
    def in_plate(self) -> bool:
        """Whether the results are the fields of one plate."""
        return self.out.suffix == ".zarr"

    @property
    def items(self) -> tuple[Item, ...]:
        """All images, in the order in which they were found."""
        return tuple(self._items.values())

    @property
    def waiting(self) -> tuple[Item, ...]:
        """The images that are still to be stained."""
        return tuple(item for item in self.items if item.state == "waiting")

    def take(self, found: Found) -> int:
        """Add what is there now; return how many images have no transmitted light.

        Raises
        ------
        SettingsError
            If there is nothing to stain, or an image of a plate lies in no well.
        """
        items, without = items_of(
            found, scenes=self.settings.scene, channel=self.settings.channel, plate=self.in_plate
        )
        for new in items:
            old = self._items.get(new.key)
            self._items[new.key] = new if old is None else renewed(old, new)
        if self.in_plate:
            self._open_plate(found)
        return without

    def _open_plate(self, found: Found) -> None:
        (plate,) = plates_of(
            scene
            for path, scenes in found.images
            for scene in scenes
            if (str(path), scene.name) in self._items
        )
        self._plate = PlateStore(
            self.out,
            name=plate.name or self.out.name.split(".")[0],
            rows=plate.rows,
            columns=plate.columns,
        )
        for item in self.items:
            if item.state == "done" and item.field is not None:
                self._plate.add(*item.field)

    def settings_of(self, item: Item) -> StainSettings:
        """Return the settings of the stain of one image."""
        values = {name: getattr(self.settings, name) for name in InputSettings.model_fields}
        values |= {"input": item.input, "scene": item.scene or None}
        return StainSettings(**values, out=str(self.out / item.out), resume=True)

    def mark(self, item: Item, **changes: Any) -> None:
        """Note what became of an image, on disk too."""
        now = replace(item, **changes)
        self._items[item.key] = now
        if now.state == "done" and now.field is not None and self._plate is not None:
            self._plate.add(*now.field)
        self.save()

    def save(self) -> None:
        """Write down what is known."""
        save_items(self.out, self._values, self.items)


def _checked(item: Item, settings: BatchSettings, out: Path) -> Item:
    """Return an item as waiting whose stain is not there any more, or that is tried again."""
    if item.state == "failed" and settings.retry:
        return replace(item, state="waiting", sentence="")
    if item.state != "done":
        return item
    try:
        complete = read_record(out / item.out)["status"] == "complete"
    except VirtualStainError:
        complete = False
    return item if complete else replace(item, state="waiting")


def stain_item(
    batch: Batch,
    item: Item,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> None:
    """Stain one image of a batch, and note what became of it.

    Raises
    ------
    RunCancelled
        If `on_progress` ends the run; the image waits then, and its store is gone on with.
    """
    began = time.monotonic()
    try:
        result = stain(batch.settings_of(item), on_progress=on_progress, on_note=on_note)
    except RunCancelled:
        raise
    except Exception as error:  # noqa: BLE001 (one image must not end the night)
        seconds = round(time.monotonic() - began, 3)
        batch.mark(item, state="failed", sentence=sentence_of(error), seconds=seconds)
        return
    batch.mark(item, state="done", sentence="", seconds=round(result.seconds, 3))


def run(
    settings: BatchSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_item: Callable[[Item], None] | None = None,
) -> BatchResult:
    """Stain all images that are there, each into a store of its own.

    Parameters
    ----------
    settings
        Of the batch.
    on_progress
        Told of the tiles of each image. What it raises ends the batch, which can be gone on with.
    on_note
        Told what was left out, and what became of images.
    on_item
        Told of each image as its state changes.

    Raises
    ------
    VirtualStainError
        If there is nothing to stain or nowhere to write. What goes wrong with single images is in
        the result.
    """
    began = time.monotonic()
    say = on_note or (lambda _words: None)
    if settings.stitch != "none" and settings.mode != "auto":
        raise SettingsError("Stitched tiles have no mode. Leave out --mode or --stitch.")
    batch = Batch(settings)
    # In full, so that it is the same image when the batch is gone on with from another folder.
    found = find_images(
        Path(settings.input).absolute(), axes=settings.axes, pattern=settings.pattern
    )
    without = batch.take(found)
    notes = []
    if found.others:
        notes.append(f"left out, since they are no images: {listed(found.others)}")
    if without:
        notes.append(f"{without} images hold fluorescence only and were left out")
    for note in notes:
        say(note)
    batch.save()
    ahead = batch.waiting
    for number, item in enumerate(ahead):
        tell = None
        if on_progress is not None:
            where = f"{item.name} ({number + 1} of {len(ahead)})"

            def tell(done: int, total: int, what: str, where: str = where) -> None:
                on_progress(done, total, f"{what}, {where}")

        stain_item(batch, item, on_progress=tell)
        now = next(one for one in batch.items if one.key == item.key)
        if now.state == "failed":
            say(f"{now.name} failed: {now.sentence}")
        if on_item is not None:
            on_item(now)
    return BatchResult(
        out=batch.out, items=batch.items, seconds=time.monotonic() - began, notes=tuple(notes)
    )
