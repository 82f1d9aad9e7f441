"""Do treatments with the same target still look alike? Asked of truth and prediction alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, of_difference
from napari_virtualstain.embedding.retrieval import cosine, retrieve

__all__ = ["TargetMatch", "match_targets"]

NEAREST = (1, 5)
"""How many neighbours are looked at: the published two."""


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
        Mean cosine distance, 0 to 2, of treatments with the same target: truth, prediction.
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
    found = []
    for within in NEAREST:
        p, t = (retrieve(one, targets, within=within) for one in (prediction, truth))
        asked = t.asked & p.asked
        if not asked.any():
            return []
        groups = np.flatnonzero(asked).tolist()
        found.append(
            TargetMatch(
                within=within, treatments=len(groups), truth=int(t.hits[asked].sum()),
                prediction=int(p.hits[asked].sum()), chance=t.chance,
                difference=of_difference(
                    p.hits[asked], t.hits[asked], groups, draws=draws, seed=seed
                ) if len(groups) > 1 else None,
                distance=(_distance(truth, targets), _distance(prediction, targets)),
            )
        )  # fmt: skip
    return found


def _distance(profiles: NDArray[np.float64], targets: Sequence[str]) -> float:
    names = np.asarray(targets)
    pairs = np.triu(names[:, None] == names[None, :], 1)
    apart = 1 - cosine(profiles)[pairs]
    known = apart[np.isfinite(apart)]
    return float(known.mean()) if len(known) else float("nan")
