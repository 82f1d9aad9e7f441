"""How many cells are there, how large and how bright? Tables of objects, fields and wells.

This needs no truth: it is what a virtual stain is made for. What the numbers are worth depends on
the stain, and is asked with `evaluate` where there is a truth.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from pydantic import Field

from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    PixelDataError,
    VirtualStainError,
)
from napari_virtualstain.generators.card import IQR_UNIT, RELATIVE_UNIT
from napari_virtualstain.io.disk import check_report, disk_errors
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.matched_settings import PIXEL_SIZE, Z
from napari_virtualstain.jobs.measure_field import FieldMeasurer, Measured, over_fields
from napari_virtualstain.jobs.measured_outlines import write_outlines
from napari_virtualstain.jobs.measured_trust import TRUST_COLUMNS, Trust, read_trust
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.words import plural

__all__ = ["TABLES", "MeasureResult", "MeasureSettings", "relative_stains", "run"]

TABLES = ("objects.csv", "fields.csv", "wells.csv")
"""A row an object, a row a field and time point, a row a well and time point."""
RECORD = "record.json"
_ABOUT = tuple(f"Metadata_{name}" for name in ("Plate", "Well", "Site", "Path", "Scene", "Time"))


class MeasureSettings(JobSettings):
    """Settings of `virtualstain measure`."""

    input: PathText = Field(
        description="predicted or true stains: an image, plate, or folder of either"
    )
    out: PathText = Field(description="folder to write the tables into")
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    nuclei: str = Field(
        default="DNA", description="channel in which nuclei are found, by name or stain"
    )
    cells: str | None = Field(
        default=None,
        description="channel in which the cell of each nucleus is found, for example AGP or RNA, "
        "or the bright field; no cells if not given",
    )
    stains: tuple[str, ...] | None = Field(
        default=None, description="channels that are measured; all stains if not given"
    )
    nucleus: tuple[float, float] = Field(
        default=(8.0, 30.0), description="least and largest diameter of a nucleus in micrometres"
    )
    reach: float = Field(
        default=25.0, gt=0, description="how far a cell can reach from its nucleus in micrometres"
    )
    classes: Literal[2, 3] = Field(
        default=3,
        description="3 to find weak nuclei beside bright ones, 2 to be stricter",
    )
    qc: PathText | None = Field(
        default=None,
        description="report of `virtualstain qc` on the same input, whose verdicts are put into "
        "every row",
    )
    outlines: bool = Field(
        default=False, description="write what was found as OME-Zarr of labels, to be looked at"
    )
    whole_only: bool = Field(
        default=False, description="leave out nuclei that the edge of the field cuts"
    )
    z: Plane | None = Z
    pixel_size: float | None = PIXEL_SIZE
    axes: str | None = Field(default=None, description="axes of the files, if they do not say")
    pattern: str | None = Field(default=None, description="how the files of a folder are named")
    overwrite: bool = Field(default=False, description="replace the tables that are there")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the tables.
    fields, objects
        How many were looked at, and found.
    wells
        Of each well and time point: its name, ``time``, ``fields``, ``count`` (mean over fields)
        and ``covered``; empty where images lie in no plate.
    seconds
        That it took.
    notes
        What was guessed, left out or is missing; a sentence each.
    images
        Of each image: path, scene, plate, well, site, and the path of its outlines below `out`,
        ``""`` if these were not asked for.
    """

    out: Path
    fields: int
    objects: int
    wells: tuple[dict[str, Any], ...]
    seconds: float
    notes: tuple[str, ...] = ()
    images: tuple[dict[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out), "fields": self.fields, "objects": self.objects,
            "wells": list(self.wells), "seconds": round(self.seconds, 3), "notes": list(self.notes),
            "images": list(self.images),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        return (
            f"{plural(self.objects, 'object')} in {plural(self.fields, 'field')} -> {self.out} "
            f"({', '.join(TABLES if self.wells else TABLES[:2])}; {self.seconds:.1f} s)"
        )


def run(
    settings: MeasureSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> MeasureResult:
    """Measure every field, one after the other, and put wells together.

    Tables are written beside their names and renamed at the end: what has its name is whole.

    Parameters
    ----------
    settings
        Which images, and what is looked for.
    on_progress
        Told of fields; what it raises ends the run, and nothing is left of it.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images or channels do not fit, or nothing can be measured.
    """
    began = time.monotonic()
    out = Path(settings.out)
    _check(out, settings)
    images = listed_images(
        settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern,
        out=settings.out,
    )  # fmt: skip
    notes: list[str] = _badge(images[0].path)
    left_out: list[str] = []
    measurer: FieldMeasurer | None = None
    first: Exception | None = None
    fields = objects = 0
    looked_at: list[dict[str, str]] = []
    trust = None if settings.qc is None else read_trust(settings.qc)
    with _Tables(out, trust) as tables:
        for number, one in enumerate(images):
            if on_progress is not None:
                on_progress(number, len(images), "fields measured")
            try:
                image = one.scene.open()
                if measurer is None:
                    measurer = FieldMeasurer.for_image(settings, image)
                found = list(measurer.measure(image))
            except (ImageFileError, PixelDataError, ChannelError) as error:
                if isinstance(error, ChannelError) and measurer is None:
                    raise
                first = first or error
                left_out.append(f"{one.name}: {error}")
                continue
            for measured in found:
                tables.add(one, measured, image.time_interval_s)
                objects += len(measured.table["object"])
            fields += 1
            place = write_outlines(out, one.name, found, image) if settings.outlines else ""
            looked_at.append(
                {"path": str(one.path), "scene": one.scene.name, "plate": one.place.plate,
                 "well": one.place.well, "site": one.place.site, "outlines": place}
            )  # fmt: skip
        if measurer is None or not fields:
            raise first or PixelDataError("There is nothing to measure. Choose other images.")
        if on_progress is not None:
            on_progress(len(images), len(images), "fields measured")
        notes += dict.fromkeys(measurer.notes)
        if not objects:
            least, most = settings.nucleus
            notes.append(
                f"no nucleus of {least:g} to {most:g} µm was found in {measurer.nuclei!r}; state "
                f"the size of yours, for example --nucleus {least / 8:g},{least / 2:g}"
            )
        if tables.unjudged:
            notes.append(
                f"{plural(tables.unjudged, 'field')} without a verdict: the report in --qc is of "
                "other images, or of fewer"
            )
        if left_out:
            notes.append(f"{plural(len(left_out), 'image')} left out; the first, {left_out[0]}")
        wells = tables.finish()
        result = MeasureResult(
            out=out, fields=fields, objects=objects, wells=tuple(wells),
            seconds=time.monotonic() - began, notes=tuple(notes), images=tuple(looked_at),
        )  # fmt: skip
        tables.record(settings, measurer, result)
    for note in notes:
        if on_note is not None:
            on_note(note)
    return result


def _check(out: Path, settings: MeasureSettings) -> None:
    check_report(out, TABLES, [settings.input], overwrite=settings.overwrite)


def relative_stains(store: Path) -> tuple[str, ...]:
    """Return the stains of a prediction whose grey values mean no amounts, as its model says.

    Parameters
    ----------
    store
        Of a prediction; of anything else there are none.
    """
    try:
        units = read_record(store)["record"]["normalisation"]["units"]
    except (VirtualStainError, KeyError):
        return ()
    return tuple(sorted(name for name, unit in units.items() if unit in {RELATIVE_UNIT, IQR_UNIT}))


def _badge(store: Path) -> list[str]:
    """Say of a prediction that amounts cannot be read from it, where its model says so."""
    relative = relative_stains(store)
    if not relative:
        return []
    names = ", ".join(relative)
    said = f"relative intensity only ({names}): compare counts and shapes, and no amounts"
    return [f"{said} between fields"]


class _Tables:
    """The three tables, under other names until all of them are whole."""

    def __init__(self, out: Path, trust: Trust | None) -> None:
        self._out, self._trust = out, trust
        self.unjudged = 0
        self._about = _ABOUT if trust is None else (*_ABOUT, *TRUST_COLUMNS)
        self._files: dict[str, IO[str]] = {}
        self._wells: dict[tuple[str, str, str], list[dict[str, float]]] = {}
        self._done = False

    def __enter__(self) -> _Tables:
        with disk_errors(self._out):
            self._out.mkdir(parents=True, exist_ok=True)
            for name in TABLES:
                path = self._out / f"{name}.partial"
                self._files[name] = path.open("w", encoding="utf-8", newline="")
        return self

    def add(self, one: ListedImage, measured: Measured, interval_s: float | None) -> None:
        at = one.place
        when = str(measured.t) if interval_s is None else f"{measured.t * interval_s:g}"
        about = [at.plate, at.well, at.site, *one.key, when]
        if self._trust is not None:
            about += self._trust.of(one.key, measured.t)
            self.unjudged += not self._trust.knows(one.key, measured.t)
        columns = measured.table
        rows = zip(*columns.values(), strict=True)
        self._write(
            TABLES[0], [*self._about, *columns], ([*about, *map(_said, row)] for row in rows)
        )
        summary = measured.summary()
        self._write(TABLES[1], [*self._about, *summary], [[*about, *map(_said, summary.values())]])
        if at.well:
            self._wells.setdefault((at.plate, at.well, when), []).append(summary)

    def finish(self) -> list[dict[str, Any]]:
        """Write the wells, and give all tables their names."""
        found: list[dict[str, Any]] = []
        for (plate, well, when), fields in sorted(self._wells.items()):
            means = {name: over_fields(name, [one[name] for one in fields]) for name in fields[0]}
            row = [plate, well, when, str(len(fields)), *map(_said, means.values())]
            header = [f"Metadata_{name}" for name in ("Plate", "Well", "Time")]
            self._write(TABLES[2], [*header, "fields", *means], [row])
            found.append(
                {"plate": plate, "well": well, "time": when, "fields": len(fields),
                 "count": means["count"], "covered": means["covered"]}
            )  # fmt: skip
        with disk_errors(self._out):
            for name, file in self._files.items():
                file.close()
                whole = self._out / f"{name}.partial"
                if name == TABLES[2] and not found:  # no plate, no wells
                    whole.unlink()
                    (self._out / name).unlink(missing_ok=True)
                else:
                    whole.replace(self._out / name)
        self._done = True
        return found

    def record(
        self, settings: MeasureSettings, measurer: FieldMeasurer, result: MeasureResult
    ) -> None:
        """Write what the tables were made with."""
        values = describe_run(
            "measure", settings, nuclei=measurer.nuclei, cells=measurer.cells,
            stains=list(measurer.stains), result=result.to_json(),
        )  # fmt: skip
        with disk_errors(self._out / RECORD):
            (self._out / RECORD).write_text(json.dumps(values, indent=2), encoding="utf-8")

    def _write(self, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        file = self._files[name]
        with disk_errors(self._out / name):
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(header)
            writer.writerows(rows)

    def __exit__(self, *_: object) -> None:
        for name, file in self._files.items():
            file.close()
            if not self._done:
                (self._out / f"{name}.partial").unlink(missing_ok=True)


def _said(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    return "" if np.isnan(value) else f"{value:.7g}"
