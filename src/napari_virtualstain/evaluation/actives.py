"""Which treatments would have been taken as active? Those whose wells point away from controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.embedding.retrieval import cosine
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.hits import membership

__all__ = ["ActiveAgreement", "compare_actives", "k_means_1d", "principal_components"]

COMPONENTS, CLUSTERS = 100, 3
"""As published."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActiveAgreement:
    """Treatments that are active in truth and in prediction.

    Parameters
    ----------
    treatments
        Names.
    distances
        (2, K) of prediction and truth: mean cosine distance of the wells from the controls, 0 to 2.
    active
        (2, K) which of them are called active.
    overlap
        Active in both over active in either (Jaccard), with its interval over wells.
    chance
        Overlap that is expected of two random lists as long.
    """

    treatments: tuple[str, ...]
    distances: NDArray[np.float64]
    active: NDArray[np.bool_]
    overlap: Interval
    chance: float


def principal_components(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return wells (N, D) in their first principal components, at most so many, largest first.

    The sign of each is such that its largest entry is positive.
    """
    u, s, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    scores = u[:, :most] * s[:most]
    largest = np.abs(scores).argmax(axis=0)
    return np.asarray(scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1, 1))


def k_means_1d(values: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the cluster (0 is the lowest) of each value, of the best of all partitions.

    Values of a line have a best partition that can be computed, so that nothing depends on where
    one begins: dynamic programming over the sorted values (Wang and Song 2011,
    doi:10.32614/RJ-2011-015).

    Examples
    --------
    >>> k_means_1d(np.array([0.0, 5.1, 0.1, 9.0, 5.0]), 3).tolist()
    [0, 1, 0, 2, 1]
    """
    n = len(values)
    if not 1 <= k <= n:
        raise PixelDataError(f"{n} values do not fall into {k} clusters. Compare more treatments.")
    order = np.argsort(values, kind="stable")
    x = np.asarray(values, np.float64)[order]
    x = x - x.mean()  # sums of squares of what lies far from 0 would lose digits
    total, square = (np.concatenate([[0.0], np.cumsum(one)]) for one in (x, x * x))
    i, j = np.arange(n)[:, None], np.arange(1, n + 1)[None, :]
    count = np.maximum(j - i, 1)
    within = square[j] - square[i] - (total[j] - total[i]) ** 2 / count
    within = np.where(j > i, np.maximum(within, 0), np.inf)  # of x[i:j]
    cost, cuts = within[0], []
    for _ in range(1, k):
        ways = np.concatenate([[np.inf], cost[:-1]])[:, None] + within  # last cluster is x[i:j]
        cuts.append(ways.argmin(axis=0))
        cost = ways.min(axis=0)
    labels, end = np.zeros(n, np.int64), n
    for number, cut in zip(range(k - 1, 0, -1), reversed(cuts), strict=True):
        begin = int(cut[end - 1])
        labels[begin:end], end = number, begin
    out = np.empty(n, np.int64)
    out[order] = labels
    return out


def compare_actives(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    treatments: Sequence[str],
    controls: Sequence[bool],
    *,
    draws: int = 500,
    seed: int = 0,
) -> ActiveAgreement:
    """Select the active treatments on both sides.

    Parameters
    ----------
    prediction, truth
        (N, D) wells, nothing missing.
    treatments, controls
        Of each well.
    draws, seed
        Of the bootstrap over wells.

    Raises
    ------
    PixelDataError
        If there are fewer treatments than clusters.

    Notes
    -----
    As published (Cross-Zamirski et al. 2023, arXiv:2303.08863, "active perturbations"): the first
    100 principal components of all wells, cosine distance from each control, mean over controls
    and replicates, k-means on a line with 3 clusters. Which clusters are active is not said; here
    it is all but the nearest. Three clusters are found in anything: where nothing is active, the
    two lists differ and the overlap is that of chance.
    """
    untreated = np.asarray(controls, bool)
    names = tuple(sorted({t for t, c in zip(treatments, controls, strict=True) if not c}))
    if len(names) < CLUSTERS:
        raise PixelDataError(
            f"{len(names)} treatments do not fall into {CLUSTERS} clusters of activity. "
            "Compare more treatments."
        )
    members = membership(treatments, names)
    members[:, untreated] = 0
    apart = [1 - cosine(principal_components(one, COMPONENTS)) for one in (prediction, truth)]
    apart = [np.nan_to_num(one, nan=1.0) for one in apart]  # a well in the very middle

    def distances(counts: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        drawn = members * counts
        there = drawn.sum(axis=1) > 0
        weights = counts * untreated
        weights = weights / max(weights.sum(), 1)
        own = drawn[there] / drawn[there].sum(axis=1, keepdims=True)
        return there, np.array([own @ (one @ weights) for one in apart])

    def called(of: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.array([k_means_1d(one, CLUSTERS) > 0 for one in of])

    def score(drawn: NDArray[np.int64]) -> float:
        counts = np.bincount(drawn, minlength=len(treatments)).astype(np.float64)
        there, found = distances(counts)
        if there.sum() < CLUSTERS or not (counts * untreated).any():
            return float("nan")
        p, t = called(found)
        return float((p & t).sum() / (p | t).sum())

    _, found = distances(np.ones(len(treatments)))
    active = called(found)
    a, b = (int(one.sum()) for one in active)
    return ActiveAgreement(
        treatments=names, distances=found, active=active,
        overlap=bootstrap(score, range(len(treatments)), draws=draws, seed=seed),
        chance=_overlap_by_chance(a, b, len(names)),
    )  # fmt: skip


def _overlap_by_chance(a: int, b: int, total: int) -> float:
    """Return the expected Jaccard of two random lists of lengths a and b out of so many."""
    shared = np.arange(max(0, a + b - total), min(a, b) + 1)
    return float((hypergeom.pmf(shared, total, a, b) * shared / (a + b - shared)).sum())
