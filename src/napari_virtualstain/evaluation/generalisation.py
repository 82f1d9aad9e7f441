"""Where does a model work that was trained elsewhere? Scores of each training domain on each other.

A row of the matrix is what a model was trained on, a column what it is asked of: cell lines,
plates, microscopes. Each number is compared with that of the same row on the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.pixel import pearson

__all__ = ["COUNTS", "HIGHER", "Cell", "Entry", "Loss", "fill_matrix"]

COUNTS = "counts"
"""Correlation of predicted with true numbers of nuclei over fields."""
HIGHER: Mapping[str, bool] = {
    "pcc": True, "ssim": True, "psnr": True, "mse": False, "mae": False, COUNTS: True,
}  # fmt: skip
"""Whether more is better, by score, in the order in which they are shown."""
_FEWEST = 3
"""Fields without which counts do not correlate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """What a model of one domain reached on another.

    Parameters
    ----------
    scores
        (N,) of each field, by name; NaN where it is not defined.
    counts
        (N, 2) nuclei of each field, predicted and true; `None` where nobody counted.
    groups
        Of each field: what is drawn together, its well.
    """

    scores: Mapping[str, NDArray[np.float64]]
    counts: NDArray[np.float64] | None
    groups: tuple[Hashable, ...]

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self.groups)

    def measure(self, name: str) -> Callable[[NDArray[np.int64]], float]:
        """Return what computes one score of some of the fields."""
        if name == COUNTS:
            counts = self.counts
            assert counts is not None

            def correlation(drawn: NDArray[np.int64]) -> float:
                some = counts[drawn]
                enough = len(some) >= _FEWEST
                return pearson(some[:, 0], some[:, 1]) if enough else float("nan")

            return correlation
        values = self.scores[name]

        def mean(drawn: NDArray[np.int64]) -> float:
            known = values[drawn][np.isfinite(values[drawn])]
            return float(known.mean()) if len(known) else float("nan")

        return mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One number of the matrix.

    Parameters
    ----------
    train, test
        Domains.
    score
        A key of `HIGHER`.
    value
        With its interval over groups of fields; NaN at both ends if there is one group.
    loss
        By how many per cent it is worse than on the diagonal of its row; `None` on the diagonal,
        and where the row has none or is not above 0 there.
    fields
        How many there are.
    """

    train: str
    test: str
    score: str
    value: Interval
    loss: Interval | None
    fields: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a score loses off the diagonal, over the whole matrix.

    Parameters
    ----------
    score
        A key of `HIGHER`.
    mean
        Of all cells off the diagonal with a diagonal in their row, in per cent.
    worst
        The cell with the largest loss.
    cells
        How many there are.
    """

    score: str
    mean: Interval
    worst: Entry
    cells: int


@dataclass(slots=True)
class _Pool:
    """Fields of several cells one after the other, so that they can be drawn together."""

    cells: list[Cell] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def add(self, cell: Cell) -> int:
        """Return the number of a cell, which may be there."""
        for number, there in enumerate(self.cells):
            if there is cell:
                return number
        self.starts.append(sum(map(len, self.cells)))
        self.cells.append(cell)
        return len(self.cells) - 1

    def interval(
        self, score: Callable[[Sequence[NDArray[np.int64]]], float], draws: int, seed: int
    ) -> Interval:
        """Return the score of the fields of each cell; cells are drawn each by itself."""
        strata = [n for n, cell in enumerate(self.cells) for _ in range(len(cell))]
        groups = [(n, group) for n, cell in enumerate(self.cells) for group in cell.groups]

        def of_drawn(drawn: NDArray[np.int64]) -> float:
            which = np.asarray(strata)[drawn]
            parts = [drawn[which == n] - start for n, start in enumerate(self.starts)]
            return score(parts)

        if all(len(set(cell.groups)) > 1 for cell in self.cells):
            return bootstrap(of_drawn, groups, strata=strata, draws=draws, seed=seed)
        nan = float("nan")
        value = of_drawn(np.arange(len(groups)))
        return Interval(value=value, low=nan, high=nan, level=0.95, groups=len(set(groups)))


def fill_matrix(
    cells: Mapping[tuple[str, str], Cell], *, draws: int = 500, seed: int = 0
) -> tuple[list[Entry], list[Loss]]:
    """Return every number of the matrix, and what each score loses off the diagonal.

    Parameters
    ----------
    cells
        By domain of training and of test; the matrix may have gaps.
    draws, seed
        Of the bootstrap over groups of fields, of each cell by itself.

    Raises
    ------
    PixelDataError
        If no cell lies off the diagonal, or no score is known of all.

    Notes
    -----
    A loss is that of the same model: ``(diagonal - other) / diagonal``, and of errors ``(other -
    diagonal) / diagonal``, in per cent, negative where another domain is better. Of PSNR it
    depends on the data range, being a ratio of logarithms; it is given since it is published.
    """
    if not any(train != test for train, test in cells):
        raise PixelDataError(
            "No result is of a model on another domain than its own. Add results with different "
            "train and test."
        )
    known = [
        name for name in HIGHER
        if all(cell.counts is not None if name == COUNTS else name in cell.scores
               for cell in cells.values())
    ]  # fmt: skip
    if not known:
        raise PixelDataError(
            "The results have no score in common. Compare results of the same version and kind."
        )
    entries, losses = [], []
    for name in known:
        here = []
        for (train, test), cell in cells.items():
            alone = _Pool()
            alone.add(cell)
            measure = cell.measure(name)
            value = alone.interval(lambda parts, m=measure: m(parts[0]), draws, seed)  # type: ignore[misc]
            own = cells.get((train, train))
            loss = None
            if own is not None and train != test:
                found = _mean_loss([(own, cell)], name, draws, seed)
                loss = None if np.isnan(found.value) else found
            here.append(
                Entry(train=train, test=test, score=name, value=value, loss=loss, fields=len(cell))
            )
        entries += here
        lost = [one for one in here if one.loss is not None]
        if lost:
            pairs = [(cells[one.train, one.train], cells[one.train, one.test]) for one in lost]
            losses.append(
                Loss(
                    score=name, mean=_mean_loss(pairs, name, draws, seed), cells=len(lost),
                    worst=max(lost, key=lambda one: one.loss.value if one.loss else -np.inf),
                )
            )  # fmt: skip
    return entries, losses


def _mean_loss(pairs: Sequence[tuple[Cell, Cell]], name: str, draws: int, seed: int) -> Interval:
    """Return the mean loss, in per cent, of the second of each pair against the first."""
    pool = _Pool()
    numbers = [(pool.add(own), pool.add(other)) for own, other in pairs]
    measures = [cell.measure(name) for cell in pool.cells]
    sign = 1.0 if HIGHER[name] else -1.0

    def score(parts: Sequence[NDArray[np.int64]]) -> float:
        values = [measure(part) for measure, part in zip(measures, parts, strict=True)]
        lost = [
            100 * sign * (values[a] - values[b]) / values[a] if values[a] > 0 else float("nan")
            for a, b in numbers
        ]
        return float(np.mean(lost))

    return pool.interval(score, draws, seed)
