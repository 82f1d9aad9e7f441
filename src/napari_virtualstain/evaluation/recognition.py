"""How often is a class known for what it is? Guesses about one set of items from several sources.

Accuracy rewards calling everything a control where most are; so the mean over classes of how many
of each are found stands beside it, and for both what the same guesses come to in random order.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.classification import Confusion, confusion

__all__ = ["Recognised", "compare_recognition", "deal_folds", "recognition"]

_SHUFFLES = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recognised:
    """What guesses of one source come to.

    Parameters
    ----------
    table
        Which classes are taken for which.
    accuracy, balanced
        Share of items that are known, and the mean of that share over classes, with intervals.
    chance_accuracy, chance_balanced
        The same of these guesses in random order.
    items
        How many were asked.
    """

    table: Confusion
    accuracy: Interval
    balanced: Interval
    chance_accuracy: float
    chance_balanced: float
    items: int


def recognition(
    true: Sequence[str], guess: Sequence[str], groups: Sequence[Hashable], *, draws: int = 500,
    seed: int = 0,
) -> Recognised:  # fmt: skip
    """Return how often guesses are right.

    Parameters
    ----------
    true, guess
        Classes of each item.
    groups
        Of each item: what is drawn together for an interval.
    draws, seed
        Of the bootstrap over groups and of the shuffles.

    Raises
    ------
    PixelDataError
        If there are fewer than two groups.

    Examples
    --------
    >>> found = recognition(list("aab"), list("aba"), [1, 2, 3], draws=50)
    >>> round(found.accuracy.value, 3), found.balanced.value
    (0.333, 0.25)
    """
    t, g = np.asarray(true), np.asarray(guess)
    how: dict[str, Any] = {"draws": draws, "seed": seed}
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(g) for _ in range(_SHUFFLES)]
    return Recognised(
        table=confusion(t.tolist(), g.tolist()),
        accuracy=bootstrap(lambda d: _accuracy(t[d], g[d]), groups, **how),
        balanced=bootstrap(lambda d: _balanced(t[d], g[d]), groups, **how),
        chance_accuracy=float(np.mean([_accuracy(t, one) for one in shuffled])),
        chance_balanced=float(np.mean([_balanced(t, one) for one in shuffled])),
        items=len(t),
    )  # fmt: skip


def compare_recognition(
    true: Sequence[str], one: Sequence[str], other: Sequence[str], groups: Sequence[Hashable], *,
    draws: int = 500, seed: int = 0,
) -> Interval:  # fmt: skip
    """Return by how much better one source is known than the other, the mean over classes.

    Both are of the same items and are drawn together.
    """
    t, a, b = (np.asarray(values) for values in (true, one, other))
    return bootstrap(
        lambda d: _balanced(t[d], a[d]) - _balanced(t[d], b[d]), groups, draws=draws, seed=seed
    )


def deal_folds(
    classes: Sequence[str], groups: Sequence[Hashable], folds: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Deal groups out, so that each class is in every fold as evenly as its groups allow.

    Parameters
    ----------
    classes, groups
        Of each item; a group may hold several classes, and lies in one fold.
    folds
        How many.
    seed
        Decides the order.

    Returns
    -------
    numpy.ndarray
        Fold of each item.

    Raises
    ------
    PixelDataError
        If a class would never be taught while one of the folds is asked.
    """
    rng = np.random.default_rng(seed)
    names = sorted(set(classes))
    order = list(dict.fromkeys(groups))
    held: Mapping[Hashable, NDArray[np.int64]] = {
        group: np.array([
            sum(c == name and g == group for c, g in zip(classes, groups, strict=True))
            for name in names
        ])
        for group in order
    }  # fmt: skip
    counts = np.zeros((folds, len(names)), np.int64)
    fold_of: dict[Hashable, int] = {}
    for index in rng.permutation(len(order)).tolist():
        own = held[order[index]]
        # Where the classes of this group are rarest so far; of those, where fewest items are.
        load = [(int(counts[f] @ (own > 0)), int(counts[f].sum()), f) for f in range(folds)]
        fold_of[order[index]] = min(load)[2]
        counts[fold_of[order[index]]] += own
    teaching = counts.sum(axis=0) - counts
    if (teaching == 0).any():
        name = names[int(np.argwhere(teaching == 0)[0, 1])]
        raise PixelDataError(
            f"With {folds} folds {name!r} is never taught while its own wells are asked, since "
            "they lie in too few groups. Ask with fewer --folds, or with a smaller --group."
        )
    return np.array([fold_of[group] for group in groups])


def _accuracy(true: NDArray[np.str_], guess: NDArray[np.str_]) -> float:
    return float((true == guess).mean())


def _balanced(true: NDArray[np.str_], guess: NDArray[np.str_]) -> float:
    return float(np.mean([(guess[true == one] == one).mean() for one in np.unique(true)]))
