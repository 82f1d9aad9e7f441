"""What does a run say of its input, and when may another go on with its store? One answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.jobs.base import JobSettings, versions

__all__ = ["describe_input", "describe_run", "other_input", "refuse_to_go_on"]


def describe_run(job: str, settings: JobSettings, **about: Any) -> dict[str, Any]:
    """Return what the record of a report says of the run that wrote it.

    Parameters
    ----------
    job
        Name of the verb.
    settings
        Of the run; its paths are noted as they hold in any folder, so that `replay` finds them.
    about
        What was chosen on the way.
    """
    return {
        "schema_version": 1, "job": job, "settings": settings.absolute().model_dump(mode="json"),
        **about, "versions": versions(),
    }  # fmt: skip


def describe_input(image: LazyImage, channel: str) -> dict[str, Any]:
    """Return what a record says of an image.

    Parameters
    ----------
    image
        As it was opened.
    channel
        That is read.
    """
    path = image.source.path
    return {
        "kind": image.source.kind,
        "scene": image.source.scene,
        "identity": image.source.identity(),
        "axes": image.axes,
        "shape_tczyx": list(image.shape),
        "channel": channel,
        "path": path if path is None or is_remote(path) else str(Path(path).resolve()),
    }


def other_input(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Say why the input of a run is not that of another, `None` if it is.

    Parameters
    ----------
    before, now
        Records.
    """
    had, has = before["input"]["identity"], now["input"]["identity"]
    if had is None or has is None:
        return "its input is an array in memory, of which nobody can tell whether it is the same"
    if had != has:
        return "it was begun from another input, or the input has changed since"
    return None


def refuse_to_go_on(out: Path, why: str | None) -> None:
    """Refuse to go on with a store, if there is a reason.

    Raises
    ------
    SettingsError
        If so.
    """
    if why is not None:
        raise SettingsError(
            f"{str(out)!r} cannot be gone on with: {why}. Choose another --out, or replace the "
            "store by --overwrite instead of --resume."
        )
