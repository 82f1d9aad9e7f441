"""Which wells look like those that are known to be toxic? The nearest neighbours vote."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.errors import PixelDataError

__all__ = ["ToxicityAgreement", "compare_toxicity", "toxic_votes"]

NEIGHBOURS, REPEATS = 5, 100
FEWEST = 3
"""Wells of each kind without which nobody can vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToxicityAgreement:
    """Whether the same wells are called toxic.

    Parameters
    ----------
    asked
        Wells that taught neither side.
    truth, prediction, both
        How many are called toxic in each, and in both.
    sensitivity, specificity
        Share of the truth's toxic, and of its other wells, that the prediction calls alike, with
        intervals over wells; NaN where the truth has none.
    chance
        Sensitivity if as many were called at random.
    """

    asked: int
    truth: int
    prediction: int
    both: int
    sensitivity: Interval
    specificity: Interval
    chance: float


def toxic_votes(
    values: NDArray[np.float64],
    toxic: Sequence[bool],
    controls: Sequence[bool],
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return in which share of the repeats each well is called toxic; NaN of those that teach.

    Parameters
    ----------
    values
        (N, D) wells, nothing missing.
    toxic, controls
        Which wells are known to be toxic, and which are known not to be: these teach.
    seed
        Decides who is drawn.

    Raises
    ------
    PixelDataError
        If fewer than three of either are known.

    Notes
    -----
    As published (Cross-Zamirski et al. 2022, doi:10.1038/s41598-022-12914-x, section "Toxicity
    prediction"): 100 times as many toxic wells as controls are drawn with replacement, and the
    5 nearest by Euclidean distance vote. How many are drawn is not said; here it is as many as
    there are of the rarer kind, and 5 at least.
    """
    kinds = np.asarray(toxic, bool), np.asarray(controls, bool)
    for what, option, kind in zip(
        ("toxic wells", "control wells"), ("--toxic", "--controls"), kinds, strict=True
    ):
        if kind.sum() < FEWEST:
            raise PixelDataError(
                f"There are {int(kind.sum())} {what}, and {FEWEST} are needed to learn what they "
                f"look like. Name more of them with {option}, or leave out --toxic."
            )
    pools = [np.flatnonzero(kind) for kind in kinds]
    asked = np.flatnonzero(~(kinds[0] | kinds[1]))
    teachers = np.concatenate(pools)
    squared = (
        (values[asked] ** 2).sum(axis=1)[:, None] - 2 * values[asked] @ values[teachers].T
        + (values[teachers] ** 2).sum(axis=1)
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    n = max(NEIGHBOURS, min(len(pool) for pool in pools))
    calls = np.zeros(len(asked))
    for _ in range(REPEATS):
        drawn = np.concatenate([
            rng.integers(len(pools[0]), size=n),
            len(pools[0]) + rng.integers(len(pools[1]), size=n),
        ])  # fmt: skip
        nearest = np.argpartition(squared[:, drawn], NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        calls += (nearest < n).sum(axis=1) > NEIGHBOURS / 2
    out = np.full(len(values), np.nan)
    out[asked] = calls / REPEATS
    return out


def compare_toxicity(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    wells: Sequence[Hashable],
    *,
    draws: int = 500,
    seed: int = 0,
) -> ToxicityAgreement:
    """Compare the calls of both sides: toxic where more than half of the repeats say so.

    Parameters
    ----------
    prediction, truth
        (N,) votes of the same wells.
    wells
        Of each: what is drawn together.
    draws, seed
        Of the bootstrap.

    Raises
    ------
    PixelDataError
        If all wells teach.
    """
    asked = np.isfinite(truth) & np.isfinite(prediction)
    if not asked.any():
        raise PixelDataError(
            "All wells are known to be toxic or controls, so that none is left to be asked. "
            "Compare treated wells too, or leave out --toxic."
        )
    p, t = prediction[asked] > 0.5, truth[asked] > 0.5
    groups = [well for well, is_asked in zip(wells, asked, strict=True) if is_asked]

    def share(of: NDArray[np.bool_], alike: NDArray[np.bool_]) -> Interval:
        def score(drawn: NDArray[np.int64]) -> float:
            those = of[drawn]
            return float(alike[drawn][those].mean()) if those.any() else float("nan")

        return bootstrap(score, groups, draws=draws, seed=seed)

    return ToxicityAgreement(
        asked=int(asked.sum()), truth=int(t.sum()), prediction=int(p.sum()),
        both=int((p & t).sum()), sensitivity=share(t, p), specificity=share(~t, ~p),
        chance=float(p.mean()),
    )  # fmt: skip
