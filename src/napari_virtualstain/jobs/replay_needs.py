"""Is what a run needs still as it was? Its input, torch, threads and device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from napari_virtualstain.errors import ReplayError, SettingsError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import versions

__all__ = ["Note", "check_input", "check_whole", "computing_as", "input_of", "note_versions"]

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


_SAYS: dict[str, dict[str, tuple[str, ...]]] = {
    "stain": {
        "settings": ("model",), "input": ("path", "shape_tczyx", "identity"),
        "model": ("fingerprint",), "normalisation": (),
    },
    "denoise": {
        "settings": ("model",), "input": ("path", "shape_tczyx", "identity"),
        "model": ("path", "fingerprint", "weights", "training"),
    },
    "explain": {
        "settings": (), "input": ("path", "shape_tczyx", "identity"), "network": ("fingerprint",),
    },
}  # fmt: skip
_TEXTS = (("settings", "model"), ("model", "path"), ("model", "fingerprint"), ("input", "path"))
_OF_A_RUN = ("region", "times", "tiles")


def check_whole(original: Path, job: str, record: dict[str, Any]) -> None:
    """Refuse a record that lacks what a repetition needs, since somebody has damaged it.

    Raises
    ------
    ReplayError
        If it does; names the first that it lacks.
    """
    for part, names in _SAYS.get(job, {}).items():
        held = record.get(part)
        lacking = [name for name in names if not isinstance(held, dict) or name not in held]
        if lacking or not isinstance(held, dict):
            raise _damaged(original, f"{part}.{lacking[0]}" if lacking else part)
    parts = [(record.get(part), name) for part, name in _TEXTS]
    texts = [held.get(name) for held, name in parts if isinstance(held, dict)]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise _damaged(original, "a path")
    runs: Any = record.get("runs") or []
    tiles = [one.get("tiles") if isinstance(one, dict) else None for one in _listed(runs)]
    if not all(_ranges(one) for one in tiles) or not isinstance(runs, list):
        raise _damaged(original, "runs")
    if any(name not in one for one in runs for name in _OF_A_RUN):
        raise _damaged(original, "runs")
    if record.get("versions") is not None and not isinstance(record["versions"], dict):
        raise _damaged(original, "versions")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _ranges(tiles: Any) -> bool:
    return isinstance(tiles, list) and all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(n, int) for n in one)
        for one in tiles
    )


def _damaged(original: Path, what: str) -> ReplayError:
    return ReplayError(
        f"The record of {str(original)!r} is damaged: it lacks {what}, or holds something else "
        "there. Run the command that wrote it again."
    )


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


def note_versions(before: Any, note: Note) -> None:
    """Say that torch was another one.

    Parameters
    ----------
    before
        Versions that a record names, by package; anything else, as of a damaged one, names none.
    note
        Told of it.
    """
    had = before.get("torch") if isinstance(before, dict) else None
    has = versions().get("torch")
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
