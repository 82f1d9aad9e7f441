"""What is said of each field? Checks, passport, truth and clicks, one image after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.datasets.review import Review
from napari_virtualstain.errors import PixelDataError, RunCancelled, VirtualStainError
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.qc_calibrate import place_of_reference
from napari_virtualstain.jobs.qc_clicks import place_of_artifacts
from napari_virtualstain.jobs.qc_familiar import FamiliarReader
from napari_virtualstain.jobs.qc_field import JudgedImage
from napari_virtualstain.jobs.qc_inputs import passport_findings
from napari_virtualstain.jobs.qc_tables import Gallery, JudgedField, write_maps
from napari_virtualstain.jobs.qc_truth import TruthComparer
from napari_virtualstain.qc.checks import run_checks
from napari_virtualstain.qc.clicked import Artifacts, artifact_finding, read_artifacts
from napari_virtualstain.qc.drift_numbers import drift_numbers
from napari_virtualstain.qc.guard import Guard
from napari_virtualstain.qc.reference import QcReference, read_reference
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["Judge"]


class Judge:
    """Judges images one after the other, and keeps pictures of the worst.

    Parameters
    ----------
    settings
        Of the run.
    truths
        True stains, by the key of a prediction; empty if there are none.
    comparer
        Compares with them.
    review
        What somebody decided.

    Attributes
    ----------
    gallery
        Pictures of the worst.
    used
        The reference that fields were held against, ``""`` for none.
    """

    def __init__(
        self, settings: QcSettings, truths: dict[tuple[str, str], ListedImage],
        comparer: TruthComparer | None, review: Review,
    ) -> None:  # fmt: skip
        self._settings, self._truths, self._comparer = settings, truths, comparer
        self._review, self._familiar = review, FamiliarReader(settings)
        self._references: dict[str, QcReference | None] = {}
        self._learnt: dict[str, Artifacts | None] = {}
        self.used = ""
        self._fields: list[JudgedField] = []
        self._left_out: list[str] = []
        self._first: Exception | None = None
        self._said: list[str] = []
        self.gallery = Gallery()

    def add(self, one: ListedImage, image: JudgedImage | VirtualStainError) -> None:
        """Judge all time points of an image; one that cannot be judged is left out and said."""
        try:
            if isinstance(image, VirtualStainError):
                raise image
            self._said += image.notes
            if image.apart and image.times > 1:
                self._said.append("flicker: not assessable, these are separate fields")
            reference = self._reference(image)
            for t, field in image.fields(self._settings.z):
                field = self._familiar.beside(image, t, field)
                findings = run_checks(field, reference)
                if (artifacts := self._artifacts(image)) is not None:
                    findings.append(artifact_finding(field, artifacts))
                if not self._settings.no_passport:
                    findings += passport_findings(image, t, self._said)
                if self._comparer is not None:
                    truth = self._truths[one.key].scene.open()
                    findings += self._comparer.compare(image, truth, t)
                decision = self._review.of(one.key, t)
                judged = JudgedField.of(one, t, image.times, findings, decision)
                judged = replace(judged, source=image.made_of, measures=drift_numbers(field))
                if self._settings.maps and self._settings.out is not None:
                    out = Path(self._settings.out)
                    maps = write_maps(out, judged, field, self._settings.overwrite)
                    judged = replace(judged, maps=maps)
                self._fields.append(judged.bare())
                self.gallery.add(judged, field)
        except RunCancelled:
            raise
        except VirtualStainError as error:
            self._first = self._first or error
            self._left_out.append(f"{one.name}: {error}")

    def _reference(self, image: JudgedImage) -> QcReference | None:
        place = place_of_reference(self._settings, image)
        key = "" if place is None else str(place)
        if key not in self._references:
            self._references[key] = None if place is None else read_reference(place)
        found = self._references[key]
        if found is None:
            self._said.append(
                "there is no reference of good predictions, so that most checks cannot tell what "
                "is usual; make one with --calibrate"
            )
            return None
        self.used = key
        own = (image.record.get("model") or {}).get("fingerprint", "")
        if found.fingerprint and own and found.fingerprint != own:
            self._said.append(
                f"the reference is of another model ({found.model}) than the prediction "
                f"({(image.record.get('model') or {}).get('name')}); make one with --calibrate"
            )
        return found

    def _artifacts(self, image: JudgedImage) -> Artifacts | None:
        """Return what was learnt from clicks, `None` if nobody has clicked."""
        place = place_of_artifacts(self._settings, image)
        key = "" if place is None else str(place)
        if key not in self._learnt:
            self._learnt[key] = None if place is None else read_artifacts(place)
        found = self._learnt[key]
        own = (image.record.get("model") or {}).get("fingerprint", "")
        if found is not None and found.fingerprint and own and found.fingerprint != own:
            self._said.append(
                f"the clicks were on stains of another model ({found.model}): what looks bad there "
                "may be usual here"
            )
        return found

    def fields(self) -> tuple[JudgedField, ...]:
        """Return all fields, worst first.

        Raises
        ------
        VirtualStainError
            If there is none: that of the first.
        """
        if not self._fields:
            raise self._first or PixelDataError("There is no field to judge. Give others.")
        return tuple(sorted(self._fields, key=lambda field: field.badness, reverse=True))

    def notes(self) -> list[str]:
        """Return what was guessed, left out or could not be judged."""
        said = list(dict.fromkeys(self._said))
        if self._left_out:
            said.append(
                f"{plural(len(self._left_out), 'image')} left out; the first, {self._left_out[0]}"
            )
        return [*said, *_alone(self._fields)]

    def guard(self) -> dict[str, Guard]:
        """Return by stain whether intensity may be read as amount."""
        found: dict[str, Guard] = {}
        for reference in self._references.values():
            found |= {} if reference is None else reference.guard
        return found | ({} if self._comparer is None else self._comparer.guard())


def _alone(fields: list[JudgedField]) -> list[str]:
    """Say what can be compared with nothing: one time point, one well."""
    found = []
    if all(field.times == 1 for field in fields):
        found.append("flicker: not assessable, each image has one time point")
    wells = {(field.place.plate, field.place.well) for field in fields if field.place.well}
    if len(wells) == 1:
        found.append("there is one well, so that no well can be compared with others")
    return found
