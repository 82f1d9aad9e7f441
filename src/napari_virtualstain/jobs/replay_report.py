"""How is a report repeated? Its verb again, into another folder, and every number compared."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ReplayError, parse_json
from napari_virtualstain.jobs.base import Progress, make_settings
from napari_virtualstain.jobs.replay_needs import Note, note_versions

__all__ = ["REPORTS", "Report", "find_report", "repeat_report"]

REPORTS = {
    "measure": "record.json",
    "embed": "record.json",
    "qc": "qc.json",
    "verdict": "verdict.json",
    "phenotype": "phenotype.json",
    "recognise": "recognise.json",
    "generalise": "generalise.json",
    "blind": "key.json",
    "uncertainty": "report.json",
}
"""Verbs that write a folder of tables, and the file in it that holds the record."""


@dataclass(frozen=True, slots=True)
class Report:
    """A folder that a verb wrote.

    Parameters
    ----------
    folder
        Where it is.
    job
        Name of the verb.
    record
        What the file of `REPORTS` holds.
    """

    folder: Path
    job: str
    record: dict[str, Any]


def find_report(given: Path) -> Report | None:
    """Return the report that a path names: its folder, or the record in it; `None` if it is none.

    Raises
    ------
    ReplayError
        If its record is damaged.
    """
    files = [given] if given.is_file() else [given / name for name in set(REPORTS.values())]
    for file in sorted(files):
        if not file.is_file() or file.suffix != ".json" or file.name == "zarr.json":
            continue
        try:
            record = parse_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReplayError(
                f"'{file}' is damaged: {error}. Run the command that wrote it again."
            ) from error
        job = record.get("job") if isinstance(record, dict) else None
        if isinstance(job, str) and REPORTS.get(job) == file.name:
            return Report(file.parent, job, record)
    return None


def repeat_report(
    report: Report, out: Path, overwrite: bool, on_progress: Progress | None, note: Note
) -> None:
    """Run the verb of a report again.

    Parameters
    ----------
    report
        See `find_report`.
    out
        Folder to write.
    overwrite
        Replace a report that is there.
    on_progress
        Told of what the run tells of.
    note
        Told what is not as it was.

    Raises
    ------
    ReplayError
        If the record lacks its settings, or the run did not end.
    VirtualStainError
        If an input is gone, or the output cannot be written.
    """
    if not isinstance(report.record.get("settings"), dict):
        raise ReplayError(
            f"The record of '{report.folder}' does not hold the settings of the run. "
            f"Run `virtualstain {report.job}` again."
        )
    if report.record.get("status", "complete") != "complete":
        raise ReplayError(
            f"The run that writes '{report.folder}' has not ended. Go on with it by "
            f"`virtualstain {report.job} --resume`, and repeat it then."
        )
    module = import_module(f"napari_virtualstain.jobs.{report.job}")
    kind = getattr(module, f"{report.job.capitalize()}Settings")
    stated = {**report.record["settings"], "out": str(out), "overwrite": overwrite}
    if "resume" in kind.model_fields:
        stated["resume"] = False
    if "calibrate" in kind.model_fields:  # what stands beside a model is not written again
        stated["calibrate"] = False
    settings = make_settings(kind, stated)
    note_versions(report.record.get("versions"), note)
    module.run(settings, on_progress=on_progress)
