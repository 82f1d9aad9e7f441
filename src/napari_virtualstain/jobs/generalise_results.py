"""Which results belong to which domains? Those that a table says; each is read field by field.

A table names them, a row each: what the model was trained on, what it was asked of, and where the
result lies: the folder of a `verdict`, or what `evaluate` wrote with ``--csv`` or ``--json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.errors import ImageFileError, MissingInputError, PixelDataError, parse_json
from napari_virtualstain.evaluation.generalisation import COUNTS, HIGHER, Cell
from napari_virtualstain.io.layouts.tables import key_of, read_table
from napari_virtualstain.io.scene import listed
from napari_virtualstain.words import plural

__all__ = ["Result", "cells_of", "read_results"]

_FIELDS = "fields.csv"
_SCORES = tuple(name for name in HIGHER if name != COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table, and what its file says.

    Parameters
    ----------
    train, test
        Domains.
    path
        Of the file that was read.
    rows
        A row a field: ``group``, ``counts`` (predicted, true) or `None`, and ``scores`` by name of
        score and stain.
    """

    train: str
    test: str
    path: Path
    rows: tuple[dict[str, Any], ...]

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains, in order."""
        return tuple(dict.fromkeys(stain for row in self.rows for _, stain in row["scores"]))


def read_results(table: Path) -> list[Result]:
    """Read the table, and all results that it names.

    Parameters
    ----------
    table
        CSV or TSV with columns ``train``, ``test`` and ``result``; a path is taken relative to it.

    Raises
    ------
    MissingInputError
        If the table or a result does not exist.
    ImageFileError
        If one cannot be read.
    """
    if not table.is_file():
        raise MissingInputError(
            f"'{table}' is no file. Name a table with the columns train, test and result."
        )
    rows = read_table(table)
    columns = {key_of(column): column for column in rows.columns}
    lacking = [name for name in ("train", "test", "result") if name not in columns]
    if lacking:
        raise ImageFileError(
            f"'{table}' has no column {lacking[0]!r}; it has {listed(rows.columns)}. Give it the "
            "columns train, test and result."
        )
    found = []
    for row in rows.rows:
        train, test, path = (row[columns[name]] for name in ("train", "test", "result"))
        if not (train and test and path):
            raise ImageFileError(
                f"A row of '{table}' lacks train, test or result ({train!r}, {test!r}, {path!r}). "
                "Fill it in, or leave the row out."
            )
        found.append(_read_result(train, test, (table.parent / path).resolve()))
    return found


def _read_result(train: str, test: str, path: Path) -> Result:
    file = path / _FIELDS if path.is_dir() else path
    if not file.is_file():
        raise MissingInputError(
            f"'{file}' does not exist. Name the folder of a verdict, or what `virtualstain "
            "evaluate` wrote with --csv or --json."
        )
    try:
        if file.suffix == ".json":
            rows = _of_json(file)
        else:
            table = read_table(file)
            of_verdict = "true" in table.columns and "predicted" in table.columns
            rows = (_of_verdict if of_verdict else _of_evaluate)(file, table.rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ImageFileError(
            f"'{file}' is no result of `virtualstain verdict` or `evaluate`: {error}. Name the "
            "folder of a verdict, or what evaluate wrote with --csv or --json."
        ) from error
    return Result(train=train, test=test, path=file, rows=tuple(rows))


def _of_verdict(file: Path, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the fields of a verdict, with its wells as groups."""
    found = []
    for row in rows:
        scores = {}
        for column, value in row.items():
            score, _, stain = column.partition("_")
            if score in _SCORES and stain:
                scores[score, stain] = float(value or "nan")
        found.append({
            "group": (str(file), row["plate"], row["well"]), "scores": scores,
            "counts": (float(row["predicted"]), float(row["true"])),
        })  # fmt: skip
    return found


def _of_evaluate(file: Path, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return one image, a row a stain."""
    scores = {
        (score, row["stain"]): float(row[score] or "nan") for row in rows for score in _SCORES
    }
    return [{"group": (str(file),), "scores": scores, "counts": None}]


def _of_json(file: Path) -> list[dict[str, Any]]:
    values = parse_json(file.read_text("utf-8"))
    scores = {
        (score, row["stain"]): float("nan") if row[score] is None else float(row[score])
        for row in values["channels"]
        for score in _SCORES
    }
    objects = values.get("objects")
    counts = None if objects is None else (float(objects["predicted"]), float(objects["true"]))
    return [{"group": (str(file),), "scores": scores, "counts": counts}]


def cells_of(results: Sequence[Result]) -> tuple[dict[tuple[str, str], Cell], list[str]]:
    """Put the results of each pair of domains together, and say what is left out.

    Scores are the mean over the stains that all results have.

    Raises
    ------
    PixelDataError
        If they have no stain in common.
    """
    shared = [
        stain for stain in results[0].stains if all(stain in one.stains for one in results[1:])
    ]
    if not shared:
        names = "; ".join(f"{one.path}: {listed(one.stains)}" for one in results[:2])
        raise PixelDataError(
            f"The results have no stain in common ({names}). Compare results of the same stains."
        )
    others = {stain for one in results for stain in one.stains} - set(shared)
    notes = [f"scores are means over {listed(shared)}"] if len(shared) > 1 else []
    if others:
        notes.append(f"stains that not all results have, left out: {listed(sorted(others))}")
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in results:
        rows.setdefault((one.train, one.test), []).extend(one.rows)
    cells = {}
    for domains, fields in rows.items():
        scores = {}
        for name in _SCORES:
            values = np.array(
                [[row["scores"].get((name, stain), np.nan) for stain in shared] for row in fields]
            )
            known = np.isfinite(values).all(axis=1)
            if known.any():
                means = np.full(len(fields), np.nan)
                means[known] = values[known].mean(axis=1)
                scores[name] = means
        counted = [row["counts"] for row in fields]
        cells[domains] = Cell(
            scores=scores, counts=None if None in counted else np.array(counted, np.float64),
            groups=tuple(row["group"] for row in fields),
        )  # fmt: skip
    single = [
        f"{train} on {test}" for (train, test), cell in cells.items() if len(set(cell.groups)) < 2
    ]
    if single:
        notes.append(
            f"{plural(len(single), 'pair')} of domains with one well or image, and so without "
            f"intervals: {listed(single)}"
        )
    return cells, notes
