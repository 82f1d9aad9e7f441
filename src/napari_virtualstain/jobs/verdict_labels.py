"""What was done to the wells of a verdict? Enough has to be known to ask for hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_virtualstain.datasets.labels import ImageKey, label_images, read_labels
from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.evaluation.hits import refuse_few_controls
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.verdict_fields import ComparedField
from napari_virtualstain.jobs.verdict_pairs import FieldPair
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.verdict import VerdictSettings

__all__ = ["labels_of", "labels_of_wells"]

_SHOWN = 5
_Known = dict[FieldPair, str | None]


def labels_of(
    pairs: list[FieldPair], settings: VerdictSettings
) -> tuple[_Known, _Known, list[str]]:
    """Return treatment and target of each field, and what the table leaves out.

    Raises
    ------
    UnknownNameError
        If no column or treatment is called so.
    SettingsError
        If the table says two things of a well, or all wells are controls.
    PixelDataError
        If there are too few controls.
    """
    nothing: _Known = dict.fromkeys(pairs)
    table = None if settings.labels is None else read_labels(settings.labels)
    if table is None and not settings.controls:
        return nothing, dict(nothing), []
    images: list[ImageKey] = [(one.truth.path, one.truth.scene.place) for one in pairs]
    notes: list[str] = []
    if table is not None:
        twice = table.doubled(settings.label)
        if twice:
            raise SettingsError(
                f"The table of labels says two things of {listed(twice, _SHOWN)}. Leave one row a "
                "well, or name the column with both by --label."
            )
        strange = table.strange(images)
        if strange:
            notes.append(
                f"{plural(len(strange), 'well')} of the table without an image: "
                f"{listed(strange, _SHOWN)}"
            )
    labelled = label_images(images, settings.label, table)
    notes += labelled.notes
    there = {name for name in labelled.labels if name is not None}
    for control in settings.controls:
        if control not in there:
            then = "Choose among these with --controls."
            raise unknown_name(settings.label, control, there, then=then)
    if settings.controls and there <= set(settings.controls):
        raise SettingsError(
            f"All wells are controls ({', '.join(sorted(there))}), so that no treatment can be a "
            "hit. Compare treated wells too, or leave out --controls."
        )
    known: _Known = dict(zip(pairs, labelled.labels, strict=True))
    if settings.controls:
        controls = {one.key[:2] for one, name in known.items() if name in settings.controls}
        refuse_few_controls(len(controls))
    if settings.moa is None:
        return known, nothing, notes
    targets = label_images(images, settings.moa, table)
    # Controls have none, which is no mistake of the table.
    return known, dict(zip(pairs, targets.labels, strict=True)), notes


def labels_of_wells(
    fields: Sequence[ComparedField], labels: Sequence[str | None], what: str
) -> dict[Key, str]:
    """Return the label of each well that has one.

    Raises
    ------
    SettingsError
        If fields of one well have different ones.
    """
    found: dict[Key, str] = {}
    for one, label in zip(fields, labels, strict=True):
        well = one.key[:2]
        if label is None:
            continue
        if found.setdefault(well, label) != label:
            name = "/".join(part for part in well if part)
            raise SettingsError(
                f"Fields of the well {name!r} have different {what}s, {found[well]!r} and "
                f"{label!r}. Give each well one, or name another --label."
            )
    return found
