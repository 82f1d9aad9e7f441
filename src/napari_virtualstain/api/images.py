"""Verbs on images as they are: what is in them, their light, focus, noise, and other forms."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.api._opened import opened
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import Progress, make_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_virtualstain.jobs.export import ExportResult
    from napari_virtualstain.jobs.focus import FocusResult
    from napari_virtualstain.preprocessing.illumination_set import IlluminationSet

__all__ = ["denoise", "export", "focus", "illumination", "info"]


def info(source: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Say what is in a file or folder, without reading its pixels.

    Parameters
    ----------
    source
        Image file, plate or folder.
    **settings
        ``scene``, ``axes``, ``most`` and ``pattern``.

    Returns
    -------
    dict
        What `virtualstain info --json` prints: ``images``, ``plates``, ``images_total`` and, for
        those that cannot be opened, ``unopened``.

    Raises
    ------
    VirtualStainError
        If nothing can be opened.
    """
    from napari_virtualstain.jobs import info as job

    return job.run(make_settings(job.InfoSettings, {"input": os.fspath(source), **settings}))


def focus(source: str | os.PathLike[str] | LazyImage | ArrayLike, **settings: Any) -> FocusResult:
    """Say how sharp each z plane of a stack is, and which are in focus.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    **settings
        ``channel``, ``measure``, ``direction``, ``known``, ``model``, ``keep`` and the others of
        `napari_virtualstain.jobs.focus.FocusSettings`.

    Returns
    -------
    FocusResult
        ``profile`` (all measures), ``range`` (planes in focus, and the best of them) and ``notes``.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, or is no stack.
    """
    from napari_virtualstain.jobs import focus as job

    image, name = opened(source, settings)
    return job.run(make_settings(job.FocusSettings, {"input": name, **settings}), image=image)


def illumination(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    **settings: Any,
) -> IlluminationSet:
    """Fit how unevenly the planes of a plate are lit, on a sample of its fields, and save it.

    Parameters
    ----------
    source
        Plate, file with several images, or folder of images.
    out
        File to write; give it to `stain` and `passport` as ``illumination``.
    on_progress
        Called with planes read, planes in all, and what they are.
    **settings
        ``channels``, ``z``, ``fields``, ``seed``, ``dark`` and the others of
        `napari_virtualstain.jobs.illumination.IlluminationSettings`.

    Returns
    -------
    IlluminationSet
        One function a channel and z plane.

    Raises
    ------
    VirtualStainError
        If there is nothing to fit, or the file cannot be written.
    """
    from napari_virtualstain.jobs import illumination as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    found = job.run(make_settings(job.IlluminationSettings, values), on_progress=on_progress)
    return found.functions


def denoise(
    source: str | os.PathLike[str] | LazyImage | ArrayLike,
    *,
    channel: str,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
    **settings: Any,
) -> LazyImage:
    """Take the noise from a channel by Noise2Void, learnt from the channel itself.

    Parameters
    ----------
    source
        Path, image, or array; for an array of more than two axes give ``axes``.
    channel
        Name of the channel.
    out
        OME-Zarr to write.
    on_progress
        Called with units done, units in all, and what they are.
    on_note
        Called with each sentence about what was guessed, for example `print`.
    **settings
        ``steps`` or ``budget``, ``preset``, ``preview`` (PNG), ``keep_as`` or ``model`` (folder of
        a denoiser), ``learn_from``, ``seed`` and the others of
        `napari_virtualstain.jobs.denoise.DenoiseSettings`.

    Returns
    -------
    LazyImage
        The result, opened: (T, 1, Z, Y, X) float32 grey values, the channel named
        ``"NAME (denoised)"``.

    Raises
    ------
    VirtualStainError
        If input, denoiser or output cannot be used; the message says what to do.
    """
    from napari_virtualstain.jobs import denoise as job

    image, name = opened(source, settings)
    values = {"input": name, "channel": channel, "out": os.fspath(out), **settings}
    result = job.run(
        make_settings(job.DenoiseSettings, values), image=image, on_progress=on_progress,
        on_note=on_note,
    )  # fmt: skip
    return open_image(result.out)


def export(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    **settings: Any,
) -> ExportResult:
    """Write an image in another form, or all images of a plate as TIFFs with a LoadData table.

    Parameters
    ----------
    source
        Image file, plate or folder.
    out
        File to write; its ending (``.ome.zarr``, ``.ome.tif``, ``.png``, ``.csv``) says what.
    on_progress
        Called with parts or fields written, how many there are, and what they are.
    **settings
        ``scene``, ``channels``, ``planes``, ``t``, ``z``, ``limits``, ``overwrite`` and the others
        of `napari_virtualstain.jobs.export.ExportSettings`.

    Returns
    -------
    ExportResult
        ``out``, ``kind``, ``notes`` and, of a PNG, how it is ``shown``.

    Raises
    ------
    VirtualStainError
        If input and output do not fit.
    """
    from napari_virtualstain.jobs import export as job

    values = {"input": os.fspath(source), "out": os.fspath(out), **settings}
    return job.run(make_settings(job.ExportSettings, values), on_progress=on_progress)
