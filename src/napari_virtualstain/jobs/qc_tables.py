"""How is a judgement kept? A row a field, a page with the worst, and maps of what was seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.review import Decision
from napari_virtualstain.io.disk import disk_errors, write_whole
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.save_png import QUANTILES
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.page_file import write_page
from napari_virtualstain.jobs.qc_page import page
from napari_virtualstain.jobs.verdict_pictures import EDGE, grey, png_address
from napari_virtualstain.jobs.verdict_tables import csv_text, plain_values
from napari_virtualstain.qc.check import RANK, Finding, State
from napari_virtualstain.qc.checks import worst_state
from napari_virtualstain.qc.field import QcField, binned

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcResult

__all__ = ["FILES", "MAPS", "Gallery", "JudgedField", "Shown", "write_maps", "write_qc"]

FILES = ("qc.html", "qc.json", "fields.csv", "checks.csv", "wells.csv")
"""Page; everything; a row a field, worst first; a row a field and check; a row a well."""
MAPS = "maps"
"""Folder of the maps."""
_PICTURES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedField:
    """One time point of one image.

    Parameters
    ----------
    name
        For people.
    key
        Path below the input, and name of the scene.
    place
        Where in a plate it lies.
    t, times
        Time point, and how many the image has.
    state
        The worst of all checks.
    findings
        Of all checks; without their maps once these were written and shown (`bare`).
    image
        Path of the file.
    source
        Path and scene of the bright field it was made of, empty if that is not at hand.
    maps
        Path of the maps below the report, ``""`` if there are none.
    decision
        What somebody decided, `None` if nobody did.
    measures
        What is compared from well to well; see `qc.drift`.
    """

    name: str
    key: tuple[str, str]
    place: Place
    t: int
    times: int
    state: State
    findings: tuple[Finding, ...]
    image: str = ""
    source: tuple[str, str] = ("", "")
    maps: str = ""
    decision: Decision | None = None
    measures: Mapping[str, float] = dataclass_field(default_factory=dict)

    @classmethod
    def of(
        cls, one: ListedImage, t: int, times: int, findings: Sequence[Finding],
        decision: Decision | None = None,
    ) -> Self:  # fmt: skip
        """Return what is kept of a field that was judged."""
        name = f"{one.name} t {t}" if times > 1 else one.name
        return cls(
            name=name, key=one.key, place=one.place, t=t, times=times,
            state=worst_state(findings), findings=tuple(findings), image=str(one.path),
            decision=decision,
        )  # fmt: skip

    def bare(self) -> Self:
        """Return the same without maps, which are as large as the field."""
        return replace(self, findings=tuple(replace(f, where=None) for f in self.findings))

    @property
    def flagged(self) -> list[Finding]:
        """What is amber or red, worst first."""
        found = [one for one in self.findings if one.state in ("amber", "red")]
        return sorted(found, key=_badness, reverse=True)

    @property
    def reason(self) -> str:
        """Of the worst finding, with its title; ``""`` if all is well."""
        flagged = self.flagged
        return f"{flagged[0].title}: {flagged[0].reason}" if flagged else ""

    @property
    def badness(self) -> tuple[int, int, float]:
        """By which fields are put in order, worst last."""
        flagged = self.flagged
        reds = sum(one.state == "red" for one in flagged)
        score = flagged[0].score if flagged and np.isfinite(flagged[0].score) else 0.0
        return RANK[self.state], reds, score

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name, "path": self.key[0], "scene": self.key[1],
            "plate": self.place.plate, "well": self.place.well, "site": self.place.site,
            "time": self.t, "state": self.state, "reason": self.reason, "image": self.image,
            "source": list(self.source),
            "maps": self.maps, **_decided(self),
            "findings": [one.to_json() for one in self.findings],
            "measures": {name: float(f"{v:.6g}") for name, v in self.measures.items()},
        }  # fmt: skip


def _decided(field: JudgedField) -> dict[str, str]:
    """Return what somebody decided, empty if nobody did."""
    one = field.decision
    return {
        "verdict": "" if one is None else one.verdict, "comment": "" if one is None else one.comment
    }  # fmt: skip


def _badness(one: Finding) -> tuple[int, float]:
    return RANK[one.state], one.score if np.isfinite(one.score) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Pictures of a field for the page: bright field and stain, what was seen in orange."""

    field: JudgedField
    stain: str
    pictures: tuple[tuple[str, str], ...]


class Gallery:
    """Keeps pictures of the worst fields while all are judged."""

    def __init__(self) -> None:
        self._kept: list[Shown] = []

    def add(self, judged: JudgedField, field: QcField) -> None:
        """Keep pictures of a field, if it is among the worst so far and not green."""
        if not judged.flagged:
            return
        if len(self._kept) == _PICTURES and judged.badness <= self._kept[-1].field.badness:
            return
        self._kept.append(_shown(judged, field))
        self._kept.sort(key=lambda one: one.field.badness, reverse=True)
        del self._kept[_PICTURES:]

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Worst first."""
        return tuple(self._kept)


def _shown(judged: JudgedField, field: QcField) -> Shown:
    worst = judged.flagged[0]
    stain = next((n for n in field.stains if worst.number.startswith(n)), next(iter(field.stains)))
    edge = max(1, -(-max(field.shape) // EDGE))
    where = None if worst.where is None else binned(worst.where, edge) > 0
    pictures = []
    if field.planes is not None:
        middle = field.planes[len(field.planes) // 2]
        pictures.append(("bright field", _marked(binned(middle, edge), where)))
    small = binned(field.stains[stain], edge)
    pictures += [(stain, _marked(small, None)), (f"{stain}, marked", _marked(small, where))]
    return Shown(field=judged.bare(), stain=stain, pictures=tuple(pictures))


def _marked(small: NDArray[np.float32], where: NDArray[np.bool_] | None) -> str:
    known = small[np.isfinite(small)]
    low, high = (float(v) for v in np.quantile(known, QUANTILES)) if known.size else (0.0, 1.0)
    seen = grey(small, low, high if high > low else low + 1)
    colour = np.stack([seen] * 3, axis=-1)
    if where is not None:
        colour[where] = (0.5 * colour[where] + 0.5 * np.array([255, 120, 0])).astype(np.uint8)
    return png_address(colour)


def write_maps(out: Path, judged: JudgedField, field: QcField, overwrite: bool) -> str:
    """Write where each check saw something: an OME-Zarr with a channel a check, 1 where it did.

    Returns
    -------
    str
        Its path below the report, ``""`` if no check saw anything in a place.

    Raises
    ------
    DiskError, OutputExistsError
        If it cannot be written.
    """
    maps = {one.check: one.where for one in judged.flagged if one.where is not None}
    if not maps:
        return ""
    name = re.sub(r"[^\w.-]+", "_", re.sub(r"(\.ome)?\.zarr", "", judged.name)).strip("_")
    pixels = np.stack(list(maps.values())).astype(np.uint8)[None, :, None]
    place = f"{MAPS}/{name}.ome.zarr"
    size = PixelSize(None, field.pixel_um, field.pixel_um)
    with OmeZarrSink.create(
        out / place, shape=pixels.shape, dtype="uint8", n_tiles=1,
        record={"job": "qc", "field": judged.name}, pixel_size_um=size, overwrite=overwrite,
        channels=[Channel(check) for check in maps],
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish({})
    return place


def write_qc(result: QcResult, about: Mapping[str, Any], gallery: Gallery) -> None:
    """Write page, JSON and tables, each in one step, the page last.

    Raises
    ------
    DiskError
        If they cannot be written.
    """
    out = result.out
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    wells = rows_of_wells(result.fields)
    tables = (
        [_row(one) for one in result.fields],
        [row for one in result.fields for row in _rows(one)],
        wells,
    )
    for name, table in zip(FILES[2:], tables, strict=True):
        if table:
            write_whole(out / name, csv_text(table))
        else:  # that of another run would tell of other fields
            with disk_errors(out / name):
                (out / name).unlink(missing_ok=True)
    whole = plain_values({**about, "result": result.to_json()})
    write_whole(out / FILES[1], json.dumps(whole, indent=2, allow_nan=False))
    drawn = page(result, whole, gallery.shown, wells)
    write_page(out / FILES[0], drawn, pdf=about["settings"]["pdf"])


def _about(field: JudgedField) -> dict[str, Any]:
    at = field.place
    return {
        "Metadata_Plate": at.plate, "Metadata_Well": at.well, "Metadata_Site": at.site,
        "Metadata_Path": field.key[0], "Metadata_Scene": field.key[1], "Metadata_Time": field.t,
    }  # fmt: skip


def _row(field: JudgedField) -> dict[str, Any]:
    states = {one.check: one.state for one in field.findings}
    return {
        **_about(field), "state": field.state,
        "red": sum(state == "red" for state in states.values()),
        "amber": sum(state == "amber" for state in states.values()), "reason": field.reason,
        "advice": field.flagged[0].advice if field.flagged else "", **_decided(field),
    }  # fmt: skip


def _rows(field: JudgedField) -> list[dict[str, Any]]:
    return [
        {**_about(field), "check": one.check, "state": one.state, "score": float(one.score),
         "number": one.number, "value": float(one.value), "usual": one.usual,
         "reason": one.reason}
        for one in field.findings
    ]  # fmt: skip


def rows_of_wells(fields: Sequence[JudgedField]) -> list[dict[str, Any]]:
    """Return a row a well: its worst state, and how many fields are in which; worst first."""
    wells: dict[tuple[str, str], list[JudgedField]] = {}
    for field in fields:
        if field.place.well:
            wells.setdefault((field.place.plate, field.place.well), []).append(field)
    rows = []
    for (plate, well), own in wells.items():
        worst = max(own, key=lambda field: field.badness)
        rows.append(
            {"plate": plate, "well": well, "state": worst.state, "fields": len(own),
             **{s: sum(f.state == s for f in own) for s in ("red", "amber", "green")},
             "reason": worst.reason}
        )  # fmt: skip
    return sorted(rows, key=lambda row: (-RANK[row["state"]], -row["red"], -row["amber"]))
