"""What is the spread of a model's stains worth? Measured on pairs, half of them held back.

Wells are drawn: one half says which interval goes with which spread, the other whether it holds.
Only pixels of the foreground count: of empty places any interval holds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from napari_virtualstain.errors import OutputExistsError, PixelDataError, SettingsError
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.generators.doubt import DOUBT_FILE, Doubt
from napari_virtualstain.io.disk import check_report, disk_errors, write_whole
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images, record_of
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN, SCENE, Z
from napari_virtualstain.jobs.page_file import PDF, check_pdf, write_page
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.uncertainty_fields import DoubtfulField, look_at_pair
from napari_virtualstain.jobs.uncertainty_page import page
from napari_virtualstain.jobs.uncertainty_stains import StainDoubt, judge_stain
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.jobs.verdict_tables import csv_text, plain_values
from napari_virtualstain.words import plural
from napari_virtualstain.zoo import is_own

__all__ = ["UncertaintyResult", "UncertaintySettings", "run"]

FILES = ("uncertainty.html", "uncertainty.csv", "report.json")
_LEAST = 4
"""Fields: two to fit on, and two to hold back."""


class UncertaintySettings(JobSettings):
    """Settings of `virtualstain uncertainty`."""

    prediction: PathText = Field(
        description="predicted stains with their spread (stain --views 8, or --draws 8): a plate, "
        "or a folder of images"
    )
    target: PathText = Field(description="the true stains of the same fields")
    out: PathText = Field(description="folder to write the page and the table into")
    calibrate: bool = Field(
        default=False,
        description="keep the intervals beside the model, for stain --interval; the model must be "
        "one of your own, else they are written into --out, to be put beside it",
    )
    level: float = Field(
        default=0.9, ge=0.5, le=0.99, description="share of the truth that lies within"
    )
    match: tuple[str, ...] = MATCH
    scene: str | None = SCENE
    z: Plane | None = Z
    axes: str | None = AXES
    pattern: str | None = PATTERN
    pixels: int = Field(
        default=20000, ge=200, description="that are looked at, of each field and stain"
    )
    draws: int = Field(default=500, ge=50, description="how often fields are drawn for an interval")
    seed: int = Field(
        default=0, ge=0, description="decides which wells are held back, and what is drawn"
    )
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the report that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the page.
    level
        Share of the truth that should lie within.
    stains
        What was found of each.
    fitted, held_back
        Fields.
    kept
        Where the intervals were written, `None` if nowhere.
    seconds
        That it took.
    notes
        What was left out or guessed; a sentence each.
    """

    out: Path
    level: float
    stains: tuple[StainDoubt, ...]
    fitted: int
    held_back: int
    kept: Path | None
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "level": self.level, "fields_fitted": self.fitted,
            "fields_held_back": self.held_back, "stains": [one.to_json() for one in self.stains],
            "kept": None if self.kept is None else str(self.kept),
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        lines = [one.sentence(self.level) for one in self.stains]
        if self.kept is not None:
            lines.append(f"intervals -> {self.kept}")
        what = f"{plural(self.held_back, 'field')} held back of {self.fitted + self.held_back}"
        return "\n".join([*lines, f"{what} -> {self.out / FILES[0]} ({self.seconds:.1f} s)"])


def run(
    settings: UncertaintySettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> UncertaintyResult:
    """Measure what the spread is worth.

    Parameters
    ----------
    settings
        Which predictions and truths.
    on_progress
        Told of fields; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images do not fit, have no spread, or are too few.
    """
    began = time.monotonic()
    out = Path(settings.out)
    check_report(out, FILES, [settings.prediction, settings.target], overwrite=settings.overwrite)
    check_pdf(settings.pdf)
    predictions = listed_images(
        settings.prediction, scene=settings.scene, axes=None, pattern=None, out=settings.out
    )
    truths = listed_images(
        settings.target, scene=None, axes=settings.axes, pattern=settings.pattern, out=settings.out
    )
    pairs, notes = pair_fields(predictions, truths)
    if len(pairs) < _LEAST:
        raise PixelDataError(
            f"{plural(len(pairs), 'field')} with a true stain cannot say what a spread is worth, "
            "since half of them are held back. Give at least 4, better 20."
        )
    made = _made_of([pair.prediction for pair in pairs])
    place = _place(settings, made) if settings.calibrate else None
    fields: list[DoubtfulField] = []
    for done, pair in enumerate(pairs):
        if on_progress is not None:
            on_progress(done, len(pairs), "fields compared")
        fields.append(look_at_pair(pair, settings))
    if on_progress is not None:
        on_progress(len(pairs), len(pairs), "fields compared")
    first, said = _half([pair.key for pair in pairs], settings.seed)
    notes += said
    fit = [field for field, taken in zip(fields, first, strict=True) if taken]
    rest = [field for field, taken in zip(fields, first, strict=True) if not taken]
    found = [
        judge_stain(name, fit, rest, level=settings.level, draws=settings.draws, seed=settings.seed)
        for name in dict.fromkeys(stain for field in fields for stain in field.stains)
    ]
    stains = tuple(one for one in found if one is not None)
    notes += [note for field in fields for note in field.notes]
    if not stains:
        raise PixelDataError(
            "No stain has foreground in half of the fields. Give fields with cells."
        )
    result = UncertaintyResult(
        out=out, level=settings.level, stains=stains, fitted=len(fit), held_back=len(rest),
        kept=place, seconds=time.monotonic() - began, notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip
    _write(result, settings, made)
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _half(keys: Sequence[Key], seed: int) -> tuple[list[bool], list[str]]:
    """Say of each field whether it is fitted on, and what is to be known of that.

    Wells are drawn, so that no well is on both sides; at random, since layouts alternate.
    """
    wells: list[Hashable] = [key[:2] for key in keys]
    notes = []
    if len(set(wells)) < _LEAST:
        wells = list(range(len(keys)))
        notes.append("fields of one well are on both sides, which makes intervals look better")
    names = list(dict.fromkeys(wells))
    drawn = np.random.default_rng(seed).permutation(len(names))[: (len(names) + 1) // 2]
    chosen = {names[place] for place in drawn}
    return [well in chosen for well in wells], notes


def _made_of(images: Sequence[ListedImage]) -> dict[str, Any]:
    """Return model, views and draws of predictions that were all made alike."""
    found: list[dict[str, Any]] = []
    for image in images:
        record = record_of(image.scene.open())
        model = record.get("model") or {}
        one = {
            "model": str(model.get("name", "")), "fingerprint": str(model.get("fingerprint", "")),
            "path": str(model.get("path", "")),
            "views": int((record.get("settings") or {}).get("views", 1)),
            "draws": int((record.get("sampling") or {}).get("draws", 1)),
        }  # fmt: skip
        if one not in found:
            found.append(one)
    if len(found) > 1:
        raise SettingsError(
            "These predictions are of several models, or with another --views or --draws. Measure "
            "each kind by itself, with --scene."
        )
    return found[0]


def _place(settings: UncertaintySettings, made: dict[str, Any]) -> Path:
    """Return where intervals are kept: beside a model of one's own, else in the report."""
    if not made["fingerprint"]:
        raise SettingsError(
            "These predictions do not say which model made them. Leave out --calibrate, or stain "
            "the fields with `virtualstain stain --views 8`."
        )
    own = is_own(made["model"]) and Path(made["path"]).is_dir()
    path = Path(made["path"] if own else settings.out) / DOUBT_FILE
    if path.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"The intervals '{path}' exist. Replace them with --overwrite, or leave out "
            "--calibrate."
        )
    return path


def _write(result: UncertaintyResult, settings: UncertaintySettings, made: dict[str, Any]) -> None:
    about = describe_run("uncertainty", settings, made=made)
    with disk_errors(result.out):
        result.out.mkdir(parents=True, exist_ok=True)
    if result.kept is not None:
        write_kept(
            result.kept,
            Doubt(
                model=made["model"], fingerprint=made["fingerprint"], views=made["views"],
                draws=made["draws"], level=settings.level, fields=result.fitted,
                stains={one.name: one.interval for one in result.stains},
            ),
        )  # fmt: skip
    write_whole(result.out / FILES[1], csv_text([row for one in result.stains for row in one.rows]))
    # Where intervals are kept is no part of what was found: a repetition keeps none.
    found = {key: value for key, value in result.to_json().items() if key != "kept"}
    whole = {**about, "result": found}
    write_whole(result.out / FILES[2], json.dumps(whole, indent=2, allow_nan=False))
    write_page(result.out / FILES[0], page(result, about), pdf=about["settings"]["pdf"])
