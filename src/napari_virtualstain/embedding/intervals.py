"""How sure is a score? As sure as the compounds or wells that it was measured on are many.

What belongs together is drawn together: fields of one well, or profiles of one compound, are no
independent witnesses, and an interval that takes them for such is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError, SettingsError

__all__ = ["Interval", "bootstrap", "of_difference", "of_mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A score and between which values it lies.

    Parameters
    ----------
    value
        Of all data.
    low, high
        Quantiles of the scores of resampled groups.
    level
        Share of them between the two, for example 0.95.
    groups
        How many groups were resampled.
    """

    value: float
    low: float
    high: float
    level: float
    groups: int

    @property
    def excludes_zero(self) -> bool:
        """Whether both ends lie on one side of 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    score: Callable[[NDArray[np.int64]], float],
    groups: Sequence[Hashable],
    *,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a score with its percentile interval over resampled groups.

    Parameters
    ----------
    score
        Of the items with these indices, some of which occur more than once. For a paired
        difference it scores both and subtracts. NaN is a score that a draw does not have (a class
        that was not drawn): it is left out.
    groups
        Of each item: what must stay together.
    strata
        Of each item: as many groups of each stratum are drawn as it has, where several sets of
        items are compared that are never one. A group lies in one stratum.
    level
        Share of draws within the interval.
    draws
        How often as many groups are drawn, with replacement.
    seed
        Decides which; the same seed gives the same interval.

    Raises
    ------
    PixelDataError
        If there are fewer than two groups.
    SettingsError
        If the level is not between 0 and 1.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 8 and 13.
    """
    if not 0 < level < 1:
        raise SettingsError(
            f"The level must be between 0 and 1, got {level}. Use for example 0.95."
        )
    members: dict[Hashable, dict[Hashable, list[int]]] = {}
    for index, (stratum, group) in enumerate(
        zip([""] * len(groups) if strata is None else strata, groups, strict=True)
    ):
        members.setdefault(stratum, {}).setdefault(group, []).append(index)
    fewest = min((len(inside) for inside in members.values()), default=0)
    if fewest < 2:
        raise PixelDataError(
            f"An interval needs two groups or more that could have been others, got {fewest}."
            " Group by something that differs, for example by well."
        )
    each = [[np.array(items) for items in inside.values()] for inside in members.values()]
    rng = np.random.default_rng(seed)
    scores = [
        score(
            np.concatenate(
                [parts[i] for parts in each for i in rng.integers(len(parts), size=len(parts))]
            )
        )
        for _ in range(draws)
    ]
    known = [one for one in scores if not np.isnan(one)]
    ends = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if known else (np.nan, np.nan)
    return Interval(
        value=float(score(np.arange(len(groups)))),
        low=float(ends[0]),
        high=float(ends[1]),
        level=level,
        groups=sum(map(len, each)),
    )


def of_mean(values: NDArray[Any], groups: Sequence[Hashable], **how: Any) -> Interval:
    """Return the mean of values (N,) with its interval; ``how`` as in `bootstrap`.

    Examples
    --------
    >>> str(of_mean(np.ones(4), ["a", "a", "b", "b"]))
    '1.000 (1.000 to 1.000)'
    """
    numbers = np.asarray(values, np.float64)
    return bootstrap(lambda drawn: float(numbers[drawn].mean()), groups, **how)


def of_difference(
    one: NDArray[Any], other: NDArray[Any], groups: Sequence[Hashable], **how: Any
) -> Interval:
    """Return the mean of ``one - other`` (N,) with its interval.

    Both are of the same items, and are drawn together: what is hard for both cancels out.
    """
    return of_mean(np.asarray(one, np.float64) - np.asarray(other, np.float64), groups, **how)
