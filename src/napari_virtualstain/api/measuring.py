"""Verbs that turn images into tables."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.embed import EmbedResult
    from napari_virtualstain.jobs.measure import MeasureResult

__all__ = ["embed", "measure"]


def measure(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> MeasureResult:
    """Count and measure nuclei and cells, of predicted or true stains; as tables.

    Parameters
    ----------
    source
        Image, plate, or folder of either.
    out
        Folder for the tables.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run.
    on_note
        Called with each sentence about what was guessed, left out or is missing.
    **settings
        ``nuclei``, ``cells``, ``stains`` and the others of
        `napari_virtualstain.jobs.measure.MeasureSettings`.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or nothing can be measured.
    """
    from napari_virtualstain.jobs import measure as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    return job.run(
        make_settings(job.MeasureSettings, values), on_progress=on_progress, on_note=on_note
    )


def embed(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> EmbedResult:
    """Write what an encoder sees on a plate: features of fields, wells and treatments, as tables.

    Parameters
    ----------
    source
        Plate, image, or folder of either.
    out
        Folder for the tables.
    model
        Name or folder of an encoder.
    on_progress
        Called with fields done, fields in all, and what they are; raises `errors.RunCancelled` to
        end the run between two fields.
    on_note
        Called with each sentence about what was guessed, left out or is missing.
    **settings
        ``labels`` (a table), ``label``, ``moa``, ``controls``, ``resume`` and the others of
        `napari_virtualstain.jobs.embed.EmbedSettings`.

    Returns
    -------
    EmbedResult
        ``matches`` (NSC and NSCB where mechanisms are known), ``verdict`` of a classifier, and
        how many fields there are in the tables.

    Raises
    ------
    VirtualStainError
        If images and encoder do not fit, or nothing can be looked at.
    """
    from napari_virtualstain.jobs import embed as job

    values = {
        "input": os.fspath(source), "out": os.fspath(out), "model": os.fspath(model), **settings
    }  # fmt: skip
    return job.run(
        make_settings(job.EmbedSettings, values), on_progress=on_progress, on_note=on_note
    )
