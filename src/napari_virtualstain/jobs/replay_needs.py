"""Is what a run needs still as it was? Its input, torch, threads and device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from napari_virtualstain.errors import ReplayError, SettingsError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import versions

__all__ = ["Note", "check_input", "computing_as", "input_of", "note_versions"]

Note = Callable[[str], None]


class Opening(Protocol):
    """How the settings of a run name its image."""

    @property
    def input(self) -> str: ...

    @property
    def scene(self) -> str | None: ...

    @property
    def axes(self) -> str | None: ...

    @property
    def pattern(self) -> str | None: ...


def input_of(record: dict[str, Any]) -> str:
    """Return where the input of a run is.

    Raises
    ------
    ReplayError
        If it was an array.
    """
    path = record["input"]["path"]
    if path is None:
        raise ReplayError(
            "The input of the run was an array in memory that was not kept, so the run cannot be "
            f"repeated. Save the array as OME-TIFF or OME-Zarr, and {record['job']} that file."
        )
    return str(path)


def check_input(settings: Opening, record: dict[str, Any], note: Note) -> None:
    """Refuse an input of another shape, and say what else is not as it was.

    Parameters
    ----------
    settings
        Of the repetition.
    record
        Of the run.
    note
        Told of another input, and of another torch.

    Raises
    ------
    ReplayError
        If it is of another shape.
    VirtualStainError
        If it is not there any more.
    """
    source = record["input"]
    image = open_image(
        settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
    )
    if list(image.shape) != source["shape_tczyx"]:
        raise ReplayError(
            f"The input {settings.input!r} has the shape {list(image.shape)} (t, c, z, y, x), the "
            f"run was given {source['shape_tczyx']}: a part of it, or another file. "
            "Put the input of the run back."
        )
    if image.source.identity() != source["identity"]:
        note(
            f"the input {settings.input!r} has changed, or was copied: "
            "names, sizes or times of its files are others"
        )
    note_versions(record.get("versions"), note)


def note_versions(before: dict[str, Any] | None, note: Note) -> None:
    """Say that torch was another one.

    Parameters
    ----------
    before
        Versions that a record names.
    note
        Told of it.
    """
    had, has = ((found or {}).get("torch") for found in (before, versions()))
    if had != has:
        note(f"torch was {had} and is {has}, so that the last digits may differ")


@contextmanager
def computing_as(device: str | None, threads: int | None, note: Note) -> Iterator[str]:
    """Compute with the threads of a run, and on its device if it is here; give the device."""
    from napari_virtualstain.inference.device import choose_device, thread_count, threads_set_to

    try:
        chosen = choose_device(device or "auto")
    except SettingsError:
        chosen = choose_device("auto")
        note(f"the device {device!r} of the run is not here, {chosen!r} was taken")
    with threads_set_to(threads if chosen == "cpu" else None):
        if threads is not None and threads != thread_count():
            note(f"the run had {threads} threads, the repetition {thread_count()}")
        yield chosen
