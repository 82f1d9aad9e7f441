"""What would more fields bring? A power law through what fewer of them have brought.

What a model still lacks of a perfect correlation falls with the number of fields about as a power
of it. A straight line through the logarithms says how it would go on, and blocks drawn again say
how far that can be trusted; where it cannot, that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outlook", "outlook"]

_LEAST_SIZES = 3
"""Different numbers of fields from which on a curve can be told from a line."""
_FARTHEST = 4.0
"""Times as many fields as there are, beyond which nothing is said."""
_DRAWS = 1000
_TINY = 1e-6
_LITTLE = 0.005
"""Of a correlation: what is not worth ten fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What more fields would likely bring.

    Parameters
    ----------
    sizes
        Numbers of fields that taught.
    scores
        Mean correlation of each.
    more
        How many fields more are asked about.
    gain, low, high
        By how much the correlation would rise, and between which values that lies with 95 %; `None`
        where nobody can tell.
    words
        The same in a sentence.
    """

    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    more: int
    gain: float | None
    low: float | None
    high: float | None
    words: str


def outlook(
    sizes: Sequence[int],
    scores: Sequence[NDArray[np.float64]],
    *,
    more: int = 10,
    what: str = "the stain",
    seed: int = 0,
) -> Outlook:
    """Say what more fields would bring.

    Parameters
    ----------
    sizes
        Of each tuning, how many fields taught it; a size may come several times.
    scores
        Of each, the correlation of every block that judged, (N,): the same blocks in the same
        order, NaN where a block has no truth.
    more
        How many fields more than the largest size.
    what
        Names the stain.
    seed
        Of the blocks that are drawn again.

    Notes
    -----
    ``1 - PCC = b n^-c``, c at least 0, by least squares of logarithms; no floor is fitted, for
    which few sizes are too few, so that far ahead it promises too much. Power laws of this kind:
    Hestness et al. 2017, arXiv:1712.00409. Blocks are drawn again together for all sizes, and of
    each size one of its tunings, so that the interval holds what depends on which field was taken.
    """
    table = np.array([np.asarray(one, np.float64) for one in scores])
    table = table[:, np.isfinite(table).all(axis=0)] if table.size else table.reshape(len(sizes), 0)
    distinct = sorted(set(sizes))
    rows = [[n for n, size in enumerate(sizes) if size == one] for one in distinct]
    means = tuple(float(table[own].mean()) if table.size else float("nan") for own in rows)

    def cannot(why: str) -> Outlook:
        return Outlook(
            sizes=tuple(distinct), scores=means, more=more, gain=None, low=None, high=None,
            words=f"what {more} more fields would bring to {what} cannot be told: {why}",
        )  # fmt: skip

    if len(distinct) < _LEAST_SIZES:
        return cannot(f"it takes tunings on {_LEAST_SIZES} different numbers of fields")
    if table.shape[1] < 2:
        return cannot("too little was held back")
    largest = distinct[-1]
    if largest + more > _FARTHEST * largest:
        most = int((_FARTHEST - 1) * largest)
        return cannot(f"{largest} fields say something of {most} more at most")
    rng = np.random.default_rng(seed)
    gains = [_gain(distinct, np.array(means), more)]
    for _ in range(_DRAWS):
        blocks = rng.integers(table.shape[1], size=table.shape[1])
        drawn = np.array([table[own[int(rng.integers(len(own)))], blocks].mean() for own in rows])
        gains.append(_gain(distinct, drawn, more))
    low, high = (float(q) for q in np.quantile(gains[1:], (0.025, 0.975)))
    gain = float(gains[0])
    if low < _LITTLE <= high:
        doubt = "which may be nothing" if high < 3 * _LITTLE else "which may be nothing or much"
    elif high < _LITTLE:
        doubt = "which is little"
    else:
        doubt = "if it goes on as it has"
    words = (
        f"{more} more fields would bring {what} {gain:+.3f} PCC ({low:+.3f} to {high:+.3f}), "
        f"{doubt}"
    )
    return Outlook(
        sizes=tuple(distinct), scores=means, more=more, gain=gain, low=low, high=high, words=words
    )


def _gain(sizes: Sequence[int], scores: NDArray[np.float64], more: int) -> float:
    """Return by how much a score rises from the largest size on, by the law."""
    x = np.log(np.asarray(sizes, np.float64))
    y = np.log(np.maximum(1 - scores, _TINY))
    slope = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
    power = max(-slope, 0.0)
    at_end = y.mean() - power * (x[-1] - x.mean())
    lacking = np.exp(at_end)
    return float(lacking * (1 - np.exp(-power * log((sizes[-1] + more) / sizes[-1]))))
