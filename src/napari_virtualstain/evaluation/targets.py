"""Do treatments with the same target still look alike? Asked of truth and prediction alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, of_difference, of_mean
from napari_virtualstain.embedding.retrieval import cosine, retrieve

__all__ = ["TargetDistance", "TargetMatch", "match_targets", "target_distance"]

NEAREST = (1, 5)
"""How many neighbours are looked at: the published two."""
_SURE = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMatch:
    """How often one of the nearest treatments has the same target.

    Parameters
    ----------
    within
        How many of the nearest were looked at.
    treatments
        How many were asked: those whose target another one has.
    truth, prediction
        How many of these found it.
    chance
        Share that finds it if neighbours are drawn at random.
    difference
        Of the shares, prediction minus truth, with its interval over treatments; `None` of one.
    distance
        See `target_distance`: truth, prediction.
    """

    within: int
    treatments: int
    truth: int
    prediction: int
    chance: float
    difference: Interval | None
    distance: tuple[float, float]


def match_targets(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    targets: Sequence[str],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> list[TargetMatch]:
    """Return the matches among the nearest one and five; nothing where no two share a target.

    Nor is asked what nobody could miss: one of the five nearest of six.

    Parameters
    ----------
    prediction, truth
        (K, D) profiles of the same treatments.
    targets
        Of each, its target or mechanism.
    draws, seed
        Of the bootstrap over treatments.

    Notes
    -----
    The nearest is that of the largest cosine (Cross-Zamirski 2023, section 6: "NN matches", "NN
    Top 5", MTdist). Published are counts; here they stand beside chance and an interval.
    """
    if len(targets) < 2:
        return []
    distances = [target_distance(one, targets, draws=1) for one in (truth, prediction)]
    found = []
    for within in NEAREST:
        p, t = (retrieve(one, targets, within=within) for one in (prediction, truth))
        asked = t.asked & p.asked
        if not asked.any():
            return []
        if t.chance > _SURE:  # among so few treatments nobody could miss it
            continue
        groups = np.flatnonzero(asked).tolist()
        found.append(
            TargetMatch(
                within=within, treatments=len(groups), truth=int(t.hits[asked].sum()),
                prediction=int(p.hits[asked].sum()), chance=t.chance,
                difference=of_difference(
                    p.hits[asked], t.hits[asked], groups, draws=draws, seed=seed
                ) if len(groups) > 1 else None,
                distance=(distances[0].mean, distances[1].mean),
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDistance:
    """How far treatments with the same target lie apart (published as MTdist).

    Parameters
    ----------
    mean
        Of the cosine distance, 0 to 2: of all pairs of a target, then of the targets.
    within
        Its interval over targets; `None` of one.
    targets
        How many have two treatments or more.
    chance
        Mean distance of treatments whose targets differ.
    """

    mean: float
    within: Interval | None
    targets: int
    chance: float


def target_distance(
    profiles: NDArray[np.float64], targets: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> TargetDistance:
    """Return the distance of treatments with the same target.

    Parameters
    ----------
    profiles
        (K, D) of treatments; pairs without a feature in common are left out.
    targets
        Of each.
    draws, seed
        Of the bootstrap over targets.

    Notes
    -----
    All pairs of each target count (Cross-Zamirski 2023, section 6). The published code keeps the
    last pair of each target only.

    Examples
    --------
    >>> found = target_distance(np.array([[1, 0], [2, 0], [0, 1.0]]), ["x", "x", "y"])
    >>> found.mean, found.chance, found.targets
    (0.0, 1.0, 1)
    """
    names = np.asarray(targets)
    apart = 1 - cosine(profiles)
    upper = np.triu(np.isfinite(apart), 1)
    same = names[:, None] == names[None, :]
    means = np.array([
        apart[pairs].mean()
        for name in dict.fromkeys(targets)
        if (pairs := upper & same & (names == name)[:, None]).any()
    ])  # fmt: skip
    others = apart[upper & ~same]
    n = len(means)
    return TargetDistance(
        mean=float(means.mean()) if n else float("nan"),
        within=of_mean(means, range(n), draws=draws, seed=seed) if n > 1 else None,
        targets=n, chance=float(others.mean()) if len(others) else float("nan"),
    )  # fmt: skip
