"""Which objects does `evaluate` compare? As its settings say: nuclei, cells, or given labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import check_output
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.compare_objects import ObjectScore, compare_objects
from napari_virtualstain.jobs.found_objects import Kind, Sought, labels_in

if TYPE_CHECKING:
    from napari_virtualstain.jobs.evaluate import EvaluateSettings

__all__ = ["check_objects", "given_labels", "objects_of"]


def check_objects(settings: EvaluateSettings) -> None:
    """Refuse what contradicts itself, before anything is computed.

    Raises
    ------
    SettingsError
        If something is asked of objects that are not compared, or one side alone has labels.
    OutputExistsError
        If labels would replace a file.
    """
    asked = {
        "--cells": settings.cells, "--predicted-labels": settings.predicted_labels,
        "--true-labels": settings.true_labels, "--out": settings.out,
    }  # fmt: skip
    stated = [name for name, value in asked.items() if value is not None]
    if settings.objects is None and stated:
        what = {
            "--cells": "Cells are found from nuclei", "--out": "Nuclei are written where they are "
            "compared",
        }.get(stated[0], "Objects are measured in a stain")  # fmt: skip
        raise SettingsError(
            f"{what}. Name the stain of the nuclei with --objects, for example DNA, or leave out "
            f"{stated[0]}."
        )
    if (settings.predicted_labels is None) != (settings.true_labels is None):
        raise SettingsError(
            "Objects of prediction and truth are found in one way, and one side alone has labels. "
            "Give both --predicted-labels and --true-labels, or neither."
        )
    if settings.out is not None:
        labels = [one for one in (settings.predicted_labels, settings.true_labels) if one]
        inputs = [settings.prediction, settings.target, *labels]
        check_output(Path(settings.out), inputs=inputs, overwrite=settings.overwrite)


def given_labels(settings: EvaluateSettings, like: LazyImage) -> tuple[LazyImage, LazyImage] | None:
    """Open the labels that are given, `None` if there are none.

    Parameters
    ----------
    settings
        Of the run.
    like
        The whole prediction, whose planes they are of.

    Raises
    ------
    VirtualStainError
        If they cannot be opened, or do not fit.
    """
    if settings.predicted_labels is None or settings.true_labels is None:
        return None
    kind: Kind = "nuclei" if settings.cells is None else "cells"
    predicted, true = (
        labels_in(open_image(path), kind, like, option)
        for path, option in (
            (settings.predicted_labels, "--predicted-labels"),
            (settings.true_labels, "--true-labels"),
        )
    )
    return predicted, true


def objects_of(
    settings: EvaluateSettings,
    prediction: LazyImage,
    target: LazyImage,
    pairs: Sequence[tuple[str, str]],
    labels: tuple[LazyImage, LazyImage] | None,
    on_progress: Progress | None,
) -> tuple[ObjectScore, list[str]]:
    """Compare nuclei or cells, and say how they were found.

    Parameters
    ----------
    settings
        Of the run.
    prediction, target
        What is compared of them.
    pairs
        Channel of the prediction, channel of the target.
    labels
        The same part of `given_labels`.
    on_progress
        Told of planes.

    Raises
    ------
    UnknownNameError
        If a stain is not compared.
    """
    by_name = {stain.casefold(): (stain, truth) for stain, truth in pairs}

    def named(wanted: str, option: str) -> tuple[str, str]:
        if wanted.casefold() not in by_name:
            then = f"Choose one of these with {option}."
            raise unknown_name("compared stain", wanted, [stain for stain, _ in pairs], then=then)
        return by_name[wanted.casefold()]

    size = prediction.pixel_size_um.y or target.pixel_size_um.y
    edge = size or 1.0
    least, most = settings.nucleus
    sought = Sought(
        nuclei=named(str(settings.objects), "--objects"),
        cells=None if settings.cells is None else named(settings.cells, "--cells"),
        diameter_px=(least / edge, most / edge), reach_px=settings.reach / edge, given=labels,
    )  # fmt: skip
    found = compare_objects(
        prediction, target, sought, iou=settings.iou,
        distance_px=None if settings.distance is None else settings.distance / edge,
        out=None if settings.out is None else Path(settings.out),
        overwrite=settings.overwrite,
        on_plane=lambda done, total: (
            on_progress and on_progress(done, total, f"planes of {sought.kind}")
        ),
    )  # fmt: skip
    unit = "px" if size is None else "µm"
    how = f"nuclei are {least:g} to {most:g} {unit} wide"
    choose = "--nucleus"
    if sought.kind == "cells":
        how += f", and cells reach up to {settings.reach:g} {unit} from them"
        choose = "--nucleus and --reach"
    if labels is not None:
        said = f"{sought.kind} are those of the labels that are given"
        return _with_notes(found, [said]), [said, *found.notes]
    how += ", since neither image says how large a pixel is" if size is None else ""
    return _with_notes(found, [how]), [f"{how}; choose others with {choose}", *found.notes]


def _with_notes(found: ObjectScore, first: list[str]) -> ObjectScore:
    return replace(found, notes=(*first, *found.notes))
