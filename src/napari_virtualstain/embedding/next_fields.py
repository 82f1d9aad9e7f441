"""Which fields should be stained next? Those that are unlike what is known, and doubtful.

Greedy: after each choice, what lies near it is not new any more. Four numbers are multiplied, each
1 of a usual field: how far a field lies from the nearest one that is known or chosen already, how
much the model contradicts itself on it, how much there is to be seen, which counts where it is
less than usual, and one half for each time that its well was chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NextField", "rank_next"]

_MAD = 1.4826
"""SD of a normal distribution over its median absolute deviation."""
_FARTHEST = 10.0
"""SD beyond which a number is not more unusual: one of them must not decide alone."""
_DOUBT = (0.25, 4.0)
"""Between which doubt counts: noise that doubles it must not outweigh everything."""
_AGAIN = 0.5
"""What a well counts for each time that it was chosen before."""
_FAR, _DOUBTFUL = 1.25, 1.25
"""Times what is usual, from which on it is a reason."""
_EMPTY = 0.5
"""Of what is usually to be seen, below which it is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextField:
    """A field that should be stained.

    Parameters
    ----------
    index
        Among those that were offered.
    novelty
        Distance to the nearest field that was known or chosen by then, over the median of all; 1 is
        usual.
    doubt
        How much the model contradicts itself, over the median of all.
    content
        How much there is to be seen, over the median of all.
    in_well
        How often its well was known or chosen by then; 0 where there are no wells.
    score
        By which it was chosen.
    why
        The reasons in words.
    """

    index: int
    novelty: float
    doubt: float
    content: float
    in_well: int
    score: float
    why: str


def rank_next(
    features: NDArray[np.float64],
    doubt: NDArray[np.float64],
    *,
    content: NDArray[np.float64] | None = None,
    known: NDArray[np.float64] | None = None,
    wells: Sequence[str] = (),
    known_wells: Sequence[str] = (),
    count: int = 10,
    seed: int = 0,
) -> tuple[NextField, ...]:
    """Choose fields one after the other.

    Parameters
    ----------
    features
        (N, F): what each field is like; NaN of a number that is not known.
    doubt
        (N,), at least 0: how much the model contradicts itself.
    content
        (N,), at least 0: how much there is to be seen; alike everywhere if `None`. An empty field
        is unlike all others, and teaches nothing.
    known
        (K, F): the same of fields that have a true stain already; without any, the distance is that
        to the middle of all fields.
    wells, known_wells
        Of each field; ``""`` of one that lies in none.
    count
        How many, at most.
    seed
        Decides between fields that are equal.

    Returns
    -------
    tuple
        The first is what should be stained first.

    Notes
    -----
    k-Centre Greedy (Sener and Savarese 2018, arXiv:1708.00489) on standardised features, with the
    distance of each field weighted by how doubtful it is and by its well. Numbers are centred on
    their median and divided by their median absolute deviation, over all fields together, so that a
    rare kind does not hide itself.
    """
    points = np.asarray(features, np.float64)
    others = np.empty((0, points.shape[1])) if known is None else np.asarray(known, np.float64)
    points, others = _standardised(points, others)
    wells = tuple(wells) or ("",) * len(points)
    taken = Counter(name for name in known_wells if name)
    reference = others if len(others) else np.zeros((1, points.shape[1]))
    distance = np.min([_apart(points, one) for one in reference], axis=0)
    usual = float(np.median(distance)) or 1.0
    relative = _over_usual(doubt)
    seen = np.ones(len(points)) if content is None else _over_usual(content)
    # Fields that are equal in everything would else come in the order in which they were listed.
    order = np.random.default_rng(seed).permutation(len(points))
    left = list(order)
    found: list[NextField] = []
    with_known = bool(len(others))
    while left and len(found) < count:
        again = np.array([_AGAIN ** taken[wells[n]] for n in left])
        scores = distance[left] / usual * np.clip(relative[left], *_DOUBT)
        scores *= np.minimum(seen[left], 1.0) * again
        at = int(np.argmax(scores))
        n = int(left.pop(at))
        novelty, in_well = float(distance[n]) / usual, taken[wells[n]]
        found.append(
            NextField(
                index=n, novelty=novelty, doubt=float(relative[n]), content=float(seen[n]),
                in_well=in_well, score=float(scores[at]),
                why=_words(
                    novelty, float(relative[n]), float(seen[n]), wells[n], in_well,
                    than="those that are known" if with_known else "a usual one",
                ),
            )
        )  # fmt: skip
        with_known = True
        if wells[n]:
            taken[wells[n]] += 1
        distance = np.minimum(distance, _apart(points, points[n]))
    return tuple(found)


def _standardised(
    points: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features in SD from their median; what is not known is usual."""
    together = np.concatenate([points, others])
    known = np.isfinite(together)
    together = np.where(known, together, np.nan)
    some = known.any(axis=0)
    together = together[:, some]
    middle = np.nanmedian(together, axis=0)
    spread = _MAD * np.nanmedian(np.abs(together - middle), axis=0)
    # More than half of them are equal: what is unlike these is measured by the plain SD.
    spread = np.where(spread > 0, spread, np.nanstd(together, axis=0))
    scaled = np.divide(together - middle, spread, out=np.zeros_like(together), where=spread > 0)
    scaled = np.clip(np.nan_to_num(scaled), -_FARTHEST, _FARTHEST)
    return scaled[: len(points)], scaled[len(points) :]


def _apart(points: NDArray[np.float64], one: NDArray[np.float64]) -> Any:
    """Return the distance of each point to one: the root mean square over features."""
    if points.shape[1] == 0:
        return np.zeros(len(points))
    return np.sqrt(np.mean(np.square(points - one), axis=1))


def _over_usual(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return found / (float(np.median(found)) or 1.0)


def _words(
    novelty: float, doubt: float, content: float, well: str, in_well: int, *, than: str
) -> str:
    """Say why a field was chosen.

    Examples
    --------
    >>> _words(2.31, 1.0, 1.0, "B03", 0, than="those that are known")
    'unlike those that are known (2.3 times as far as usual); the first of well B03'
    >>> _words(0.4, 0.9, 1.0, "", 0, than="those that are known")
    'the best of the rest, but like those that are known'
    """
    why = []
    if novelty >= _FAR:
        why.append(f"unlike {than} ({novelty:.1f} times as far as usual)")
    if doubt >= _DOUBTFUL:
        why.append(f"the model contradicts itself ({doubt:.1f} times as much as usual)")
    if well and not in_well:
        why.append(f"the first of well {well}")
    if not why:
        like = f", but like {than}" if novelty < 1 else ""
        why.append(f"the best of the rest{like}")
    if content < _EMPTY:
        why.append("there is little to be seen in it")
    return "; ".join(why)
