"""Does a network that learnt treatments from real stains know them in predicted ones? It is asked.

Taught by the true stains of some wells, asked of the true and of the predicted stains of others;
and, as what the model could have known, taught by and asked of the bright field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from napari_virtualstain.datasets.labelled import LabelledPicture
from napari_virtualstain.datasets.labels import label_images, read_labels
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import PixelDataError, unknown_name
from napari_virtualstain.evaluation.findings import CAVEAT, Finding
from napari_virtualstain.evaluation.mechanisms import teachable
from napari_virtualstain.evaluation.phenotype_findings import about_recognition
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.evaluation.recognition import (
    Recognised,
    compare_recognition,
    deal_folds,
    recognition,
)
from napari_virtualstain.io.disk import check_report
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN, PIXEL_SIZE, SCENE, Z
from napari_virtualstain.jobs.page_file import PDF, check_pdf
from napari_virtualstain.jobs.phenotype_wells import BRIGHTFIELD, PREDICTION, TRUTH, score_row
from napari_virtualstain.jobs.recognise_network import guess_by_folds
from napari_virtualstain.jobs.recognise_page import FILES, write_recognise
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.verdict_pairs import PairOpener, pair_fields
from napari_virtualstain.jobs.verdict_rows import Row
from napari_virtualstain.jobs.verdict_tables import plain_values
from napari_virtualstain.words import plural

__all__ = ["RecogniseResult", "RecogniseSettings", "run"]

_SHOWN = 5


class RecogniseSettings(JobSettings):
    """Settings of `virtualstain recognise`."""

    prediction: PathText = Field(description="predicted stains: a plate, or a folder of images")
    target: PathText = Field(description="the true stains of the same fields, which teach")
    labels: PathText = Field(description="table of what was done to each well (CSV or TSV)")
    out: PathText = Field(description="folder to write the page and the tables into")
    brightfield: PathText | None = Field(
        default=None, description="the bright field of the same fields, for comparison"
    )
    channel: str | None = Field(default=None, description="bright-field channel")
    label: str = Field(
        default="treatment", description="column of the table that is learnt; several joined by +"
    )
    match: tuple[str, ...] = MATCH
    preset: str = Field(
        default="small", description="size of the ResNet: tiny, little, small or resnet50"
    )
    steps: int = Field(default=500, ge=1, description="optimiser steps of each network")
    batch: int = Field(default=16, ge=1, description="crops a step")
    patch: int = Field(default=128, ge=16, description="edge of a crop in pixels")
    normalise_on: Literal["set", "field"] = Field(
        default="set",
        description="whose pixels normalise a stain: those of all true fields that teach, so that "
        "brightness counts, or those of each field alone",
    )
    group: Literal["well", "plate"] = Field(
        default="well", description="what a network never both learns from and is asked of"
    )
    folds: int = Field(default=3, ge=2, description="in how many parts wells are asked")
    scene: str | None = SCENE
    z: Plane | None = Z
    pixel_size: float | None = PIXEL_SIZE
    axes: str | None = AXES
    pattern: str | None = PATTERN
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    draws: int = Field(default=500, ge=50, description="how often wells are drawn for an interval")
    seed: int = Field(default=0, ge=0, description="decides what is drawn, dealt out and learnt")
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the page that is there")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecogniseResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the page and the tables.
    finding
        Whether treatments are known in predicted stains as in true ones.
    known
        By source: how often they are.
    scores, fields
        Rows of the tables.
    wells
        How many were asked.
    seconds
        That it took.
    notes
        What was guessed or left out; a sentence each.
    """

    out: Path
    finding: Finding
    known: dict[str, Recognised]
    scores: tuple[Row, ...]
    fields: tuple[Row, ...]
    wells: int
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "state": self.finding.state, "sentence": self.finding.sentence,
            "findings": [self.finding.to_json()], "scores": list(self.scores),
            "confusion": {
                source: {"classes": list(one.table.classes), "counts": one.table.counts.tolist()}
                for source, one in self.known.items()
            },
            "fields": len(self.fields), "wells": self.wells, "caveat": CAVEAT,
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        lines = [self.finding.sentence, ""]
        lines += [
            f"{row['question']:<20} {row['source']:<13} {row['value']:.3f} "
            f"({row['low']:.3f} to {row['high']:.3f}), by chance {row['chance']:.3f}"
            for row in self.scores
        ]
        what = f"{plural(len(self.fields), 'field')} in {plural(self.wells, 'well')}"
        end = f"{what} -> {self.out / FILES[0]} ({self.seconds:.1f} s)"
        return "\n".join([*lines, "", CAVEAT, end])


@dataclass(slots=True, kw_only=True, eq=False)
class _Opened:
    """Pictures of the fields that are asked, one a field and time point."""

    keys: list[Key]
    labels: list[str]
    pictures: dict[str, list[LabelledPicture]]
    channels: dict[str, list[str]]
    notes: list[str]


def run(
    settings: RecogniseSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> RecogniseResult:
    """Teach a network for each part of the wells, ask it of the others, and write what it says.

    Parameters
    ----------
    settings
        Which images, and what is learnt.
    on_progress
        Told of steps; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images, channels or labels do not fit, or too few wells have a label.
    """
    began = time.monotonic()
    out = Path(settings.out)
    inputs = [settings.prediction, settings.target, settings.brightfield, settings.labels]
    check_report(out, FILES, inputs, overwrite=settings.overwrite)
    check_pdf(settings.pdf)
    presets = get_encoder_spec("resnet").presets
    if settings.preset not in presets:
        raise unknown_name("size of a ResNet", settings.preset, presets,
                           then="Choose one of these with --preset.")  # fmt: skip
    opened = _open(settings)
    groups = [key[0] if settings.group == "plate" else key[:2] for key in opened.keys]
    chosen, few = teachable(opened.labels, groups, settings.folds)
    if few:
        opened.notes.append(
            f"of {settings.label}, those with fewer than {settings.folds} groups of wells are not "
            f"asked: {listed([f'{name} ({n})' for name, n in few.items()], _SHOWN)}"
        )
    rows = np.flatnonzero(chosen).tolist()
    labels = [opened.labels[n] for n in rows]
    own = [groups[n] for n in rows]
    keys = [opened.keys[n] for n in rows]
    folds = deal_folds(labels, own, settings.folds, seed=settings.seed)
    pictures = {source: [one[n] for n in rows] for source, one in opened.pictures.items()}
    networks = [TRUTH, *([BRIGHTFIELD] if BRIGHTFIELD in pictures else [])]
    guesses: dict[str, Any] = {}
    for number, teacher in enumerate(networks):
        sides = {TRUTH: pictures[TRUTH], PREDICTION: pictures[PREDICTION]}
        asked = sides if teacher == TRUTH else {teacher: pictures[teacher]}

        def told(done: int, total: int, number: int = number) -> None:
            if on_progress is not None:
                on_progress(number * total + done, len(networks) * total, "steps learnt")

        guesses |= guess_by_folds(
            pictures[teacher], asked, folds, opened.channels[teacher], settings, told=told
        )
    wells = [key[:2] for key in keys]
    how: dict[str, Any] = {"draws": settings.draws, "seed": settings.seed}
    known = {
        source: recognition(labels, guess, wells, **how) for source, (guess, _) in guesses.items()
    }
    loss = compare_recognition(labels, guesses[PREDICTION][0], guesses[TRUTH][0], wells, **how)
    result = RecogniseResult(
        out=out, finding=about_recognition(known[PREDICTION], known[TRUTH], loss, settings.label),
        known=known, scores=tuple(_scores(known, loss)), wells=len(set(wells)),
        fields=tuple(_fields(keys, labels, folds.tolist(), guesses)),
        seconds=time.monotonic() - began, notes=tuple(opened.notes),
    )  # fmt: skip
    write_recognise(result, describe_run("recognise", settings, channels=opened.channels))
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _open(settings: RecogniseSettings) -> _Opened:
    """Open all fields that have a label, and leave out those with missing pixels."""
    predictions = listed_images(
        settings.prediction, scene=settings.scene, axes=None, pattern=None, out=settings.out
    )
    truths = listed_images(
        settings.target, scene=None, axes=settings.axes, pattern=settings.pattern, out=settings.out
    )
    pairs, notes = pair_fields(predictions, truths)
    table = read_labels(settings.labels)
    images = [(one.truth.path, one.truth.scene.place) for one in pairs]
    labelled = label_images(images, settings.label, table)
    notes += labelled.notes
    light: dict[ListedImage, ListedImage] = {}
    if settings.brightfield is not None:
        found = listed_images(
            settings.brightfield, scene=None, axes=None, pattern=None, out=settings.out
        )
        beside, said = pair_fields(found, [one.truth for one in pairs], what="truth")
        notes += said
        light = {one.truth: one.prediction for one in beside}
    opener = PairOpener(settings.match, settings.pixel_size)
    sources = [TRUTH, PREDICTION, *([BRIGHTFIELD] if light else [])]
    opened = _Opened(
        keys=[], labels=[], pictures={source: [] for source in sources}, channels={}, notes=notes
    )
    left_out: list[str] = []
    for pair, label in zip(pairs, labelled.labels, strict=True):
        if not label or (light and pair.truth not in light):
            continue
        prediction, truth = opener.open(pair)
        sides = {TRUTH: truth, PREDICTION: prediction}
        if light:
            sides[BRIGHTFIELD] = _brightfield(settings, light[pair.truth], truth, opened)
        for source, image in sides.items():
            opened.channels.setdefault(source, list(image.channel_names))
        for t in range(truth.shape[0]):
            planes = {source: _plane(settings, image, t) for source, image in sides.items()}
            if not all(np.isfinite(np.asarray(plane)).all() for plane in planes.values()):
                left_out.append(pair.prediction.name)
                continue
            opened.keys.append((*pair.key, str(t)))
            opened.labels.append(label)
            for source, plane in planes.items():
                name = f"{pair.prediction.name} t{t} ({source})"
                opened.pictures[source].append(
                    LabelledPicture(name, plane, label, "/".join(pair.key[:2]))
                )
    if left_out:
        notes.append(
            f"{plural(len(left_out), 'field')} with missing pixels left out: "
            f"{listed(left_out, _SHOWN)}"
        )
    opened.notes += opener.said
    if not opened.keys:
        raise PixelDataError(
            f"No field has a value of {settings.label!r} and pixels that are whole. Give a table "
            "that names these wells by --labels, or another column by --label."
        )
    return opened


def _plane(settings: RecogniseSettings, image: LazyImage, t: int) -> Any:
    """Return (C, Y, X) of a time point."""
    n_z = image.shape[2]
    z = n_z // 2 if settings.z is None or n_z == 1 else settings.z
    if z >= n_z:
        raise PixelDataError(
            f"Plane {z} is asked for, and there are {n_z}, from 0. Choose another with --z."
        )
    return image.data[t, :, z]


def _brightfield(
    settings: RecogniseSettings, one: ListedImage, truth: LazyImage, opened: _Opened
) -> LazyImage:
    """Open the bright field of a field: one channel, the middle one of several planes."""
    image = one.scene.open().with_gaps()
    name, note = choose_channel(image, channel=settings.channel, like="bright field")
    if note and note not in opened.notes:
        opened.notes.append(note)
    image = image.select([name], z=[image.shape[2] // 2])
    if image.shape[3:] != truth.shape[3:] or image.shape[0] != truth.shape[0]:
        raise PixelDataError(
            f"The bright field {one.name!r} is {image.shape[3]} x {image.shape[4]} px with "
            f"{plural(image.shape[0], 'time point')}, and its true stains are {truth.shape[3]} x "
            f"{truth.shape[4]} px with {truth.shape[0]}. Give the bright field of the same fields."
        )
    return image


def _scores(known: dict[str, Recognised], loss: Interval) -> list[Row]:
    rows = []
    for source, one in known.items():
        taught = BRIGHTFIELD if source == BRIGHTFIELD else TRUTH
        for question, value, chance in (
            ("accuracy", one.accuracy, one.chance_accuracy),
            ("balanced accuracy", one.balanced, one.chance_balanced),
        ):
            rows.append(
                score_row(question, source, value, chance=chance, n=one.items, taught=taught)
            )
    n = known[PREDICTION].items
    rows.append(score_row("prediction - truth", PREDICTION, loss, chance=0.0, n=n, taught=TRUTH))
    return rows


def _fields(
    keys: Sequence[Key], labels: Sequence[str], folds: Sequence[int], guesses: dict[str, Any]
) -> list[Row]:
    rows: list[Row] = []
    for n, (key, label) in enumerate(zip(keys, labels, strict=True)):
        row: Row = {
            **dict(zip(("plate", "well", "site", "time"), key, strict=True)), "treatment": label,
            "fold": folds[n],
        }  # fmt: skip
        for source, (guess, probability) in guesses.items():
            name = source.replace(" ", "_")
            row |= {f"{name}_taken_for": guess[n], f"{name}_probability": float(probability[n])}
        rows.append(row)
    return rows
