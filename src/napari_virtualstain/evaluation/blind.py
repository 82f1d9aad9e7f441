"""Can a person tell predicted stains from real ones? Pairs are dealt, and answers scored."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from napari_virtualstain.embedding.intervals import Interval, of_mean
from napari_virtualstain.errors import PixelDataError

__all__ = ["BlindScore", "deal_sides", "score_answers"]

CHANCE = 0.5
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindScore:
    """How often the real picture was named.

    Parameters
    ----------
    asked, right
        Pairs that were answered, and those in which the real picture was named.
    share
        Of them, with its interval: over wells where pairs lie in two or more, else that of
        independent pairs.
    p_value
        Of so many or more, or as few, if nobody could tell (exact, two-sided, pairs independent).
    left
        Share of the answers that were "left": far from 0.5, somebody always says the same.
    """

    asked: int
    right: int
    share: Interval
    p_value: float
    left: float

    def sentence(self) -> str:
        """Say whether predicted stains were told from real ones."""
        found = f"The real picture was named in {self.right} of {self.asked} pairs, {self.share}; "
        if self.share.low > CHANCE:
            return f"{found}0.5 is chance: predicted stains were told from real ones."
        if self.share.high < CHANCE:
            return f"{found}0.5 is chance: predicted stains were taken for the real ones."
        return (
            f"{found}0.5 is chance: these answers do not show that anybody can tell, and only that "
            f"nobody names more than {100 * self.share.high:.0f} %."
        )


def deal_sides(pairs: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Return in which pairs the real picture lies left: in half of them, in random order.

    As many lie left as right, so that who always says the same is right in half.

    Examples
    --------
    >>> int(deal_sides(10, seed=3).sum())
    5
    """
    rng = np.random.default_rng(seed)
    sides = np.arange(pairs) % 2 == int(rng.integers(2))
    return np.asarray(rng.permutation(sides), np.bool_)


def score_answers(
    said_left: Sequence[bool],
    real_left: Sequence[bool],
    wells: Sequence[Hashable],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> BlindScore:
    """Score the answers of pairs.

    Parameters
    ----------
    said_left
        Of each pair that was answered, whether the left picture was named as the real one.
    real_left
        Whether it is.
    wells
        In which they lie: what is drawn together.
    draws, seed
        Of the bootstrap.

    Raises
    ------
    PixelDataError
        If nothing was answered.
    """
    n = len(said_left)
    if not n:
        raise PixelDataError("No pair was answered. Open the page, answer, and save the answers.")
    right = np.asarray(said_left, bool) == np.asarray(real_left, bool)
    test = binomtest(int(right.sum()), n, CHANCE)
    share = None
    if len(set(wells)) > 1:
        share = of_mean(right, wells, level=LEVEL, draws=draws, seed=seed)
    # All right or all wrong does not vary however it is drawn; the exact interval still tells.
    if share is None or right.all() or not right.any():
        exact = test.proportion_ci(LEVEL, method="exact")
        share = Interval(
            value=float(right.mean()), low=float(exact.low), high=float(exact.high), level=LEVEL,
            groups=len(set(wells)),
        )  # fmt: skip
    return BlindScore(
        asked=n, right=int(right.sum()), share=share, p_value=float(test.pvalue),
        left=float(np.mean(said_left)),
    )  # fmt: skip
