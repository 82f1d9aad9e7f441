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

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.evaluation.blind import BlindScore, deal_sides, score_answers
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.save_png import QUANTILES
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress, stage, versions
from napari_virtualstain.jobs.blind_page import COLUMNS, page
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.verdict import VerdictSettings
from napari_virtualstain.jobs.verdict_fields import FieldComparer
from napari_virtualstain.jobs.verdict_pairs import FieldPair, pair_fields
from napari_virtualstain.jobs.verdict_pictures import grey, png_address
from napari_virtualstain.jobs.verdict_tables import plain_values, write_whole
from napari_virtualstain.words import plural

__all__ = ["BlindResult", "BlindSettings", "run"]

PAGE, KEY, SCORE = "review.html", "key.json", "score.json"
_PLACES = 4
"""Drawn of each pair; that with most to see in truth is shown."""
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
    match: tuple[str, ...] = Field(
        default=(), description="PREDICTED=TRUE channel names where they differ, e.g. DNA=DAPI"
    )
    scene: str | None = Field(
        default=None,
        description="only predicted images whose name is like this, for example B0?/f01 (see "
        "`info`); several by commas",
    )
    z: Plane | None = Field(
        default=None, description="z plane that is looked at, from 0; the middle one if not given"
    )
    axes: str | None = Field(default=None, description="axes of the target, if it does not say")
    pattern: str | None = Field(
        default=None, description="how the files of a folder with the target are named"
    )
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
    check_output(out, inputs=[prediction, target])
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{str(out)!r} exists and is a file. Choose another --out.")
    there = next((name for name in (PAGE, KEY, SCORE) if (out / name).exists()), None)
    if there is not None and not settings.overwrite:
        raise OutputExistsError(
            f"'{out / there}' exists. Choose another --out, or replace it with --overwrite."
        )
    drawn = listed_images(
        prediction, scene=settings.scene, axes=None, pattern=None, out=settings.out
    )
    true = listed_images(
        target, scene=None, axes=settings.axes, pattern=settings.pattern, out=settings.out
    )
    pairs, notes = pair_fields(drawn, true)
    comparer = FieldComparer(
        VerdictSettings(
            prediction=prediction, target=target, out=settings.out, match=settings.match,
            z=settings.z,
        )
    )  # fmt: skip
    rng = np.random.default_rng(settings.seed)
    told = stage(on_progress, "pairs drawn")
    told(0, settings.count)
    dealt: list[dict[str, Any]] = []
    pictures: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    left_out: dict[str, str] = {}
    for pair, turn in _turns(pairs, settings.count, rng):
        if len(dealt) == settings.count:
            break
        try:
            both = comparer.opened(pair)
        except (ImageFileError, PixelDataError, ChannelError) as error:
            if isinstance(error, ChannelError) and not comparer.pairs:
                raise
            left_out[pair.prediction.name] = str(error)
            continue
        stain = _stain_of(turn, settings, both[0])
        found = _place(both, stain, comparer.plane(both[0]), settings.edge, rng)
        if found is None:
            left_out.setdefault(pair.prediction.name, f"{stain} has nothing to show")
            continue
        (y, x), planes = found
        dealt.append({
            "field": pair.prediction.name, "well": "/".join(filter(None, pair.key[:2])),
            "stain": stain, "y": y, "x": x,
        })  # fmt: skip
        pictures.append(_shown(planes, settings.contrast))
        told(len(dealt), settings.count)
    if len(dealt) < 2:
        why = next(iter(left_out.items()), ("", "there is no pair"))
        raise PixelDataError(
            f"No two pairs can be shown; {why[0]}: {why[1].rstrip('.')}. Give other images."
        )
    if left_out:
        name, why_not = next(iter(left_out.items()))
        notes.append(f"{plural(len(left_out), 'field')} left out; the first, {name}: {why_not}")
    if len(dealt) < settings.count:
        notes.append(f"{len(dealt)} of {settings.count} pairs could be drawn")
    sides = deal_sides(len(dealt), seed=settings.seed).tolist()
    told_of = [
        {**one, "pair": number, "real": "left" if left else "right"}
        for number, (one, left) in enumerate(zip(dealt, sides, strict=True), 1)
    ]
    about = {"settings": settings.model_dump(mode="json"), "pairs": told_of}
    review = hashlib.sha256(json.dumps(told_of).encode()).hexdigest()[:12]
    cards = []
    for one, (predicted, real) in zip(told_of, pictures, strict=True):
        left, right = (real, predicted) if one["real"] == "left" else (predicted, real)
        cards.append((int(one["pair"]), str(one["stain"]), png_address(left), png_address(right)))
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / SCORE).unlink(missing_ok=True)  # of the review that was there
    whole = {
        "schema_version": 1, "job": "blind", "review": review, **about, "versions": versions(),
        "notes": notes,
    }  # fmt: skip
    write_whole(out / KEY, json.dumps(whole, indent=2, allow_nan=False))
    write_whole(out / PAGE, page(review, cards, _HOW[settings.contrast]))
    return BlindResult(
        out=out, pairs=len(dealt), score=None, by_stain={}, by_file={},
        seconds=time.monotonic() - began, notes=tuple(notes),
    )  # fmt: skip


def _turns(
    pairs: list[FieldPair], count: int, rng: np.random.Generator
) -> list[tuple[FieldPair, int]]:
    """Return fields in random order, each once before any is seen twice, with a running number.

    Twice as many as are needed, since some may have nothing to show.
    """
    rounds = -(-2 * count // len(pairs)) + 1
    order = [int(n) for _ in range(rounds) for n in rng.permutation(len(pairs))]
    return [(pairs[n], turn) for turn, n in enumerate(order)]


def _stain_of(turn: int, settings: BlindSettings, prediction: LazyImage) -> str:
    there = prediction.channel_names
    chosen = settings.stains or there
    for name in chosen:
        if name not in there:
            raise ChannelError(
                f"No predicted stain is called {name!r}; there are {listed(there)}. Choose among "
                "them with --stains."
            )
    return chosen[turn % len(chosen)]


def _place(
    both: tuple[LazyImage, LazyImage], stain: str, z: int, edge: int, rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
    """Return a place and what prediction and truth show there; `None` if it is nothing."""
    prediction, truth = both
    height, width = truth.shape[3:]
    side = min(edge, height, width)
    t = int(rng.integers(truth.shape[0]))
    best, most = None, 0.0
    for _ in range(_PLACES):
        y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        planes = tuple(
            read_rows(image, t, image.channel_index(stain), z, slice(y, y + side))[:, x : x + side]
            for image in (prediction, truth)
        )
        if not all(np.isfinite(plane).all() and np.ptp(plane) > 0 for plane in planes):
            continue
        if float(planes[1].std()) > most:
            most = float(planes[1].std())
            best = (y, x), (planes[0], planes[1])
    return best


def _shown(
    planes: tuple[NDArray[np.float32], NDArray[np.float32]], contrast: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both as grey pictures."""
    limits = [tuple(float(v) for v in np.quantile(plane, QUANTILES)) for plane in planes]
    if contrast == "truth":
        limits[0] = limits[1]
    found = [
        grey(plane, low, high if high > low else low + 1)
        for plane, (low, high) in zip(planes, limits, strict=True)
    ]
    return found[0], found[1]


def _score(settings: BlindSettings, began: float) -> BlindResult:
    out = Path(settings.out)
    try:
        key = json.loads((out / KEY).read_text("utf-8"))
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
    whole = {
        "schema_version": 1, "job": "blind", "review": review,
        "settings": settings.model_dump(mode="json"), "versions": versions(),
        "result": result.to_json(),
    }  # fmt: skip
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
