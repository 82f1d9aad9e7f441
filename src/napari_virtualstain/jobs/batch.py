"""Stain many images, one after the other, and know afterwards what became of each.

An image that fails does not keep the others from being stained. What is done is
remembered after each image, so that the same command goes on after a restart.
The list may be changed meanwhile: it is read again before each image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.errors import OutputBusyError, RunCancelled, SettingsError, sentence_of
from napari_virtualstain.io.remote import absolute, located
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import PathText, Progress, TimePoint
from napari_virtualstain.jobs.batch_item import Item, failures_of
from napari_virtualstain.jobs.batch_items import find_images
from napari_virtualstain.jobs.batch_list import Batch
from napari_virtualstain.jobs.prepare import InputSettings
from napari_virtualstain.jobs.stain import run as stain
from napari_virtualstain.words import plural

__all__ = ["BatchResult", "BatchSettings", "run", "stain_item"]


class BatchSettings(InputSettings):
    """Settings of `virtualstain batch`."""

    input: PathText | None = Field(  # type: ignore[assignment]
        default=None,
        description="plate, file with several images, or folder of images; each is stained. Left "
        "out, the list in the output is gone on with",
    )
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    times: tuple[TimePoint, ...] = Field(
        default=(), description="only these time points of each, from 0; all if not given"
    )
    out: PathText = Field(
        description="folder for the stains; a name that ends in .zarr becomes one OME-Zarr plate"
    )
    retry: bool = Field(
        default=False, description="try again what failed before, or was taken off the list"
    )


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
        return failures_of(self.items)

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


def stain_item(
    batch: Batch,
    item: Item,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Item:
    """Stain one image of a batch, note what became of it, and return it as it is then.

    An image that another run writes at this moment is left to it, and waits.

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
    except OutputBusyError as error:
        return replace(item, sentence=str(error))
    except Exception as error:  # noqa: BLE001 (one image must not end the night)
        seconds = round(time.monotonic() - began, 3)
        return batch.mark(item, state="failed", sentence=sentence_of(error), seconds=seconds)
    return batch.mark(item, state="done", sentence="", seconds=round(result.seconds, 3))


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
        Told of each image as it is begun, and as it has ended.

    Raises
    ------
    VirtualStainError
        If there is nothing to stain or nowhere to write. What goes wrong with single images is in
        the result.
    """
    began = time.monotonic()
    say = on_note or (lambda _words: None)
    tell_item = on_item or (lambda _item: None)
    if settings.stitch != "none" and settings.mode != "auto":
        raise SettingsError("Stitched tiles have no mode. Leave out --mode or --stitch.")
    batch = Batch(settings)
    notes = [] if settings.input is None else _take(batch, settings.input)
    for note in notes:
        say(note)
    batch.begin()
    number, busy = 0, set[tuple[str, str]]()
    while (item := batch.next(busy)) is not None:
        number += 1
        ahead = sum(one.key not in busy for one in batch.waiting)
        tell = _named(on_progress, item, number, number + ahead - 1)
        tell_item(replace(item, state="running"))
        now = stain_item(batch, item, on_progress=tell)
        if now.state == "waiting":
            busy.add(now.key)
        if now.sentence:
            say(f"{now.name} {'failed' if now.state == 'failed' else 'waits'}: {now.sentence}")
        tell_item(now)
    if batch.paused:
        say(f"paused; waiting: {len(batch.waiting)}")
    return BatchResult(
        out=batch.out, items=batch.items, seconds=time.monotonic() - began, notes=tuple(notes)
    )


def _take(batch: Batch, path: str) -> list[str]:
    """Add the images below a path to a batch, and return what is to be said of it."""
    # In full, so that it is the same image when the batch is gone on with from another folder.
    settings = batch.settings
    found = find_images(located(absolute(path)), axes=settings.axes, pattern=settings.pattern)
    found = found.outside(batch.out)
    without, removed = batch.take(found)
    notes = []
    if found.others:
        notes.append(f"left out, since they are no images: {listed(found.others)}")
    if found.empty:
        notes.append(f"empty files, of 0 bytes: {listed(found.empty)}")
    if found.deeper:
        notes.append(
            f"left out, since folders so deep are not looked into: {listed(found.deeper)}; name "
            "one of them as the input to have its images"
        )
    if without:
        notes.append(f"left out, since they hold fluorescence only: {plural(without, 'image')}")
    if removed:
        names = listed([item.name for item in removed])
        notes.append(f"left out, since they were taken off the list: {names}")
    return notes


def _named(on_progress: Progress | None, item: Item, number: int, count: int) -> Progress | None:
    if on_progress is None:
        return None

    def tell(done: int, total: int, what: str) -> None:
        on_progress(done, total, f"{what}, {item.name} ({number} of {count})")

    return tell
