"""How a verdict is kept: a page for people, JSON for programs, and the tables behind both."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.io.disk import disk_errors, write_whole
from napari_virtualstain.jobs.page_file import write_page
from napari_virtualstain.jobs.verdict_page import page
from napari_virtualstain.jobs.verdict_pictures import Thumbnail, thumbnail

if TYPE_CHECKING:
    from napari_virtualstain.jobs.verdict import VerdictResult
    from napari_virtualstain.jobs.verdict_fields import ComparedField, FieldComparer

__all__ = ["FILES", "csv_text", "plain_values", "write_verdict", "write_whole"]

FILES = (
    "verdict.html", "verdict.json", "fields.csv", "wells.csv", "features.csv", "treatments.csv",
    "distributions.csv", "cells.csv",
)  # fmt: skip
"""Page, answers with settings and versions, and a row a field, well, feature and treatment, a row a
group of features of single cells, and a row a cell that is drawn."""
_KEY = ("plate", "well", "site", "time")


def write_verdict(
    result: VerdictResult,
    fields: Sequence[ComparedField],
    about: Mapping[str, Any],
    stains: Sequence[str],
    comparer: FieldComparer,
) -> None:
    """Write all files, each in one step, the page last.

    Parameters
    ----------
    result
        What was found.
    fields
        All of them.
    about
        Settings and versions.
    stains
        That were compared; the first is shown.
    comparer
        Opens the worst fields again, to show them.

    Raises
    ------
    DiskError
        If they cannot be written.
    """
    out, found = result.out, result.answers
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    rows = [
        {**dict(zip(_KEY, one.key, strict=True)), **one.nuclei, **one.scores,
         **{f"true_{name}": value for name, value in one.truth.items()},
         **{f"predicted_{name}": value for name, value in one.prediction.items()}}
        for one in fields
    ]  # fmt: skip
    tables = (
        rows, found.wells, found.features, found.treatments, result.cells.rows, result.cells.places,
    )  # fmt: skip
    for name, table in zip(FILES[2:], tables, strict=True):
        if table:
            write_whole(out / name, csv_text(table))
        else:  # that of another run would tell of other fields
            with disk_errors(out / name):
                (out / name).unlink(missing_ok=True)
    whole = {**about, "result": result.to_json()}
    write_whole(out / FILES[1], json.dumps(whole, indent=2, allow_nan=False))
    shown: list[Thumbnail] = [thumbnail(comparer, one, stains[0]) for one in result.worst]
    write_page(out / FILES[0], page(result, whole, shown), pdf=whole["settings"]["pdf"])


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with the keys of the first above; nothing where a number is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_said(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _said(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.7g}"
    return str(value)


def plain_values(value: Any) -> Any:
    """Return what JSON can say: nothing for what is not a number."""
    if isinstance(value, dict):
        return {key: plain_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
