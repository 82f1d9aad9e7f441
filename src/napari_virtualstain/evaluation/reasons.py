"""The same answer for the same reason? Which features decide, in truth and in prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.evaluation.mechanisms import Classifiers
from napari_virtualstain.metrics.pixel import spearman

__all__ = ["Reasons", "compare_reasons"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Whether two sources decide by the same features.

    Parameters
    ----------
    most
        How many of the most decisive features are compared.
    shared
        Names of those that both have, the truth's most decisive first.
    overlap
        Share of them.
    chance
        Share that two random choices have in common.
    ceiling
        Share that two classifiers of the truth have in common, taught by different wells.
    ranks
        Correlation of the ranks of all weights.
    """

    most: int
    shared: tuple[str, ...]
    overlap: float
    chance: float
    ceiling: float
    ranks: float


def compare_reasons(
    found: Classifiers, truth: str, prediction: str, names: Sequence[str], *, most: int = 10
) -> Reasons:
    """Compare by which features two sources decide.

    Parameters
    ----------
    found
        Of both sources.
    truth, prediction
        Their names.
    names
        Of the features.
    most
        How many of the most decisive are compared; a third of all at most.
    """
    most = max(1, min(most, len(names) // 3))
    t, p = (_top(found.weights[side], most) for side in (truth, prediction))
    folds = [set(_top(one, most)) for one in found.of_folds[truth]]
    pairs = [len(a & b) / most for n, a in enumerate(folds) for b in folds[:n]]
    return Reasons(
        most=most, shared=tuple(names[n] for n in t if n in set(p)),
        overlap=len(set(t) & set(p)) / most, chance=most / len(names),
        ceiling=float(np.mean(pairs)),
        ranks=spearman(found.weights[prediction], found.weights[truth]),
    )  # fmt: skip


def _top(weights: NDArray[np.float64], most: int) -> list[int]:
    return [int(n) for n in np.argsort(-weights, kind="stable")[:most]]
