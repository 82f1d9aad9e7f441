"""A table of scores in a file: CSV, JSON or Parquet, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import OutputExistsError, SettingsError, from_extra
from napari_virtualstain.io.disk import disk_errors, write_whole
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.verdict_tables import csv_text

__all__ = ["ENDINGS", "check_table", "write_table"]

ENDINGS = (".csv", ".json", ".parquet")
"""Of the files that can be written."""


def check_table(path: Path, *, overwrite: bool) -> None:
    """Find out before the work whether a table can be written after it.

    Raises
    ------
    SettingsError
        If the name has another ending.
    OutputExistsError
        If it is there and may not be replaced.
    MissingExtraError
        If Parquet is asked for where it cannot be written.
    """
    if path.suffix.casefold() not in ENDINGS:
        raise SettingsError(
            f"'{path.name}' ends in none of {', '.join(ENDINGS)}, which say how a table is "
            "written. Choose another --out."
        )
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"'{path}' exists. Choose another --out, or replace it with --overwrite."
        )
    if path.suffix.casefold() == ".parquet":
        _pyarrow()


def write_table(path: Path, result: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a table in one step.

    Parameters
    ----------
    path
        Its ending says how.
    result
        See `jobs.scores.ScoresResult.to_json`.
    settings
        Of the run, which JSON and Parquet keep beside the rows.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    about = {
        "schema_version": 1, "job": "scores", "settings": dict(settings), "versions": versions(),
    }  # fmt: skip
    kind = path.suffix.casefold()
    if kind == ".csv":
        nan = float("nan")
        write_whole(
            path, csv_text([{k: nan if v is None else v for k, v in row.items()} for row in rows])
        )
    elif kind == ".json":
        write_whole(path, json.dumps({**about, "result": dict(result)}, indent=2, allow_nan=False))
    else:
        arrow, parquet = _pyarrow()
        table = arrow.Table.from_pylist([dict(row) for row in rows])
        said = {b"napari_virtualstain": json.dumps(about).encode()}
        scratch = path.with_name(f"{path.name}.partial")
        with disk_errors(path):
            parquet.write_table(table.replace_schema_metadata(said), scratch)
            scratch.replace(path)


def _pyarrow() -> tuple[Any, Any]:
    needs = (
        "Parquet is written by pyarrow; a name that ends in .csv needs nothing. This takes the "
        "extra [parquet]."
    )
    arrow = from_extra("pyarrow", extra="parquet", needs=needs)
    return arrow, from_extra("pyarrow.parquet", extra="parquet", needs=needs)
