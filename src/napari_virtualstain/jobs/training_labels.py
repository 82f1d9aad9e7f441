"""What was done to the fields that a generator learns from, of those that are told it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_virtualstain.datasets.labels import label_images, read_labels
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.registry import GENERATORS

if TYPE_CHECKING:
    from napari_virtualstain.jobs.train import TrainSettings
    from napari_virtualstain.jobs.training_fields import FieldData

__all__ = ["check_condition", "label_fields", "told_labels"]


def told_labels(settings: TrainSettings) -> bool:
    """Return whether the method is told labels of its images."""
    spec = GENERATORS.get(settings.generator)
    return spec is not None and spec.conditioned


def check_condition(settings: TrainSettings) -> None:
    """Refuse labels for a method that is told none, and a method that is told some without.

    Raises
    ------
    SettingsError
        If so.
    """
    told = told_labels(settings)
    if settings.condition and not told:
        able = ", ".join(name for name, one in GENERATORS.items() if one.conditioned)
        raise SettingsError(
            f"The method {settings.generator!r} is told nothing of an image but its planes. "
            f"Leave out --condition, or choose a --generator that is told labels ({able})."
        )
    if settings.labels is not None and not settings.condition:
        raise SettingsError(
            "A table of --labels says what was done to the images. Name the columns that the "
            "network is told with --condition, for example --condition treatment."
        )
    if told and not settings.condition and settings.recipe is None:
        raise SettingsError(
            f"The method {settings.generator!r} is told what was done to an image. Name it with "
            "--condition, and a table with --labels; or choose palette, which is told nothing."
        )


def label_fields(data: FieldData, settings: TrainSettings) -> FieldData:
    """Return fields with the labels that the network is told of them.

    Parameters
    ----------
    data
        Of a recipe, which are labelled already, or of images.
    settings
        ``condition`` and ``labels``.

    Raises
    ------
    SettingsError
        If the fields cannot be found in the table, or a recipe has no such label.
    UnknownNameError
        If nothing is called so.
    """
    wanted = settings.condition or data.label_names
    if not wanted:
        return data
    if data.label_names:
        lacking = [name for name in wanted if name not in data.label_names]
        if lacking:
            raise SettingsError(
                f"The images of this recipe have no {lacking[0]!r}. They have "
                f"{', '.join(data.label_names)}: choose of these with --condition."
            )
        places = [data.label_names.index(name) for name in wanted]
        chosen = [
            replace(field, labels=tuple(field.labels[place] for place in places))
            for field in data.fields
        ]
        return replace(data, fields=chosen, label_names=tuple(wanted))
    if len(data.images) != len(data.fields):
        raise SettingsError(
            "Of these images nobody knows what was done to them. Name single images with --input "
            "and --target, and a table of --labels."
        )
    table = None if settings.labels is None else read_labels(settings.labels)
    columns = [label_images(data.images, name, table) for name in wanted]
    # A field that has none of a label teaches as one of which it is not known.
    notes = [note.replace("are left out", "teach as unknown") for c in columns for note in c.notes]
    rows = zip(*(column.labels for column in columns), strict=True)
    fields = [
        replace(field, labels=tuple(row)) for field, row in zip(data.fields, rows, strict=True)
    ]
    return replace(data, fields=fields, label_names=tuple(wanted), notes=(*data.notes, *notes))
