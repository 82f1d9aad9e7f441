"""How often is a predicted class the true one, and which are taken for which.

For classifiers of treatments, phases or structures; every class counts alike in `macro_f1`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError

__all__ = ["Confusion", "confusion"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion:
    """Which classes are taken for which.

    Parameters
    ----------
    classes
        K names, of rows and columns alike.
    counts
        (K, K): items of the class of the row that were taken for that of the column.
    """

    classes: tuple[Hashable, ...]
    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of items whose class was found; where classes differ in size, mind `macro_f1`."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def precision(self) -> NDArray[np.float64]:
        """(K,) share of what was taken for a class that is of it; NaN if nothing was."""
        return _over(np.diag(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """(K,) share of a class that was found; NaN if there is none of it."""
        return _over(np.diag(self.counts), self.counts.sum(axis=1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) harmonic mean of precision and recall.

        0 where a class was missed altogether; NaN for one that neither is there nor was predicted.
        """
        both = self.counts.sum(axis=0) + self.counts.sum(axis=1)
        return _over(2 * np.diag(self.counts), both)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that are there or were predicted, small and large alike."""
        return float(np.nanmean(self.f1))

    def table(self) -> str:
        """Return the counts and F1 as lines of text, a row a true class."""
        names = [str(name) for name in self.classes]
        cells = [[str(count) for count in row] for row in self.counts]
        wide = max(len("true"), *map(len, names))
        columns = [max(len(n), *(len(row[k]) for row in cells)) for k, n in enumerate(names)]
        lines = ["  ".join(["true".ljust(wide), *map(str.rjust, names, columns), "   F1"])]
        for name, row, f1 in zip(names, cells, self.f1, strict=True):
            score = "    -" if np.isnan(f1) else f"{f1:5.3f}"
            lines.append("  ".join([name.ljust(wide), *map(str.rjust, row, columns), score]))
        return "\n".join(lines)


def confusion(
    truth: Sequence[Hashable],
    predicted: Sequence[Hashable],
    classes: Sequence[Hashable] | None = None,
) -> Confusion:
    """Count which classes are taken for which.

    Parameters
    ----------
    truth, predicted
        Class of each item.
    classes
        All that there are, in order; if `None`, those that occur, sorted.

    Raises
    ------
    PixelDataError
        If the two are not as many, there is none, or a class is not among ``classes``.

    Examples
    --------
    >>> found = confusion("aab", "abb")
    >>> found.counts.tolist(), found.macro_f1 == 2 / 3
    ([[1, 1], [0, 1]], True)
    """
    if len(truth) != len(predicted) or not len(truth):
        raise PixelDataError(
            f"{len(truth)} true and {len(predicted)} predicted classes cannot be compared. "
            "Give one of each for every item."
        )
    found = {*truth, *predicted}
    names = tuple(sorted(found, key=str)) if classes is None else tuple(classes)
    unknown = sorted(map(str, found - set(names)))
    if unknown:
        raise PixelDataError(
            f"{unknown[0]!r} is none of the classes {', '.join(map(str, names))}. "
            "Leave its items out, or add it to the classes."
        )
    number = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, guess in zip(truth, predicted, strict=True):
        counts[number[true], number[guess]] += 1
    return Confusion(classes=names, counts=counts)


def _over(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.where(whole > 0, whole, np.nan)
