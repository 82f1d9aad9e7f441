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
        (N,) whether the neighbour, or one of the nearest, is of the same class; only of those that
        are asked.
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


def cosine(profiles: NDArray[Any], others: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return the cosine (N, M) between profiles (N, D) and others (M, D), else among themselves.

    Over the features that both have; NaN where two share none, or one is zero in all that they
    share.
    """
    (one, here), (two, there) = (
        (np.where(known, values, 0.0), known.astype(np.float64))
        for values in (np.asarray(profiles), np.asarray(profiles if others is None else others))
        for known in (np.isfinite(values),)
    )
    # Squared length of i in the features of j: what j lacks counts on neither side.
    product = np.sqrt(((one**2) @ there.T) * (here @ (two**2).T))
    return np.asarray((one @ two.T) / np.where(product > 0, product, np.nan), np.float64)


def retrieve(
    profiles: NDArray[Any],
    classes: Sequence[Hashable],
    *not_same: Sequence[Hashable],
    within: int = 1,
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
    within
        How many of the nearest are looked at; one of them has to be of the class.

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
    nearest = np.argsort(-np.where(allowed, similar, -np.inf), axis=1, kind="stable")
    neighbours = np.where(allowed.any(axis=1), nearest[:, 0], -1)
    # What is not allowed is never the same: it does no harm among the nearest.
    right = np.take_along_axis(same, nearest[:, :within], axis=1).any(axis=1)
    chances = _by_chance(same.sum(axis=1)[asked], allowed.sum(axis=1)[asked], within)
    return Retrieval(
        neighbours=neighbours,
        asked=asked,
        hits=asked & right,
        chance=float(chances.mean()) if asked.any() else float("nan"),
        classes=tuple(classes),
    )


def _by_chance(
    same: NDArray[np.int64], allowed: NDArray[np.int64], within: int
) -> NDArray[np.float64]:
    """Return the probability that so many drawn without replacement have one of the same."""
    none = np.ones(len(same))
    for drawn in range(within):
        left = np.maximum(allowed - drawn, 1)
        none = none * np.clip((allowed - same - drawn) / left, 0, 1)
    return 1 - none


def _equal(labels: Sequence[Hashable]) -> NDArray[np.bool_]:
    """Return (N, N) whether two have the same label."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    coded = np.array([numbers[label] for label in labels])
    return np.asarray(coded[:, None] == coded[None, :], np.bool_)
