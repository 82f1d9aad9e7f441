"""Can these predictions be trusted? Each field green, amber or red, worst first, with the reason.

Without a truth: every check looks at the prediction and the bright field that it was made of, and
holds them against good predictions of the same model (`qc.reference`), which `--calibrate` makes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.datasets.review import read_review
from napari_virtualstain.errors import (
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.disk import check_report
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.matched_settings import MATCH, PIXEL_SIZE, SCENE
from napari_virtualstain.jobs.page_file import PDF, check_pdf
from napari_virtualstain.jobs.qc_calibrate import calibrate
from napari_virtualstain.jobs.qc_clicks import Learnt, learn_artifacts
from napari_virtualstain.jobs.qc_familiar import FamiliarReader
from napari_virtualstain.jobs.qc_field import JudgedImage, open_judged
from napari_virtualstain.jobs.qc_judge import Judge
from napari_virtualstain.jobs.qc_tables import FILES, JudgedField, write_qc
from napari_virtualstain.jobs.qc_truth import TruthComparer
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.qc.check import RANK, State
from napari_virtualstain.qc.checks import UNSEEN
from napari_virtualstain.qc.drift import DriftReport, MeasuredField, find_drift
from napari_virtualstain.qc.guard import NOT_IF_RED, Guard
from napari_virtualstain.qc.reference import QcReference
from napari_virtualstain.words import plural

__all__ = ["QcResult", "QcSettings", "run"]

_SHOWN = 10


class QcSettings(JobSettings):
    """Settings of `virtualstain qc`."""

    prediction: PathText = Field(
        description="predicted stains: an image, a plate, or a folder of images"
    )
    source: PathText | None = Field(
        default=None,
        description="bright field that was stained; that of each run's record if not given",
    )
    target: PathText | None = Field(
        default=None, description="true stains of the same fields, where there are some"
    )
    reference: PathText | None = Field(
        default=None,
        description="file of what good predictions are like; that beside the model if not given",
    )
    artifacts: PathText | None = Field(
        default=None,
        description="file of what was learnt from clicks on good and bad places; that beside the "
        "prediction or the model if not given",
    )
    clicks: PathText | None = Field(
        default=None,
        description="CSV of such clicks (path, scene, time, y, x, label): learn from them instead "
        "of judging",
    )
    index: PathText | None = Field(
        default=None,
        description="index of the model's training data (`virtualstain index`); that beside the "
        "model if not given",
    )
    out: PathText | None = Field(
        default=None, description="folder to write the page and the tables into"
    )
    calibrate: bool = Field(
        default=False,
        description="make a reference of these predictions, which have to be good ones of images "
        "that did not teach, instead of judging them",
    )
    alarms: float = Field(
        default=0.05, gt=0, lt=0.5,
        description="of --calibrate: share of good fields that may be called amber or red",
    )  # fmt: skip
    maps: bool = Field(
        default=False, description="write where each check sees something, as OME-Zarr"
    )
    no_passport: bool = Field(
        default=False,
        description="do not compare the bright field with the training images of the model, by "
        "passport or index, which loads the model",
    )
    match: tuple[str, ...] = MATCH
    scene: str | None = SCENE
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: Plane | None = Field(
        default=None, description="z plane that is judged, from 0; the middle one if not given"
    )
    pixel_size: float | None = PIXEL_SIZE
    axes: str | None = Field(
        default=None, description="axes of source and target, if they do not say"
    )
    pattern: str | None = Field(
        default=None, description="how the files of a folder with source or target are named"
    )
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the report that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class QcResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the report, or the file of the reference or of what was learnt.
    state
        Of the worst field; of a calibration ``"green"``.
    fields
        Worst first; empty after a calibration.
    guard
        By stain, whether intensity may be read as amount.
    reference
        Where the reference lies that was used, ``""`` if there was none.
    seconds
        That it took.
    notes
        What was guessed, left out or could not be judged; a sentence each.
    learnt
        From clicks, `None` if that was not asked for.
    drift
        What changes over plates, from plate to plate, and with time.
    """

    out: Path
    state: State
    fields: tuple[JudgedField, ...]
    guard: dict[str, Guard]
    reference: str
    seconds: float
    notes: tuple[str, ...] = ()
    learnt: Learnt | None = None
    drift: DriftReport = dataclass_field(default_factory=DriftReport)

    @property
    def counts(self) -> dict[str, int]:
        """How many fields are in each state."""
        found = Counter(field.state for field in self.fields)
        return {state: found[state] for state in reversed(RANK) if found[state]}

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out), "state": self.state, "counts": self.counts,
            "fields": [field.to_json() for field in self.fields],
            "amounts": {stain: {**one.model_dump(), "words": one.words}
                        for stain, one in self.guard.items()},
            "reference": self.reference, "unseen": UNSEEN, "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "learnt": None if self.learnt is None else self.learnt.to_json(),
            "drift": self.drift.to_json(),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        if self.learnt is not None:
            return f"{self.learnt.words()}\n-> {self.out} ({self.seconds:.1f} s)"
        if not self.fields:
            return f"reference of good predictions -> {self.out} ({self.seconds:.1f} s)"
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items())
        lines = [f"{plural(len(self.fields), 'field')}: {counts}"]
        for field in self.fields[:_SHOWN]:
            why = field.reason or "nothing unusual"
            lines.append(f"[{field.state}] {field.name}: {why}")
        if len(self.fields) > _SHOWN:
            lines.append(f"and {len(self.fields) - _SHOWN} more in {FILES[2]}")
        lines += self.drift.sentences
        lines += [f"{stain}: {one.words}" for stain, one in self.guard.items()]
        if self.guard and self.state == "red":
            lines.append(NOT_IF_RED)
        return "\n".join([*lines, UNSEEN, f"-> {self.out / FILES[0]} ({self.seconds:.1f} s)"])


def run(
    settings: QcSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> QcResult:
    """Judge every field, or make a reference of all.

    Parameters
    ----------
    settings
        Which predictions, and what they are held against.
    on_progress
        Told of fields; what it raises ends the run, and no report is left of it.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images do not fit, or no field can be judged.
    """
    began = time.monotonic()
    predictions = listed_images(
        settings.prediction, scene=settings.scene, axes=None, pattern=None,
        out=_written(settings),
    )  # fmt: skip
    _check(settings)
    notes: list[str] = []
    sources = _beside(predictions, settings.source, "bright field", settings, notes)
    truths = _beside(predictions, settings.target, "truth", settings, notes)
    if settings.target is not None:
        predictions = [one for one in predictions if one.key in truths]
    comparer = TruthComparer(settings) if settings.target is not None else None

    def opened() -> Iterator[tuple[ListedImage, JudgedImage | VirtualStainError]]:
        for one in predictions:
            try:
                yield one, open_judged(one, sources.get(one.key), settings)
            except VirtualStainError as error:
                yield one, error

    if settings.calibrate:
        images = [image for _, image in opened() if isinstance(image, JudgedImage)]
        familiar = FamiliarReader(settings)
        path, reference = calibrate(settings, images, truths, comparer, familiar, on_progress)
        result = QcResult(
            out=path, state="green", fields=(), guard=reference.guard, reference=str(path),
            seconds=time.monotonic() - began, notes=(*notes, *_of_calibration(images, reference)),
        )  # fmt: skip
        return _told(result, on_note)
    if settings.clicks is not None:
        path, learnt = learn_artifacts(settings, predictions, sources, on_progress)
        result = QcResult(
            out=path, state="green", fields=(), guard={}, reference="", learnt=learnt,
            seconds=time.monotonic() - began, notes=(*notes, *learnt.notes),
        )  # fmt: skip
        return _told(result, on_note)
    judge = Judge(settings, truths, comparer, read_review(settings.prediction))
    for number, (one, image) in enumerate(opened()):
        if on_progress is not None:
            on_progress(number, len(predictions), "images judged")
        judge.add(one, image)
    if on_progress is not None:
        on_progress(len(predictions), len(predictions), "images judged")
    fields = judge.fields()
    result = QcResult(
        out=Path(str(settings.out)), state=fields[0].state, fields=fields, guard=judge.guard(),
        reference=judge.used, seconds=time.monotonic() - began, notes=(*notes, *judge.notes()),
        drift=find_drift([
            MeasuredField(image="/".join(f.key), place=f.place, t=f.t, times=f.times,
                          numbers=f.measures)
            for f in fields
        ]),
    )  # fmt: skip
    write_qc(result, describe_run("qc", settings), judge.gallery)
    return _told(result, on_note)


def _told(result: QcResult, on_note: Callable[[str], None] | None) -> QcResult:
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _check(settings: QcSettings) -> None:
    if settings.calibrate and settings.clicks is not None:
        raise SettingsError(
            "Good predictions and clicks are learnt from one after the other. Leave out "
            "--calibrate or --clicks."
        )
    if settings.clicks is not None:
        return
    if settings.out is None:
        if settings.calibrate:
            return
        raise SettingsError("There is nowhere to write the report. Give a folder with --out.")
    out = Path(settings.out)
    inputs = [settings.prediction, settings.source, settings.target]
    check_report(out, FILES, inputs, overwrite=settings.overwrite)
    check_pdf(settings.pdf)


def _written(settings: QcSettings) -> str:
    """Return the folder whose images are none of the input: that of the report."""
    return settings.out or str(Path(settings.prediction).parent / ".no-report")


def _beside(
    predictions: list[ListedImage], path: str | None, what: str, settings: QcSettings,
    notes: list[str],
) -> dict[tuple[str, str], ListedImage]:  # fmt: skip
    """Return the image of each prediction in another folder, by the key of the prediction."""
    if path is None:
        return {}
    images = listed_images(
        path, scene=None, axes=settings.axes, pattern=settings.pattern,
        out=_written(settings),
    )  # fmt: skip
    pairs, said = pair_fields(predictions, images, what=what)
    notes += said
    return {pair.prediction.key: pair.truth for pair in pairs}


def _of_calibration(images: list[JudgedImage], reference: QcReference) -> list[str]:
    found = list(dict.fromkeys(note for image in images for note in image.notes))
    if reference.fields < 50:
        found.append(
            f"{reference.fields} fields show little of what is usual; 50 or more make fewer false "
            "alarms"
        )
    if not reference.guard:
        found.append("without --target nothing is known of amounts: no stain may be read as one")
    return found
