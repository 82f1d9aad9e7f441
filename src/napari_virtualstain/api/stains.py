"""Verbs that predict stains, that say beforehand what would come of it, and afterwards why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.api._opened import opened
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_virtualstain.jobs.batch import BatchResult
    from napari_virtualstain.jobs.batch_item import Item
    from napari_virtualstain.jobs.explain import ExplainResult
    from napari_virtualstain.jobs.passport import Passport

__all__ = ["batch", "explain", "passport", "plan", "stain", "watch"]


def stain(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_store: Callable[[Path], None] | None = None,
    **settings: Any,
) -> LazyImage:
    """Predict the stains of an image and write them to an OME-Zarr.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    out
        Store to write.
    model
        Name or folder of a model.
    on_progress
        Called with units done, units in all, and what they are; raises `errors.RunCancelled`
        to end the run between two tiles.
    on_note
        Called with each sentence about what was guessed or assumed, for example `print`.
    on_store
        Called with the place of the store as soon as it is there, before the first tile.
    **settings
        ``channel``, ``z``, ``pixel_size`` (µm), ``resample``, ``tile`` (px),
        ``region``, ``times``, ``device``, ``resume``, ``overwrite`` and the others of
        `napari_virtualstain.jobs.stain.StainSettings`.

    Returns
    -------
    LazyImage
        The result, opened: (T, stains, 1, Y, X) float32 in the units that the
        model's card names.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used; the message says what to do.
    """
    from napari_virtualstain.jobs import stain as job

    image, name = opened(source, settings)
    values = {"input": name, "out": os.fspath(out), "model": os.fspath(model), **settings}
    result = job.run(
        make_settings(job.StainSettings, values),
        image=image,
        on_progress=on_progress,
        on_note=on_note,
        on_store=on_store,
    )
    return open_image(result.out)


def plan(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    model: str | os.PathLike[str] = "demo",
    **settings: Any,
) -> str:
    """Say in words what `stain` would do, without doing it."""
    from napari_virtualstain.jobs import prepare as job

    image, name = opened(source, settings)
    values = {"input": name, "model": os.fspath(model), **settings}
    return job.prepare(make_settings(job.InputSettings, values), image=image).describe()


def passport(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    model: str | os.PathLike[str] = "demo",
    **settings: Any,
) -> Passport:
    """Say whether a model will work on a picture, by what it was trained on; nothing is stained.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    model
        Name or folder of a model.
    **settings
        ``scene``, ``channel``, ``z``, ``axes``, ``pixel_size`` (µm) and ``t``.

    Returns
    -------
    Passport
        ``status`` (``"green"``, ``"amber"`` or ``"red"``), ``verdict`` in words, ``checks``, and
        ``text()`` for people.

    Raises
    ------
    VirtualStainError
        If the input or the model is not there, or a setting names what is not there.
    """
    from napari_virtualstain.jobs import passport as job

    image, name = opened(source, settings)
    values = {"input": name, "model": os.fspath(model), **settings}
    return job.run(make_settings(job.PassportSettings, values), image=image)


def batch(
    source: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_item: Callable[[Item], None] | None = None,
    **settings: Any,
) -> BatchResult:
    """Stain many images, one after the other; the same call goes on with what is left.

    Parameters
    ----------
    source
        Plate, file with several images, or folder of images; the list in ``out`` if `None`.
    out
        Folder for the stains; a name that ends in ``.zarr`` becomes one OME-Zarr plate.
    model
        Name or folder of a model.
    on_progress
        Called with the tiles of each image.
    on_note
        Called with what was left out, and what became of images.
    on_item
        Called with each image as it is begun, and as it has ended.
    **settings
        ``scene``, ``times``, ``retry`` and those of `stain`; see
        `napari_virtualstain.jobs.batch.BatchSettings`.

    Returns
    -------
    BatchResult
        ``items`` with their states, and ``failures()`` by the sentence that says why.

    Raises
    ------
    VirtualStainError
        If there is nothing to stain or nowhere to write.
    """
    from napari_virtualstain.jobs import batch as job

    values = {"out": os.fspath(out), "model": os.fspath(model), **settings}
    values |= {} if source is None else {"input": os.fspath(source)}
    return job.run(
        make_settings(job.BatchSettings, values),
        on_progress=on_progress,
        on_note=on_note,
        on_item=on_item,
    )


def watch(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "demo",
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **settings: Any,
) -> BatchResult:
    """Stain the images of a folder as a microscope writes them.

    Parameters
    ----------
    source
        The folder.
    out, model, on_progress, on_note
        As in `batch`. What `on_progress` raises ends the watch, which can be gone on with.
    **settings
        ``idle`` (seconds without anything new after which it ends; never if not given),
        ``settle``, ``every`` and those of `batch`.

    Returns
    -------
    BatchResult
        As that of `batch`.

    Raises
    ------
    VirtualStainError
        If there is no such folder, or nowhere to write.
    """
    from napari_virtualstain.jobs import watch as job

    values = {
        "input": os.fspath(source), "out": os.fspath(out), "model": os.fspath(model), **settings
    }  # fmt: skip
    return job.run(
        make_settings(job.WatchSettings, values), on_progress=on_progress, on_note=on_note
    )


def explain(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "demo",
    encoder: str | os.PathLike[str] | None = None,
    at: tuple[int, int] | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> ExplainResult:
    """Show what a model or an encoder looked at, each map beside those that say nothing.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    out
        OME-Zarr to write, one channel a map.
    model
        Name or folder of a model, one of whose stains is explained.
    encoder
        Name or folder of an encoder whose attention is shown instead.
    at
        Row and column of the pixel that is explained, or whose patch asks.
    on_progress
        Told of pictures computed. What it raises ends the run.
    **settings
        Such as ``method`` (names of `napari_virtualstain.explain.methods.METHODS`), ``stain``,
        ``target``, ``region``, ``against``, ``block`` and ``mass``; see
        `napari_virtualstain.jobs.explain.ExplainSettings`.

    Returns
    -------
    ExplainResult
        ``sentences`` that the maps come to, ``maps`` with the verdict of each, and ``out``.

    Raises
    ------
    VirtualStainError
        If the network has no such map, or the picture does not fit it.
    """
    from napari_virtualstain.jobs import explain as job

    image, name = opened(source, settings)
    values = {
        "input": name, "out": os.fspath(out), "model": os.fspath(model), "at": at,
        "encoder": None if encoder is None else os.fspath(encoder), **settings,
    }  # fmt: skip
    made = make_settings(job.ExplainSettings, values)
    return job.run(made, image=image, on_progress=on_progress)
