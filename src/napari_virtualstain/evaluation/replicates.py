"""Do wells with the same treatment look alike, more than controls look like them? Their mAP.

Of each treated well, all its replicates and all controls are ranked by how alike they are. Where
replicates stand first, the treatment does something that can be told again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, of_mean
from napari_virtualstain.embedding.retrieval import cosine
from napari_virtualstain.errors import PixelDataError

__all__ = ["Replicates", "average_precision", "chance_precision", "find_replicates"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replicates:
    """How well replicates find each other among controls.

    Parameters
    ----------
    wells
        Indices of the wells that were asked: treated, with a replicate.
    precision
        Average precision of each of them, 0 to 1.
    chance
        What each would reach if all were ranked at random.
    mean
        Of the precisions (mAP), with its interval over treatments: wells of one are no independent
        witnesses.
    """

    wells: NDArray[np.int64]
    precision: NDArray[np.float64]
    chance: NDArray[np.float64]
    mean: Interval


def average_precision(right: NDArray[np.bool_]) -> float:
    """Return the mean, over those that are right, of the share that is right up to there.

    Parameters
    ----------
    right
        Whether each is right, best first.

    Examples
    --------
    >>> average_precision(np.array([True, False, True]))
    0.8333333333333333
    """
    if not right.any():
        return float("nan")
    return float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())


def chance_precision(right: int, total: int) -> float:
    """Return the average precision that is expected of a random order of so many.

    Examples
    --------
    >>> round(chance_precision(1, 2), 3), chance_precision(5, 5)
    (0.75, 1.0)
    """
    harmonic = float((1 / np.arange(1, total + 1)).sum())
    others = (right - 1) / (total - 1) if total > 1 else 0.0
    return (harmonic + others * (total - harmonic)) / total


def find_replicates(
    values: NDArray[np.float64],
    treatments: Sequence[str],
    controls: Sequence[bool],
    *,
    draws: int = 500,
    seed: int = 0,
) -> Replicates:
    """Rank replicates and controls by the cosine to each treated well.

    Parameters
    ----------
    values
        (N, D) wells, as they differ from controls; see `hits.scale_by_controls`.
    treatments, controls
        Of each well.
    draws, seed
        Of the bootstrap over treatments.

    Raises
    ------
    PixelDataError
        If fewer than two treatments have two wells, or there is no control.

    References
    ----------
    Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2 (mAP of phenotypic activity); no
    permutation test is made here, chance stands beside instead.
    """
    untreated = np.asarray(controls, bool)
    names = np.asarray(treatments)
    alike = cosine(values)
    asked, precisions, chances = [], [], []
    for well in np.flatnonzero(~untreated):
        others = np.isfinite(alike[well])
        others[well] = False
        same = others & (names == names[well]) & ~untreated
        ranked = np.flatnonzero(same | (others & untreated))
        if not same.any() or len(ranked) == same.sum():
            continue
        # Of two that are as alike the control stands first: a constant profile earns nothing.
        order = np.lexsort((same[ranked], -alike[well, ranked]))
        asked.append(int(well))
        precisions.append(average_precision(same[ranked][order]))
        chances.append(chance_precision(int(same.sum()), len(ranked)))
    groups = names[asked].tolist()
    if len(set(groups)) < 2:
        raise PixelDataError(
            "Fewer than two treatments have two wells that could be told from a control. Compare "
            "replicates, and name controls with --controls."
        )
    precision = np.array(precisions)
    return Replicates(
        wells=np.array(asked), precision=precision, chance=np.array(chances),
        mean=of_mean(precision, groups, draws=draws, seed=seed),
    )  # fmt: skip
