"""Stain the images of a folder as a microscope writes them.

Nothing tells when a file is complete. An image is taken once it can be opened,
lacks no plane, and its files have not changed between two looks that lie
`settle` seconds apart; until then it is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.jobs.base import PathText, Progress
from napari_virtualstain.jobs.batch import BatchResult, BatchSettings, stain_item
from napari_virtualstain.jobs.batch_item import Item
from napari_virtualstain.jobs.batch_items import find_images
from napari_virtualstain.jobs.batch_list import Batch

__all__ = ["WatchSettings", "run"]


class WatchSettings(BatchSettings):
    """Settings of `virtualstain watch`."""

    input: PathText = Field(description="folder that the microscope writes to")
    settle: float = Field(
        default=5.0, gt=0, description="seconds for which files must stay as they are"
    )
    every: float = Field(default=2.0, gt=0, description="seconds between two looks")
    idle: float | None = Field(
        default=None, gt=0, description="end after so many seconds without anything new; never if "
        "not given",
    )  # fmt: skip


class _Waiting:
    """Tells which images have come to rest, and what the others are waited for."""

    def __init__(self, settings: WatchSettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}
        self.why: dict[tuple[str, str], str] = {}
        self.changed = clock()
        """When something was new for the last time."""

    def over(self, item: Item) -> bool:
        """Open an image anew, and return whether it is complete and at rest."""
        try:
            image = _open(item)
        except VirtualStainError as error:  # half a file, or half a folder
            self.why[item.key] = str(error)
            return False
        if image.missing:
            count = len(image.missing)
            self.why[item.key] = f"{count} of its planes {'is' if count == 1 else 'are'} missing"
        else:
            self.why[item.key] = "its files were still changing"
        return self._rests(item, image.source.identity() or "") and not image.missing

    def _rests(self, item: Item, identity: str) -> bool:
        """Return whether the files of an image are as they were long enough ago."""
        now = self._clock()
        known, since = self._seen.get(item.key, ("", now))
        if known != identity:
            self._seen[item.key] = (identity, now)
            self.changed = now
            return False
        return now - since >= self._settings.settle


def run(
    settings: WatchSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> BatchResult:
    """Stain what is there and what comes, until nothing has come for long enough.

    Parameters
    ----------
    settings
        Of the watch.
    on_progress
        Told of the tiles of each image, and of images done while nothing is stained. What it
        raises ends the watch, which can be gone on with.
    on_note
        Told what became of images.
    clock, rest
        Seconds that go by, and how they are waited for.

    Raises
    ------
    SettingsError
        If there is no such folder.
    """
    began = clock()
    folder = Path(settings.input).absolute()
    if not folder.is_dir():
        raise SettingsError(
            f"'{settings.input}' is no folder, so nothing can come into it. Make it, or name the "
            "folder that the microscope writes to."
        )
    if settings.normalise_on != "field":
        raise SettingsError(
            f"A {settings.normalise_on} that is still being written has no grey values yet. Leave "
            "out --normalise-on, or stain with `virtualstain batch` when all is there."
        )
    say = on_note or (lambda _words: None)
    batch, waiting = Batch(settings), _Waiting(settings, clock)
    begun = False
    while True:
        _take(batch, folder)
        if batch.items and not begun:
            batch.begin()
            begun = True
        ready = [item for item in batch.waiting if waiting.over(item)]
        for item in ready:
            now = stain_item(batch, item, on_progress=_named(on_progress, item))
            say(f"{now.name} failed: {now.sentence}" if now.sentence else f"{now.name} is stained")
            waiting.changed = clock()
        if ready:
            continue  # more may have come meanwhile
        if settings.idle is not None and clock() - waiting.changed >= settings.idle:
            break
        if on_progress is not None:
            done = sum(item.state == "done" for item in batch.items)
            on_progress(done, max(len(batch.items), 1), "images stained, waiting for more")
        rest(settings.every)
    for item in batch.waiting:
        say(f"{item.name} was never complete: {waiting.why[item.key]}")
    return BatchResult(out=batch.out, items=batch.items, seconds=clock() - began, notes=())


def _take(batch: Batch, folder: Path) -> None:
    """Add what has come; an empty folder, or one that cannot be read yet, adds nothing."""
    try:
        settings = batch.settings
        found = find_images(folder, axes=settings.axes, pattern=settings.pattern)
        found = found.outside(batch.out)
        if found.images:
            batch.take(found)
    except VirtualStainError:
        return


def _open(item: Item) -> LazyImage:
    for scene in list_scenes(item.input, axes=item.axes, pattern=item.pattern):
        if scene.name == item.scene:
            return scene.open()
    raise SettingsError(f"{item.name} is not there any more. Put it back.")


def _named(on_progress: Progress | None, item: Item) -> Progress | None:
    if on_progress is None:
        return None

    def tell(done: int, total: int, what: str) -> None:
        on_progress(done, total, f"{what}, {item.name}")

    return tell
