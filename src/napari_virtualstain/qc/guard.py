"""May the intensity of a predicted stain be read as an amount? Asked of fields with a truth.

Gain and offset are those of truth over prediction (`metrics.strips.Comparison.gain`), ranks those
of bright places (`bright_ranks`). A stain whose gain is one on every field and whose ranks hold may
be compared between fields; one whose ranks hold while its gain wanders may be compared within a
field; any other is a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.metrics.pixel import spearman
from napari_virtualstain.qc.field import binned

__all__ = ["AMOUNT_WORDS", "NOT_IF_RED", "Amount", "Guard", "bright_ranks", "judge_amount"]

Amount = Literal["amount", "rank", "picture"]
AMOUNT_WORDS: dict[Amount, str] = {
    "amount": "intensity may be read as amount",
    "rank": "compare intensities within a field only",
    "picture": "do not read intensity as amount",
}
NOT_IF_RED = (
    "Nothing may be read as amount in fields that are red: they are not like those that were "
    "measured."
)
"""Said beside amounts where a field is red."""
GAIN_OFF, OFFSET_OFF, WANDERS, RANK, FEWEST = 0.15, 0.15, 0.10, 0.8, 5
"""Largest error of gain and offset (over the mean truth), largest spread of gain from field to
field, smallest rank correlation, and fewest fields for an amount."""


_PLACE_UM = 5.0
_FEWEST_PLACES = 12


def bright_ranks(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], pixel_um: float
) -> float:
    """Return whether what is brighter in truth is brighter in prediction: Spearman's correlation.

    Of means over squares of 5 µm that are brighter in truth than its mean. Between dark pixels
    ranks are those of camera noise, which nobody can predict: of a sparse stain they would be all
    there is.

    Parameters
    ----------
    predicted, truth
        (Y, X) of one stain; what is NaN in either counts for nothing.
    pixel_um
        Edge of a pixel.

    Returns
    -------
    float
        -1 to 1; NaN where fewer than 12 squares are bright.
    """
    missing = ~(np.isfinite(predicted) & np.isfinite(truth))
    edge = max(1, round(_PLACE_UM / pixel_um))
    p, t = (
        binned(np.where(missing, np.float32("nan"), picture), edge)
        for picture in (predicted, truth)
    )
    known = np.isfinite(p) & np.isfinite(t)
    bright = known & (t > (t[known].mean() if known.any() else 0))
    if bright.sum() < _FEWEST_PLACES:
        return float("nan")
    return spearman(p[bright], t[bright])


class Guard(BaseModel):
    """What held-out pairs say of one stain.

    Parameters
    ----------
    amount
        The verdict.
    gain, gain_low, gain_high
        True over predicted brightness, slope of truth on prediction: median, 5 % and 95 %.
    offset
        What is left at a prediction of 0, over the mean of the truth; median.
    rank
        Median correlation of ranks, see `bright_ranks`.
    fields
        How many pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Amount
    gain: float
    gain_low: float
    gain_high: float
    offset: float
    rank: float
    fields: int = Field(ge=1)

    @property
    def words(self) -> str:
        """The verdict with its numbers."""
        return (
            f"{AMOUNT_WORDS[self.amount]}: gain {self.gain:.2f} ({self.gain_low:.2f} to "
            f"{self.gain_high:.2f}), offset {self.offset:+.0%} of the mean, ranks {self.rank:.2f}, "
            f"{self.fields} held-out field{'s' * (self.fields != 1)}"
        )


def judge_amount(
    gains: Sequence[float], offsets: Sequence[float], ranks: Sequence[float]
) -> Guard | None:
    """Return the verdict of one stain, `None` if no field says anything.

    Parameters
    ----------
    gains, offsets, ranks
        One a field; offsets over the mean of the truth; NaN counts for nothing.

    Examples
    --------
    >>> judge_amount([1.0] * 6, [0.0] * 6, [0.9] * 6).amount
    'amount'
    >>> judge_amount([0.7, 1.4, 1.0, 1.0, 1.0, 1.1], [0.0] * 6, [0.9] * 6).amount
    'rank'
    """
    table = np.array([gains, offsets, ranks], np.float64)
    table = table[:, np.isfinite(table).all(axis=0)]
    if not table.size:
        return None
    gain, offset, rank = (float(v) for v in np.median(table, axis=1))
    low, high = (float(v) for v in np.quantile(table[0], (0.05, 0.95)))
    steady = high - low <= 2 * WANDERS * max(gain, 1e-9)
    true = abs(gain - 1) <= GAIN_OFF and abs(offset) <= OFFSET_OFF
    ranked = rank >= RANK
    amount: Amount = "picture" if not ranked else "rank"
    if ranked and steady and true and table.shape[1] >= FEWEST:
        amount = "amount"
    return Guard(
        amount=amount, gain=round(gain, 4), gain_low=round(low, 4), gain_high=round(high, 4),
        offset=round(offset, 4), rank=round(rank, 4), fields=table.shape[1],
    )  # fmt: skip
