"""The rows of `virtualstain embed`: each field is looked at, and written before the next is."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    ImageFileError,
    PixelDataError,
    PixelSizeError,
    SettingsError,
    parse_json,
)
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.embed_field import FieldEncoder, Seen
from napari_virtualstain.jobs.embed_profiles import PREDICTED, PROBABILITY
from napari_virtualstain.jobs.embed_table import FIELDS, FeatureFile

if TYPE_CHECKING:
    from napari_virtualstain.jobs.embed import EmbedResult, EmbedSettings

from napari_virtualstain.jobs.run_record import describe_run

__all__ = ["RECORD", "Told", "write_record", "write_rows"]

RECORD = "record.json"
_OURS = tuple(f"{n}{e}.csv" for n in ("fields", "wells", "treatments") for e in ("", "_sphered"))
_DECIDING = (
    "input",
    "channels",
    "match",
    "z",
    "t",
    "crop",
    "crops",
    "pixel_size",
    "resample",
    "axes",
    "pattern",
)
"""Settings with which rows that are there must have been made."""
_OF_ALL = (AxesError, ChannelError, PixelSizeError)
"""Errors that, where the first image has one, all will have: settings to be corrected."""


@dataclass(slots=True)
class Told:
    """What is said at the end.

    Parameters
    ----------
    notes
        Sentences; each is said once.
    left_out, missing
        Images that were not looked at, and channels of fields that were not.
    """

    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return all of it."""
        said = list(dict.fromkeys(self.notes))
        if self.left_out:
            said.append(f"{len(self.left_out)} images are left out; the first, {self.left_out[0]}")
        if self.missing:
            said.append(
                f"{len(self.missing)} fields lack a channel, whose features are empty; the first, "
                f"{self.missing[0]}"
            )
        return said


def write_rows(
    settings: EmbedSettings,
    model: EncoderModel,
    rows: deque[tuple[Any, ...]],
    columns: list[str],
    told: Told,
    total: int,
    on_progress: Progress | None,
) -> tuple[FieldEncoder, int, int]:
    """Look at the fields that are not written yet.

    Parameters
    ----------
    settings, model
        Of the run.
    rows
        (`Image`, its labels) each; taken from it, so that an image goes once it was looked at.
    columns
        Names of the labels.
    told
        Takes what is to be said.
    total
        Images that there are.
    on_progress
        See `embed.run`.

    Returns
    -------
    tuple
        How fields are looked at, and how many rows and features there are.
    """
    out = Path(settings.out)
    looking: FieldEncoder | None = None
    file: FeatureFile | None = None
    first: Exception | None = None
    if on_progress is not None:
        on_progress(0, total, "fields embedded")
    try:
        while rows:
            one, *labels = rows.popleft()
            seen: Seen | None = None
            try:
                if file is None or one.key not in file.done:
                    image = one.scene.open()
                    if looking is None:
                        looking = FieldEncoder.for_image(model, settings, image)
                        file = _begin(out, settings, looking, columns) if settings.resume else None
                    if file is None or one.key not in file.done:
                        seen = looking.look(image)
            except (ImageFileError, PixelDataError, *_OF_ALL) as error:
                if isinstance(error, _OF_ALL) and file is None and first is None:
                    raise
                first = first or error
                told.left_out.append(f"{one.name}: {error}")
            if seen is not None and looking is not None:
                # Not before there is a row: what cannot be looked at leaves no table.
                file = file or _begin(out, settings, looking, columns)
                if seen.missing:
                    told.missing.append(f"{one.name}: {seen.missing[0]}")
                at = one.place
                file.add(
                    [at.plate, at.well, at.site, *one.key, *labels, *_said(looking, seen)],
                    seen.features.tolist(),
                )
            if on_progress is not None:
                on_progress(total - len(rows), total, "fields embedded")
    finally:
        if file is not None:
            file.close()
    if looking is None or file is None or not file.rows:
        raise first or PixelDataError("There is nothing to look at. Choose other images.")
    told.notes += looking.notes
    return looking, file.rows, len(looking.names)


def _begin(
    out: Path, settings: EmbedSettings, looking: FieldEncoder, columns: list[str]
) -> FeatureFile:
    """Open the table of fields, and note what it is made with."""
    if settings.resume and (out / FIELDS).exists():
        _refuse_other(out, settings, looking)
    elif settings.overwrite:
        with disk_errors(out):
            for name in (RECORD, *_OURS):
                (out / name).unlink(missing_ok=True)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_record(out, settings, looking, "partial")
    return FeatureFile(
        out / FIELDS,
        metadata=["Plate", "Well", "Site", "Path", "Scene", *columns, *_titles(looking)],
        names=looking.names,
        resume=settings.resume,
    )


def _titles(looking: FieldEncoder) -> list[str]:
    """Return the columns of what a classifier says."""
    card = looking.model.card
    if not card.classes:
        return []
    channels = [f"_{name}" for name in looking.channels] if card.per_channel else [""]
    return [
        title
        for channel in channels
        for title in (
            f"{PREDICTED}{channel}",
            *(f"{PROBABILITY}{channel}_{name}" for name in card.classes),
        )
    ]


def _said(looking: FieldEncoder, seen: Seen) -> list[str]:
    """Return what a classifier says, as text; nothing of a channel that is missing."""
    card = looking.model.card
    if seen.scores is None:
        return []
    said: list[str] = []
    for scores in seen.scores:
        if np.isnan(scores).any():
            said += [""] * (1 + len(card.classes))
            continue
        said += [card.classes[int(scores.argmax())], *(f"{score:.6g}" for score in scores)]
    return said


def _made_with(settings: EmbedSettings, looking: FieldEncoder) -> dict[str, Any]:
    """Return what decides the numbers of a row."""
    stated = settings.model_dump(mode="json")
    return {
        **{name: stated[name] for name in _DECIDING},
        "encoder": looking.model.fingerprint,
        "channels_given": list(looking.channels),
        "crop_px": list(looking.edges),
    }


def _refuse_other(out: Path, settings: EmbedSettings, looking: FieldEncoder) -> None:
    """Refuse to go on with rows that were made otherwise."""
    try:
        before = parse_json((out / RECORD).read_text(encoding="utf-8"))["made_with"]
    except (OSError, ValueError, KeyError, TypeError):
        before = {}
    now = _made_with(settings, looking)
    other = next((name for name, value in now.items() if before.get(name) != value), None)
    if other is not None:
        raise SettingsError(
            f"The rows in '{out / FIELDS}' were made with another {other.replace('_', ' ')}, or "
            f"their {RECORD} is not there. Run with the settings of before, or add --overwrite "
            "instead of --resume."
        )


def write_record(
    out: Path,
    settings: EmbedSettings,
    looking: FieldEncoder,
    status: Literal["partial", "complete"],
    result: EmbedResult | None = None,
) -> None:
    """Write what the tables were made with, and what came out."""
    card = looking.model.card
    record = describe_run(
        "embed", settings, status=status, made_with=_made_with(settings, looking),
        encoder={"name": card.name, "fingerprint": looking.model.fingerprint},
        **({} if result is None else {"result": result.to_json()}),
    )  # fmt: skip
    scratch = out / f"{RECORD}.partial"
    with disk_errors(out / RECORD):
        scratch.write_text(json.dumps(record, indent=2), encoding="utf-8")
        scratch.replace(out / RECORD)
