"""Repeat a run from the record in its output, and see whether the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.errors import ReplayError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.sink import check_output, check_unlocked
from napari_virtualstain.jobs import explain, stain
from napari_virtualstain.jobs.base import JobSettings, PathText, Progress, make_settings
from napari_virtualstain.jobs.replay_compare import TOLERANCE, Likeness, compare_stores
from napari_virtualstain.jobs.replay_denoise import repeat_denoising
from napari_virtualstain.jobs.replay_instead import instead_of, refuse_what_is_no_run
from napari_virtualstain.jobs.replay_needs import (
    check_input,
    check_whole,
    computing_as,
    input_of,
)
from napari_virtualstain.jobs.replay_report import REPORTS, find_report, repeat_report
from napari_virtualstain.jobs.replay_tables import compare_reports
from napari_virtualstain.jobs.simulate import CONTENTS, write_field
from napari_virtualstain.jobs.stain_record import VERSION, runs_of
from napari_virtualstain.preprocessing.illumination_set import load_illumination_set
from napari_virtualstain.simulate import FieldSettings, fingerprint, simulate_field
from napari_virtualstain.zoo import list_models

__all__ = ["ReplayResult", "ReplaySettings", "run"]

_SCHEMAS = {"stain": VERSION}
"""Newest record of each job that is understood; 1 where nothing is said."""


class ReplaySettings(JobSettings):
    """Settings of `virtualstain replay`."""

    record: PathText = Field(
        description="store or folder of tables that this package wrote, or the record in it"
    )
    out: PathText | None = Field(
        default=None,
        description="OME-Zarr or folder to write; beside the record, NAME-replay.ome.zarr or "
        "NAME-replay",
    )
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """A repetition, and how it compares with the original.

    Parameters
    ----------
    original, out
        The two stores, or folders.
    job
        What was repeated.
    likeness
        Of their pixels, or of all values in their tables.
    notes
        What is not as it was when the original was made; one sentence each.
    """

    original: Path
    out: Path
    job: str
    likeness: Likeness
    notes: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """What is wrong, as a sentence; `None` if the numbers are the same."""
        found = self.likeness
        if not found.compared:
            return (
                f"{str(self.original)!r} and its repetition have no {found.what[:-1]} in common. "
                "Repeat a run that has written something."
            )
        if found.agrees:
            return None
        why = f" Since the run, {'; '.join(self.notes)}." if self.notes else ""
        return (
            f"The repetition of {str(self.original)!r} has other numbers: in {found.where} by up "
            f"to {found.relative:.2g} of its range, allowed {TOLERANCE:g}."
            f"{why} Compare both before you trust either."
        )

    def text(self) -> str:
        """Return the same for people."""
        found = self.likeness
        lines = [f"{self.job} repeated -> {self.out}"]
        if found.equal:
            lines.append(f"equal bit for bit in all {found.compared:,} {found.what} of both")
        elif found.compared:
            lines.append(
                f"largest difference {found.largest:.3g} in {found.where}, "
                f"{found.relative:.2g} of its range (allowed {TOLERANCE:g}), "
                f"in {found.compared:,} {found.what} of both"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "original": str(self.original),
            "out": str(self.out),
            "job": self.job,
            **self.likeness.to_json(),
            "notes": list(self.notes),
            "problem": self.problem,
        }


def _beside(original: Path) -> Path:
    """Return where a repetition is written: beside the store, or beside the plate that holds it."""
    root = original.absolute()
    parts: list[str] = []
    while any((root.parent / name).is_file() for name in _GROUPS):
        parts.insert(0, root.name)
        root = root.parent
    shown = root.name.removesuffix(".zarr").removesuffix(".ome")
    return root.with_name("-".join([shown, *parts, "replay.ome.zarr"]))


def run(
    settings: ReplaySettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> ReplayResult:
    """Repeat the run that wrote a store or a report, beside it, and compare.

    Parameters
    ----------
    settings
        Which store, or which folder of tables.
    on_progress
        Told of what the run tells of, and of planes compared.
    on_note
        Told what is not as it was.

    Raises
    ------
    ReplayError
        If the record does not hold what is needed, or the model is another one.
    VirtualStainError
        If input or model are not there any more, or the output cannot be written.
    """
    given = Path(settings.record)
    notes: list[str] = []

    def note(text: str) -> None:
        if text not in notes:
            notes.append(text)
            if on_note is not None:
                on_note(text)

    report = find_report(given)
    if report is not None:
        _check_schema(report.folder, report.job, report.record)
        original = report.folder
        folder = Path(settings.out or original.absolute().with_name(f"{original.name}-replay"))
        repeat_report(report, folder, settings.overwrite, on_progress, note)
        return ReplayResult(
            original=original, out=folder, job=report.job, notes=tuple(notes),
            likeness=compare_reports(original, folder, REPORTS[report.job]),
        )  # fmt: skip
    original = given.parent if given.name == "zarr.json" else given
    refuse_what_is_no_run(original)
    state = read_record(original)
    record = state["record"]
    job = str(record.get("job"))
    repeat = _REPEATED.get(job)
    if repeat is None:
        raise ReplayError(f"{str(original)!r} is not repeated. {instead_of(job)}")
    _check_schema(original, job, record)
    check_whole(original, job, record)
    out = Path(settings.out or _beside(original))
    check_unlocked(out)
    check_output(out, inputs=[original], overwrite=settings.overwrite)
    repeat(state, out, settings.overwrite, on_progress, note)
    likeness = compare_stores(
        open_image(original),
        open_image(out),
        on_plane=None
        if on_progress is None
        else lambda done, total: on_progress(done, total, "planes compared"),
    )
    return ReplayResult(
        original=original, out=out, job=record["job"], likeness=likeness, notes=tuple(notes)
    )


def _version_of(record: dict[str, Any]) -> str:
    known = (record.get("versions") or {}).get("napari-virtualstain")
    return f", {known}" if known else ""


def _check_schema(original: Path, job: str, record: dict[str, Any]) -> None:
    """Refuse a record of a version that is not known."""
    found, newest = record.get("schema_version"), _SCHEMAS.get(job, 1)
    if found not in range(1, newest + 1):
        raise ReplayError(
            f"The record of {str(original)!r} is of schema {found}, this version reads up to "
            f"{newest}. Update napari-virtualstain, or repeat it with the version that wrote "
            f"it{_version_of(record)}."
        )


def _stain(
    state: dict[str, Any],
    out: Path,
    overwrite: bool,
    on_progress: Progress | None,
    note: Callable[[str], None],
) -> None:
    record = state["record"]
    source = record["input"]
    values = {**record["settings"], "input": input_of(record), "model": _model(record)}
    if source.get("illumination"):
        values["illumination"] = _same_light(source["illumination"])
    stated = make_settings(stain.StainSettings, values)
    check_input(stated, record, note)
    _check_model(stated.model, record)
    for number, entry in enumerate(runs_of(state)):
        with computing_as(entry.get("device"), entry.get("threads"), note) as device:
            again = stated.model_copy(
                update={
                    "out": str(out),
                    "region": None if entry["region"] is None else tuple(entry["region"]),
                    "times": tuple(entry["times"]),
                    "device": device,
                    "resume": number > 0,
                    "overwrite": overwrite and number == 0,
                }
            )
            # What somebody looked at is not known; what was stained is.
            only = sorted(_tiles_of(state)) if entry.get("followed") else None
            stain.run(again, plan=record.get("plan"), only=only, on_progress=on_progress)
    together, now_together = (
        (one["normalisation"].get("on") or {}) for one in (record, read_record(out)["record"])
    )
    if together != now_together:
        note(f"the fields of {together.get('name')} are others, whose grey values normalise it")


def _same_light(light: dict[str, Any]) -> str:
    """Return where the illumination functions of a run are, if they still are what they were."""
    if load_illumination_set(light["path"]).fingerprint != light["fingerprint"]:
        raise ReplayError(
            f"The illumination functions in {light['path']!r} are not those of the run. Put the "
            "file of the run back, or stain the input anew."
        )
    return str(light["path"])


def _tiles_of(state: dict[str, Any]) -> set[int]:
    """Return the tiles that any run of a store was asked for, as far as it came."""
    return {
        number
        for run in runs_of(state)
        for first, last in run["tiles"]
        for number in range(first, last + 1)
    }


def _model(record: dict[str, Any]) -> str:
    """Return where the model of a record is: its name, or its place in full."""
    typed, place = record["settings"]["model"], record["model"].get("path")
    if typed not in list_models() and place and Path(place).exists():
        return str(place)
    return str(typed)


def _check_model(model: str, record: dict[str, Any]) -> None:
    from napari_virtualstain.inference.shared import shared_model

    if shared_model(model).model.fingerprint != record["model"]["fingerprint"]:
        raise ReplayError(
            f"The model {model!r} is not the one of the run: its fingerprint is another. "
            "Put the model of the run back, or stain the input anew."
        )


def _simulate(
    state: dict[str, Any],
    out: Path,
    overwrite: bool,
    on_progress: Progress | None,
    note: Callable[[str], None],
) -> None:
    del note
    record = state["record"]
    if "plate" in record:
        raise ReplayError(
            "The field is one of a simulated plate, which has its own lamp and staining. Simulate "
            "the plate again with `virtualstain simulate --plate` and the settings in the record."
        )
    if "settings" not in record or record.get("content") not in CONTENTS:
        raise ReplayError(
            "The record does not hold the settings of the field. Simulate it again with "
            f"`virtualstain simulate` and seed {record.get('seed')}."
        )
    if record["simulator"] != fingerprint():
        raise ReplayError(
            "The field was made by another version of the simulator, which draws other cells. "
            f"Repeat it with the version of napari-virtualstain that wrote it{_version_of(record)}."
        )
    if on_progress is not None:
        on_progress(0, 1, "fields simulated")
    stated: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["settings"].items()
    }
    field = simulate_field(FieldSettings(**stated), seed=record["seed"])
    write_field(field, out.parent, overwrite=overwrite, only={record["content"]: out})
    if on_progress is not None:
        on_progress(1, 1, "fields simulated")


def _explain(
    state: dict[str, Any],
    out: Path,
    overwrite: bool,
    on_progress: Progress | None,
    note: Callable[[str], None],
) -> None:
    record = state["record"]
    values = {**record["settings"], "input": input_of(record), "out": str(out)}
    settings = make_settings(explain.ExplainSettings, {**values, "overwrite": overwrite})
    check_input(settings, record, note)
    with computing_as(record.get("device"), None, note) as device:
        explain.run(settings.model_copy(update={"device": device}), on_progress=on_progress)
    before, now = (one["network"]["fingerprint"] for one in (record, read_record(out)["record"]))
    if before != now:
        note("the network that was looked into has other weights")


_GROUPS = ("zarr.json", ".zgroup")
"""Files of a Zarr group, of which a plate has one above each well and field."""
_REPEATED = {
    "stain": _stain,
    "denoise": repeat_denoising,
    "explain": _explain,
    "simulate": _simulate,
}
