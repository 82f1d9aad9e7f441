"""Which features of the prediction rise and fall as those of the truth do? Their correlation.

The published number (CPcor) is the mean over features of Pearson's correlation, over images. It is
blind to gain and offset: a stain twice as bright correlates as well. It is high as soon as few
images are unlike all others, for which Spearman's stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.evaluation.groups import FeatureGroup, group_of
from napari_virtualstain.evaluation.profiles import Profiles

__all__ = ["GroupCorrelation", "by_group", "feature_correlation"]

_FEWEST = 3
"""Rows without which nothing correlates."""


def feature_correlation(
    prediction: NDArray[Any], truth: NDArray[Any], *, ranks: bool = False
) -> NDArray[np.float64]:
    """Return the correlation of each column over the rows that both have.

    Parameters
    ----------
    prediction, truth
        (N, D), rows that belong together; see `profiles.joined`.
    ranks
        Spearman's correlation instead of Pearson's.

    Returns
    -------
    numpy.ndarray
        (D,) from -1 to 1; NaN where either is constant or fewer than three rows are known.

    References
    ----------
    Way et al. 2022, doi:10.1016/j.cels.2022.10.001; the correlations that were published for
    label-free Cell Painting are called Spearman's in the text and are Pearson's.
    """
    p, t = np.array(prediction, np.float64), np.array(truth, np.float64)
    both = np.isfinite(p) & np.isfinite(t)
    p[~both], t[~both] = np.nan, np.nan
    if ranks:
        p, t = (rankdata(one, axis=0, nan_policy="omit") for one in (p, t))
    count = both.sum(axis=0)
    n = np.maximum(count, 1)
    p = np.where(both, p - np.where(both, p, 0).sum(axis=0) / n, 0)
    t = np.where(both, t - np.where(both, t, 0).sum(axis=0) / n, 0)
    spread = np.sqrt((p * p).sum(axis=0) * (t * t).sum(axis=0))
    known = (count >= _FEWEST) & (spread > 0)
    return np.where(known, (p * t).sum(axis=0) / np.where(known, spread, 1), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCorrelation:
    """How features of one group correlate.

    Parameters
    ----------
    group
        Which.
    features
        How many of them have a correlation.
    pearson
        Mean over them, with its interval over wells.
    spearman
        Mean over them.
    """

    group: FeatureGroup
    features: int
    pearson: Interval
    spearman: float


def by_group(
    prediction: Profiles, truth: Profiles, wells: Sequence[Hashable], *, draws: int = 500,
    seed: int = 0,
) -> list[GroupCorrelation]:  # fmt: skip
    """Return the mean correlation of each compartment x type x channel.

    Parameters
    ----------
    prediction, truth
        As `profiles.joined` returns them, a row a field.
    wells
        Of each row: what is drawn together.
    draws, seed
        Of the bootstrap.

    Notes
    -----
    Groups of which no feature has a correlation are left out.
    """
    columns: dict[FeatureGroup, list[int]] = {}
    for column, name in enumerate(truth.names):
        columns.setdefault(group_of(name), []).append(column)
    found = []
    for group, members in columns.items():
        p, t = prediction.values[:, members], truth.values[:, members]
        known = np.isfinite(feature_correlation(p, t))
        if not known.any():
            continue
        p, t = p[:, known], t[:, known]
        score = _mean_correlation(p, t)
        found.append(
            GroupCorrelation(
                group=group, features=int(known.sum()),
                pearson=bootstrap(score, wells, draws=draws, seed=seed),
                spearman=float(feature_correlation(p, t, ranks=True).mean()),
            )
        )  # fmt: skip
    return found


def _mean_correlation(p: NDArray[Any], t: NDArray[Any]) -> Callable[[NDArray[np.int64]], float]:
    def score(drawn: NDArray[np.int64]) -> float:
        found = feature_correlation(p[drawn], t[drawn])
        known = found[np.isfinite(found)]
        return float(known.mean()) if len(known) else float("nan")

    return score
