"""Can a person tell predicted stains from real ones? A page of pairs to answer, and the score.

Asked with images it writes the page and, apart from it, the key; asked with answers it scores them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    SettingsError,
    parse_json,
)
from napari_virtualstain.evaluation.blind import BlindScore, deal_sides, score_answers
from napari_virtualstain.io.disk import check_report, disk_errors, write_whole
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.blind_page import COLUMNS, page
from napari_virtualstain.jobs.blind_pairs import draw_pairs
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN, SCENE, Z
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.verdict_pictures import png_address
from napari_virtualstain.jobs.verdict_tables import plain_values
from napari_virtualstain.words import plural

__all__ = ["BlindResult", "BlindSettings", "run"]

PAGE, KEY, SCORE = "review.html", "key.json", "score.json"
_HOW = {
    "own": "Each picture is shown between its own quantiles, so that brightness tells nothing.",
    "truth": "Both pictures are shown between the limits of the real one.",
}


class BlindSettings(JobSettings):
    """Settings of `virtualstain blind`."""

    prediction: PathText | None = Field(
        default=None,
        description="predicted stains: a plate, or a folder of images. Left out, --answers are "
        "scored",
    )
    target: PathText | None = Field(default=None, description="the true stains of the same fields")
    out: PathText = Field(description="folder of the page, its key and the score")
    answers: tuple[PathText, ...] = Field(
        default=(), description="files of answers that the page saved: score them by the key in out"
    )
    count: int = Field(default=40, ge=2, le=400, description="how many pairs are shown")
    edge: int = Field(default=256, ge=32, le=1024, description="edge of a picture in pixels")
    stains: tuple[str, ...] | None = Field(
        default=None, description="predicted stains that are shown; all if not given"
    )
    contrast: Literal["own", "truth"] = Field(
        default="own", description="shown between whose limits: of each picture, or of the real one"
    )
    match: tuple[str, ...] = MATCH
    scene: str | None = SCENE
    z: Plane | None = Z
    axes: str | None = AXES
    pattern: str | None = PATTERN
    seed: int = Field(default=0, ge=0, description="decides which pairs, where, and on which side")
    overwrite: bool = Field(default=False, description="replace the review that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindResult:
    """A review that was written, or scored.

    Parameters
    ----------
    out
        Its folder.
    pairs
        How many it has.
    score
        Of all answers; `None` of a review that was written.
    by_stain, by_file
        The same of each stain, and of each file of answers.
    seconds
        That it took.
    notes
        What was left out; a sentence each.
    """

    out: Path
    pairs: int
    score: BlindScore | None
    by_stain: dict[str, BlindScore]
    by_file: dict[str, BlindScore]
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "pairs": self.pairs,
            "score": None if self.score is None
            else {**asdict(self.score), "sentence": self.score.sentence()},
            "by_stain": {name: asdict(one) for name, one in self.by_stain.items()},
            "by_file": {name: asdict(one) for name, one in self.by_file.items()},
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        if self.score is None:
            return (
                f"{plural(self.pairs, 'pair')} -> {self.out / PAGE} ({self.seconds:.1f} s)\n"
                f"Give the page alone to whoever answers; {KEY} says which is real. Then: "
                f"virtualstain blind --answers answers.csv --out {self.out}"
            )
        lines = [self.score.sentence(), ""]
        for parts in (self.by_stain, self.by_file if len(self.by_file) > 1 else {}):
            lines += [f"{name}: {s.right} of {s.asked}, {s.share}" for name, s in parts.items()]
        return "\n".join([*lines, f"-> {self.out / SCORE}"])


def run(
    settings: BlindSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> BlindResult:
    """Write a review, or score one.

    Parameters
    ----------
    settings
        Which images, or which answers.
    on_progress
        Told of pairs; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or answers are not of this review.
    """
    began = time.monotonic()
    if settings.answers and settings.prediction is not None:
        raise SettingsError(
            "Images make a new review, and answers are of one that is there. Leave out the images, "
            "or --answers."
        )
    if settings.answers:
        result = _score(settings, began)
    elif settings.prediction is None or settings.target is None:
        raise SettingsError(
            "A review needs predicted and true stains. Name both, the true ones with --target, or "
            "score one with --answers."
        )
    else:
        result = _write(settings, settings.prediction, settings.target, on_progress, began)
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _write(
    settings: BlindSettings, prediction: str, target: str, on_progress: Progress | None,
    began: float,
) -> BlindResult:  # fmt: skip
    out = Path(settings.out)
    check_report(out, (PAGE, KEY, SCORE), [prediction, target], overwrite=settings.overwrite)
    dealt, pictures, notes = draw_pairs(settings, prediction, target, on_progress)
    sides = deal_sides(len(dealt), seed=settings.seed).tolist()
    told_of = [
        {**one, "pair": number, "real": "left" if left else "right"}
        for number, (one, left) in enumerate(zip(dealt, sides, strict=True), 1)
    ]
    review = hashlib.sha256(json.dumps(told_of).encode()).hexdigest()[:12]
    cards = []
    for one, (predicted, real) in zip(told_of, pictures, strict=True):
        left, right = (real, predicted) if one["real"] == "left" else (predicted, real)
        cards.append((int(one["pair"]), str(one["stain"]), png_address(left), png_address(right)))
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / SCORE).unlink(missing_ok=True)  # of the review that was there
    whole = describe_run("blind", settings, review=review, pairs=told_of, notes=notes)
    write_whole(out / KEY, json.dumps(whole, indent=2, allow_nan=False))
    write_whole(out / PAGE, page(review, cards, _HOW[settings.contrast]))
    return BlindResult(
        out=out, pairs=len(dealt), score=None, by_stain={}, by_file={},
        seconds=time.monotonic() - began, notes=tuple(notes),
    )  # fmt: skip


def _score(settings: BlindSettings, began: float) -> BlindResult:
    out = Path(settings.out)
    try:
        key = parse_json((out / KEY).read_text("utf-8"))
        pairs = {int(one["pair"]): one for one in key["pairs"]}
        review = str(key["review"])
    except FileNotFoundError as error:
        raise MissingInputError(
            f"'{out / KEY}' does not exist. Name the folder of the review with --out."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageFileError(
            f"'{out / KEY}' is damaged: {error}. Make the review again with the same --seed."
        ) from error
    said: list[tuple[str, int, bool]] = []
    for name in settings.answers:
        said += [(name, *one) for one in _read_answers(Path(name), review, set(pairs))]

    def scored(rows: list[tuple[str, int, bool]]) -> BlindScore:
        return score_answers(
            [left for _, _, left in rows], [pairs[n]["real"] == "left" for _, n, _ in rows],
            [pairs[n]["well"] for _, n, _ in rows], seed=settings.seed,
        )  # fmt: skip

    result = BlindResult(
        out=out, pairs=len(pairs), score=scored(said),
        by_stain={
            stain: scored([row for row in said if pairs[row[1]]["stain"] == stain])
            for stain in sorted({pairs[n]["stain"] for _, n, _ in said})
        },
        by_file={
            name: scored(rows) for name in settings.answers
            if (rows := [row for row in said if row[0] == name])
        },
        seconds=time.monotonic() - began,
        notes=tuple(
            f"{name}: {len(pairs) - n} of {len(pairs)} pairs are not answered"
            for name in settings.answers
            if (n := sum(row[0] == name for row in said)) < len(pairs)
        ),
    )  # fmt: skip
    whole = describe_run("blind", settings, review=review, result=result.to_json())
    write_whole(out / SCORE, json.dumps(whole, indent=2, allow_nan=False))
    return result


def _read_answers(path: Path, review: str, pairs: set[int]) -> list[tuple[int, bool]]:
    """Return number and whether left was named of each pair that was answered, the last word."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    except (OSError, ValueError) as error:
        raise MissingInputError(
            f"The answers '{path}' cannot be read: {error}. Name the file that the page saved."
        ) from error
    found: dict[int, bool] = {}
    for row in rows:
        number, said = row.get(COLUMNS[1]) or "", row.get(COLUMNS[2]) or ""
        if row.get(COLUMNS[0]) != review:
            raise SettingsError(
                f"'{path}' has answers of another review, {row.get(COLUMNS[0])!r}; this one is "
                f"{review!r}. Name the folder of that review with --out."
            )
        if said not in ("left", "right") or not number.isdecimal() or int(number) not in pairs:
            raise ImageFileError(
                f"'{path}' has an answer that the page does not give: pair {number!r}, {said!r}. "
                "Name the file as the page saved it."
            )
        found[int(number)] = said == "left"
    return list(found.items())
