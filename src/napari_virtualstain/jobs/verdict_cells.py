"""Which single cells does a verdict compare, and what comes out? A sample of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.errors import MissingExtraError, PixelDataError
from napari_virtualstain.evaluation.planar import Planar, on_paper
from napari_virtualstain.evaluation.populations import (
    Cells,
    Distance,
    compare_populations,
    recognised,
    standardised,
)
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.jobs.measure_field import PLACE
from napari_virtualstain.jobs.verdict_rows import Row

__all__ = ["CellSample", "ComparedCells", "compare_cells"]

_ON_PAPER = 600
"""Cells of each side that are drawn."""
_PLACE_UM = 50.0
"""Edge of the parts of a field whose cells are kept together: few cells are wider."""
_MANY = 10_000
_SIDES = ("truth", "prediction")


class CellSample:
    """Keeps some cells of each well, each as likely as any other of its well and side.

    Parameters
    ----------
    most
        Of each well and side.
    seed
        Decides which.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed, self._added = most, seed, 0
        self._names: tuple[str, ...] = ()
        self._kept: tuple[dict[Key, NDArray[np.float64]], ...] = ({}, {})

    def add(
        self, well: Key, truth: Mapping[str, NDArray[Any]], prediction: Mapping[str, NDArray[Any]]
    ) -> None:
        """Look at the cells of a field; columns by name, as `measure` has them."""
        self._names = self._names or tuple(name for name in truth if name not in PLACE)
        rng = np.random.default_rng((self._seed, self._added))
        self._added += 1
        for kept, table in zip(self._kept, (truth, prediction), strict=True):
            row, column = (np.asarray(table[axis]) // _PLACE_UM for axis in ("y", "x"))
            place = (self._added * _MANY + row) * _MANY + column
            values = np.stack(
                [place, *(np.asarray(table[name], np.float64) for name in self._names)], axis=1
            )
            # Those with the smallest of random numbers stay: so all fields have their share.
            rows = np.concatenate([rng.random((len(values), 1)), values], axis=1)
            rows = np.concatenate([kept.get(well, rows[:0]), rows])
            kept[well] = rows[np.argsort(rows[:, 0], kind="stable")[: self._most]]

    @property
    def cells(self) -> Cells:
        """What was kept."""
        truth, prediction = ({well: rows[:, 2:] for well, rows in s.items()} for s in self._kept)
        places = [
            {well: rows[:, 1].astype(np.int64) for well, rows in s.items()} for s in self._kept
        ]
        return Cells(
            names=self._names, truth=truth, prediction=prediction, true_places=places[0],
            predicted_places=places[1],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedCells:
    """How single cells are distributed.

    Parameters
    ----------
    distances
        Of each group of features, and of each feature.
    rows
        The same as a table.
    places
        On paper: a row a cell, with ``x``, ``y`` and ``side``.
    notes
        What was left out or not asked, and why.
    """

    distances: tuple[Distance, ...] = ()
    rows: tuple[Row, ...] = ()
    places: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[Row, ...]:
        """Rows of whole groups."""
        return tuple(row for row in self.rows if not row["feature"])

    def sentence(self) -> str:
        """Say what all features together come to; ``""`` where nothing was compared."""
        if not self.distances:
            return ""
        whole = self.distances[0]
        found = (
            f"Single cells: in the mean over features and wells, predicted cells lie "
            f"{whole.wasserstein} standard deviations from the true ones, and two halves of the "
            f"true ones {whole.halves:.3f} from each other"
        )
        if whole.replicates is not None:
            found += f", those of two wells of one treatment {whole.replicates:.3f}"
        found += "."
        if whole.auroc is not None:
            found += (
                f" A classifier tells predicted from true cells with an AUROC of {whole.auroc} "
                "(0.5 by chance)."
            )
        return found


def compare_cells(
    sample: CellSample,
    treatments: Mapping[Key, str],
    *,
    how: Planar,
    draws: int,
    seed: int,
) -> ComparedCells:
    """Compare the distributions of what was kept.

    Parameters
    ----------
    sample
        Of all fields.
    treatments
        Of wells that have one.
    how
        Cells are drawn on paper.
    draws, seed
        Of all that is drawn.

    Raises
    ------
    MissingExtraError
        If cells are to be drawn by what is not installed.
    """
    cells = sample.cells
    try:
        distances, notes = compare_populations(cells, treatments, draws=draws, seed=seed)
    except PixelDataError as error:
        return ComparedCells(notes=(f"distributions of single cells are not compared: {error}",))
    known: dict[str, Interval] = {}
    try:
        groups = [one.group for one in distances if not one.feature]
        known = recognised(cells, groups, draws=draws, seed=seed)
    except MissingExtraError as error:
        notes.append(f"no classifier was asked to tell predicted from true cells: {error}")
    distances = [
        one if one.feature else replace(one, auroc=known.get(one.group)) for one in distances
    ]
    return ComparedCells(
        distances=tuple(distances), rows=tuple(map(_row, distances)), notes=tuple(notes),
        places=tuple(_places(cells, treatments, how, seed)),
    )  # fmt: skip


def _row(one: Distance) -> Row:
    nan = float("nan")

    def three(name: str, interval: Interval | None) -> Row:
        if interval is None:
            return {name: nan, f"{name}_low": nan, f"{name}_high": nan}
        return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}

    return {
        "group": one.group, "feature": one.feature, "features": one.features,
        **three("wasserstein", one.wasserstein), "halves": one.halves,
        "replicates": nan if one.replicates is None else one.replicates,
        **three("excess", one.excess), **three("energy", one.energy),
        "energy_halves": nan if one.energy_halves is None else one.energy_halves,
        **three("auroc", one.auroc), "wells": one.wasserstein.groups,
    }  # fmt: skip


def _places(cells: Cells, treatments: Mapping[Key, str], how: Planar, seed: int) -> list[Row]:
    """Return cells of both sides on one paper; of each well and side as many."""
    ready = standardised(cells)
    each = max(2, _ON_PAPER // max(len(ready.truth), 1))
    rng = np.random.default_rng(seed)
    values, rows = [], []
    for well in ready.truth:
        for side, table in zip(_SIDES, (ready.truth[well], ready.prediction[well]), strict=True):
            chosen = rng.permutation(len(table))[:each]
            values.append(table[chosen])
            rows += [
                {"plate": well[0], "well": well[1], "treatment": treatments.get(well, ""),
                 "side": side}
                for _ in chosen
            ]  # fmt: skip
    places = on_paper(np.concatenate(values), how, seed=seed)
    return [{**row, "x": x, "y": y} for row, (x, y) in zip(rows, places.tolist(), strict=True)]
