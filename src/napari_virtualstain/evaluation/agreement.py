"""Would the same have been concluded? Counts, hits, their order, and which treatment is which.

Each number stands with its interval over wells, which are drawn with replacement; what controls
vary by stays that of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.embedding.retrieval import cosine
from napari_virtualstain.evaluation.hits import BORDER, Effects, membership, sizes_of
from napari_virtualstain.metrics.pixel import spearman

__all__ = ["HitAgreement", "compare_hits", "ratio_of_medians", "ratio_of_sums"]

_GAIN = 0.25
"""Of cosine, on average of two treatments, from which they are said to be swapped."""
_FEWEST = 3
"""Treatments without which there is no order."""


def ratio_of_sums(
    prediction: NDArray[Any], truth: NDArray[Any], wells: Sequence[Any], **how: Any
) -> Interval:
    """Return the sum of the prediction over that of the truth; ``how`` as in `bootstrap`.

    Examples
    --------
    >>> str(ratio_of_sums(np.array([9, 18]), np.array([10, 20]), ["A01", "A02"]))
    '0.900 (0.900 to 0.900)'
    """
    p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)

    def score(drawn: NDArray[np.int64]) -> float:
        total = np.nansum(t[drawn])
        return float(np.nansum(p[drawn]) / total) if total > 0 else float("nan")

    return bootstrap(score, wells, **how)


def ratio_of_medians(
    prediction: NDArray[Any], truth: NDArray[Any], wells: Sequence[Any], **how: Any
) -> Interval:
    """Return the median of predicted over true values; where the truth is not above 0 is none."""
    p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    ratios = np.divide(p, t, out=np.full(len(t), np.nan), where=t > 0)

    def score(drawn: NDArray[np.int64]) -> float:
        known = ratios[drawn][np.isfinite(ratios[drawn])]
        return float(np.median(known)) if len(known) else float("nan")

    return bootstrap(score, wells, **how)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HitAgreement:
    """What treatments do in truth and in prediction.

    Parameters
    ----------
    truth, prediction
        Effects of the same treatments.
    overlap
        Hits of both over hits of either (Jaccard); NaN where neither has any. A hit of one that is
        on the border of being one in the other counts as that of both; see `hits.BORDER`.
    ranking
        Correlation of ranks of the effects; NaN of fewer than three treatments.
    recognised
        Share of the true hits whose predicted profile is nearest, by cosine, to its own true
        profile among those of all treatments; NaN if there is no true hit.
    cosine
        Of each treatment, between its predicted and its true profile.
    nearest
        Index of the treatment whose true profile is nearest to the predicted one; -1 for none.
    swapped
        Pairs of true hits of which each is drawn as the other.
    """

    truth: Effects
    prediction: Effects
    overlap: Interval
    ranking: Interval
    recognised: Interval
    cosine: NDArray[np.float64]
    nearest: NDArray[np.int64]
    swapped: tuple[tuple[str, str], ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """Hits of the truth, of which the prediction comes not even near."""
        return self._named(self.truth.hits & ~self.prediction.nearly)

    @property
    def invented(self) -> tuple[str, ...]:
        """Hits of the prediction, of which the truth comes not even near."""
        return self._named(self.prediction.hits & ~self.truth.nearly)

    def _named(self, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(n for n, c in zip(self.truth.treatments, chosen, strict=True) if c)


def compare_hits(
    prediction: tuple[NDArray[np.float64], Effects],
    truth: tuple[NDArray[np.float64], Effects],
    treatments: Sequence[str],
    *,
    draws: int = 500,
    seed: int = 0,
) -> HitAgreement:
    """Compare the effects of treatments.

    Parameters
    ----------
    prediction, truth
        Wells (N, D) as `hits.scale_by_controls` returns them, and what `hits.find_hits` found.
    treatments
        Of each well.
    draws, seed
        Of the bootstrap over wells.
    """
    names = truth[1].treatments
    members = membership(treatments, names)
    thresholds = prediction[1].thresholds, truth[1].thresholds
    asked = truth[1].hits

    wells = members.sum(axis=1)

    def drawn_effects(drawn: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[Any]]:
        counts = members * np.bincount(drawn, minlength=members.shape[1])
        return counts, [sizes_of(one[0], counts[_any(counts)]) for one in (prediction, truth)]

    def overlap(drawn: NDArray[np.int64]) -> float:
        counts, found = drawn_effects(drawn)
        there = _any(counts)
        own = counts[there]
        # Two draws of one well vary as one well does, and so do controls in their place.
        effective = own.sum(axis=1) ** 2 / (own**2).sum(axis=1)
        wider = np.sqrt(wells[there] / effective)
        p, t = (  # of what is not known (a prediction without a nucleus) nothing is a hit
            np.nan_to_num(sizes / (limit[there] * wider))
            for (_, sizes), limit in zip(found, thresholds, strict=True)
        )
        either = np.maximum(p, t) > 1
        both = either & (np.minimum(p, t) > 1 / BORDER)
        return float(both.sum() / either.sum()) if either.any() else float("nan")

    def ranking(drawn: NDArray[np.int64]) -> float:
        _, ((_, p), (_, t)) = drawn_effects(drawn)
        known = np.isfinite(p) & np.isfinite(t)
        return spearman(p[known], t[known]) if known.sum() >= _FEWEST else float("nan")

    def recognised(drawn: NDArray[np.int64]) -> float:
        counts, ((p, _), (t, _)) = drawn_effects(drawn)
        own = asked[_any(counts)]
        right = _nearest(cosine(p, t)) == np.arange(len(p))
        return float(right[own].mean()) if own.any() else float("nan")

    def over_wells(score: Callable[[NDArray[np.int64]], float]) -> Interval:
        return bootstrap(score, range(len(treatments)), draws=draws, seed=seed)

    alike = cosine(prediction[1].profiles, truth[1].profiles)
    nearest = _nearest(alike)
    return HitAgreement(
        truth=truth[1], prediction=prediction[1], overlap=over_wells(overlap),
        ranking=over_wells(ranking), recognised=over_wells(recognised),
        cosine=np.diagonal(alike).copy(), nearest=nearest,
        swapped=tuple((names[a], names[b]) for a, b in _swapped(alike, nearest, asked)),
    )  # fmt: skip


def _any(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which treatments were drawn at all."""
    return np.asarray(counts.sum(axis=1) > 0, np.bool_)


def _nearest(alike: NDArray[np.float64]) -> NDArray[np.int64]:
    known = np.isfinite(alike)
    if not alike.size:  # a draw of controls alone
        return np.zeros(0, np.int64)
    best = np.where(known, alike, -np.inf).argmax(axis=1)
    return np.asarray(np.where(known.any(axis=1), best, -1), np.int64)


def _swapped(
    alike: NDArray[np.float64], nearest: NDArray[np.int64], asked: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    pairs = []
    for a, b in enumerate(nearest.tolist()):
        if b <= a or nearest[b] != a or not (asked[a] and asked[b]):
            continue
        gain = (alike[a, b] + alike[b, a] - alike[a, a] - alike[b, b]) / 2
        if gain > _GAIN:
            pairs.append((a, b))
    return pairs
