"""Does the nearest profile of another compound work by the same mechanism? NSC and NSCB.

NSC (not same compound) takes the nearest profile by cosine among those of other compounds; NSCB
(not same compound or batch) among those of other compounds *and* other batches, since profiles
of one batch resemble each other for reasons that are no biology.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError

__all__ = ["Retrieval", "cosine", "retrieve"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retrieval:
    """Whose nearest neighbour is of the same class.

    Parameters
    ----------
    neighbours
        (N,) index of the nearest profile that is allowed, -1 where none is.
    asked
        (N,) whether a profile counts: one of its class is allowed as neighbour. For others even a
        perfect encoder has no right answer, so that they are left out, as published.
    hits
        (N,) whether the neighbour is of the same class; only of those that are asked.
    chance
        Expected accuracy if neighbours were drawn at random among those allowed.
    classes
        (N,) of each profile.
    """

    neighbours: NDArray[np.int64]
    asked: NDArray[np.bool_]
    hits: NDArray[np.bool_]
    chance: float
    classes: tuple[Hashable, ...]

    @property
    def accuracy(self) -> float:
        """Share of hits among those that are asked; NaN if none is."""
        return float(self.hits[self.asked].mean()) if self.asked.any() else float("nan")

    def by_class(self) -> dict[Hashable, float]:
        """Return the share of hits of each class, the classes that are asked in order."""
        outcomes: dict[Hashable, list[bool]] = {}
        for name, asked, hit in zip(self.classes, self.asked, self.hits, strict=True):
            if asked:
                outcomes.setdefault(name, []).append(bool(hit))
        return {name: float(np.mean(seen)) for name, seen in outcomes.items()}


def cosine(profiles: NDArray[Any]) -> NDArray[np.float64]:
    """Return the cosine (N, N) between all profiles (N, D), over the features that both have.

    NaN where two share no feature, or one is zero in all that they share.
    """
    values = np.asarray(profiles, np.float64)
    there = np.isfinite(values)
    known = np.where(there, values, 0.0)
    # Squared length of i in the features of j: what j lacks counts on neither side.
    lengths = (known**2) @ there.T.astype(np.float64)
    product = np.sqrt(lengths * lengths.T)
    return (known @ known.T) / np.where(product > 0, product, np.nan)


def retrieve(
    profiles: NDArray[Any], classes: Sequence[Hashable], *not_same: Sequence[Hashable]
) -> Retrieval:
    """Look for the nearest neighbour of each profile.

    Parameters
    ----------
    profiles
        (N, D) features; the labels are no part of them. (By a slip, the published function leaves
        the number of the compound among the features.)
    classes
        What should be found again, of each profile: its mechanism.
    *not_same
        Labels that a neighbour may not share: the compound for NSC, compound and batch for NSCB.
        A profile that is its own neighbour is never allowed.

    Raises
    ------
    PixelDataError
        If labels and profiles are not as many, or there are fewer than two.

    References
    ----------
    Ljosa et al. 2013, doi:10.1177/1087057113503553 (NSC); Ando et al. 2017, doi:10.1101/161422
    (NSCB).

    Examples
    --------
    >>> found = retrieve(np.array([[1, 0], [2, 0.1], [0, 1]]), ["x", "x", "y"], ["a", "b", "c"])
    >>> found.accuracy, found.asked.tolist()
    (1.0, [True, True, False])
    """
    n = len(profiles)
    if n < 2 or any(len(labels) != n for labels in (classes, *not_same)):
        counts = ", ".join(str(len(labels)) for labels in (classes, *not_same))
        raise PixelDataError(
            f"{n} profiles cannot be compared by {counts} labels. "
            "Give two profiles or more, and a label for each."
        )
    similar = cosine(profiles)
    allowed = ~np.identity(n, bool) & np.isfinite(similar)
    for labels in not_same:
        allowed &= ~_equal(labels)
    same = _equal(classes) & allowed
    asked = np.asarray(same.any(axis=1), np.bool_)
    nearest = np.where(allowed, similar, -np.inf).argmax(axis=1)
    neighbours = np.where(allowed.any(axis=1), nearest, -1)
    shares = same.sum(axis=1)[asked] / allowed.sum(axis=1)[asked]
    return Retrieval(
        neighbours=neighbours,
        asked=asked,
        hits=asked & same[np.arange(n), neighbours],
        chance=float(shares.mean()) if asked.any() else float("nan"),
        classes=tuple(classes),
    )


def _equal(labels: Sequence[Hashable]) -> NDArray[np.bool_]:
    """Return (N, N) whether two have the same label."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    coded = np.array([numbers[label] for label in labels])
    return np.asarray(coded[:, None] == coded[None, :], np.bool_)
