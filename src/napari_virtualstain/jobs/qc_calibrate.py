"""What are good predictions of this model like? Makes the reference of `virtualstain qc`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.errors import OutputExistsError, PixelDataError, SettingsError
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.qc_familiar import FamiliarReader
from napari_virtualstain.jobs.qc_field import JudgedImage
from napari_virtualstain.jobs.qc_truth import TruthComparer
from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.fit import fit_reference
from napari_virtualstain.qc.reference import REFERENCE_FILE, QcReference
from napari_virtualstain.zoo import is_own

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["calibrate", "place_of_reference"]


def place_of_reference(settings: QcSettings, image: JudgedImage) -> Path | None:
    """Return where the reference lies: as named, else beside the card; `None` if nowhere."""
    if settings.reference is not None:
        return Path(settings.reference)
    path = (image.record.get("model") or {}).get("path")
    beside = None if path is None else Path(path) / REFERENCE_FILE
    return beside if beside is not None and beside.is_file() else None


def calibrate(
    settings: QcSettings,
    images: Sequence[JudgedImage],
    truths: Mapping[tuple[str, str], ListedImage],
    comparer: TruthComparer | None,
    familiar: FamiliarReader,
    on_progress: Progress | None,
) -> tuple[Path, QcReference]:
    """Fit a reference on images, and write it.

    Parameters
    ----------
    settings
        Of the run.
    images
        Predictions that are good.
    truths
        By the key of a prediction; empty if there are none.
    comparer
        Compares with them.
    familiar
        Says how far bright fields are from the training data.
    on_progress
        Told of looks at fields.

    Returns
    -------
    tuple
        Where it was written, and what.

    Raises
    ------
    VirtualStainError
        If nobody says where, it exists, or the images are of several models or too few.
    """
    if not images:
        raise PixelDataError("No prediction can be opened. Give others.")
    path = _place(settings, images)
    models = {(one.record.get("model") or {}).get("fingerprint", "") for one in images}
    if len(models) > 1:
        raise SettingsError(
            "These predictions are of several models. Make a reference of each, with --scene."
        )
    stains = {one.prediction.channel_names for one in images}
    if len(stains) > 1:
        raise SettingsError(
            "These predictions have different stains. Make a reference of each kind, with --scene."
        )
    fields: list[Callable[[], QcField]] = []
    for image in images:
        for t in range(image.times):
            fields.append(partial(_opened, image, t, settings.z, familiar))
            if comparer is not None:
                comparer.compare(image, truths[image.listed.key].scene.open(), t)

    def told(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, total, "looks at fields")

    model = images[0].record.get("model") or {}
    reference = fit_reference(
        fields, alarms=settings.alarms, model=str(model.get("name", "")),
        fingerprint=str(model.get("fingerprint", "")),
        guard={} if comparer is None else comparer.guard(), on_field=told,
    )  # fmt: skip
    write_kept(path, reference)
    return path, reference


def _opened(image: JudgedImage, t: int, plane: int | None, familiar: FamiliarReader) -> QcField:
    before = None if t == 0 else dict(image.field(t - 1, plane).stains)
    return familiar.beside(image, t, image.field(t, plane, before))


def _place(settings: QcSettings, images: Sequence[JudgedImage]) -> Path:
    model = images[0].record.get("model") or {}
    if settings.reference is not None:
        path = Path(settings.reference)
    elif settings.out is not None:
        path = Path(settings.out) / REFERENCE_FILE
    elif is_own(str(model.get("name", ""))) and Path(str(model.get("path"))).is_dir():
        path = Path(str(model["path"])) / REFERENCE_FILE
    else:
        raise SettingsError(
            "There is nowhere to write the reference: the model is none of your own. Say where "
            "with --reference, for example --reference qc_reference.json."
        )
    if path.is_dir():
        raise OutputExistsError(f"'{path}' is a folder. Give a file with --reference.")
    if path.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"The reference '{path}' exists. Choose another with --reference, or replace it with "
            "--overwrite."
        )
    return path
