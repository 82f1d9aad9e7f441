"""Did the tuning help? Base and tuned model on fields that did not teach, block by block.

Pixels are no independent witnesses: what is drawn again for an interval are blocks of 128 px, each
with both predictions, so that what is hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.embedding.intervals import Interval, of_difference
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.tuning_blocks import blocks, mean_of_known, predictions
from napari_virtualstain.jobs.tuning_lines import fitted_lines
from napari_virtualstain.metrics.pixel import pearson

__all__ = [
    "BlockScores",
    "Judgement",
    "StainGain",
    "WorseBlock",
    "compare_blocks",
    "judge_blocks",
    "judge_tuning",
]

_SAME = 1e-5
"""Of a correlation: below it, no picture has changed but by gain and offset."""
_LOST, _WORST = 0.02, 3
"""Of a correlation, from which on a block is worse; and how many of them are shown."""
_PLANE = 2

Verdict = Literal["better", "worse", "inside the noise", "too little to tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StainGain:
    """What the tuning did to one stain, on fields that did not teach.

    Parameters
    ----------
    stain
        Its name.
    pcc_before, pcc_after
        Mean Pearson correlation over blocks.
    pcc_gain
        After minus before, with its interval; `None` where there are fewer than two blocks.
    mae_gain
        By how much the mean absolute error went down, in grey values, with its interval.
    mae_before, mae_recalibrated, mae_after
        Mean absolute error in grey values: of the base model, of the same after a gain and an
        offset that were fitted to the fields that taught, and of the tuned one.
    verdict
        ``"better"`` or ``"worse"`` where the interval of the correlation excludes 0; of the error,
        where gain and offset alone have changed.
    by
        What that says: ``"PCC"``, or ``"MAE"`` where gain and offset alone have changed.
    """

    stain: str
    pcc_before: float
    pcc_after: float
    pcc_gain: Interval | None
    mae_gain: Interval | None
    mae_before: float
    mae_recalibrated: float
    mae_after: float

    @property
    def by(self) -> Literal["PCC", "MAE"]:
        """What is judged by."""
        gain = self.pcc_gain
        alike = gain is not None and max(abs(gain.low), abs(gain.high)) < _SAME
        return "MAE" if alike else "PCC"

    @property
    def verdict(self) -> Verdict:
        """What may be said of it."""
        gain = self.pcc_gain if self.by == "PCC" else self.mae_gain
        if gain is None or np.isnan(gain.low):
            return "too little to tell"
        if not gain.excludes_zero:
            return "inside the noise"
        return "better" if gain.value > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not a number becomes `None`."""
        values = {**asdict(self), "verdict": self.verdict, "by": self.by}
        return {
            k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorseBlock:
    """A block that the base model stained better.

    Parameters
    ----------
    stain, field
        Of which, and where.
    y, x
        Its first pixel in the part of the field that was judged.
    pcc_before, pcc_after
        Pearson correlation with the truth.
    pictures
        (4, Y, X): bright field (normalised; of several planes the middle one), then base, tuned and
        truth in grey values. Of a volume its middle plane.
    """

    stain: str
    field: str
    y: int
    x: int
    pcc_before: float
    pcc_after: float
    pictures: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the pictures."""
        return {
            "stain": self.stain, "field": self.field, "y": self.y, "x": self.x,
            "pcc_before": self.pcc_before, "pcc_after": self.pcc_after,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a tuning did.

    Parameters
    ----------
    gains
        By stain.
    worst
        The blocks that lost most, at most one a field and stain; empty where none lost.
    """

    gains: tuple[StainGain, ...]
    worst: tuple[WorseBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockScores:
    """What two models scored in each block of some fields.

    Parameters
    ----------
    table
        (stains, blocks, 5): correlation with the truth before and after; mean absolute error in
        grey values before, before with a gain and an offset, and after. NaN without a truth.
    places
        By block, its field and where it lies in it.
    worst
        The block of each field and stain that lost most.
    """

    table: NDArray[np.float64]
    places: tuple[str, ...]
    worst: tuple[WorseBlock, ...] = ()


def judge_tuning(
    before: Generator,
    after: Generator,
    *,
    teach: PairedSet,
    held: PairedSet,
    base: Sequence[Normalisation],
    stains: Sequence[str],
    seed: int = 0,
) -> Judgement:
    """Compare two generators on fields that did not teach; see `compare_blocks`, `judge_blocks`."""
    scores = compare_blocks(before, after, teach=teach, held=held, base=base, stains=stains)
    return judge_blocks([scores], stains=stains, seed=seed)


def compare_blocks(
    before: Generator,
    after: Generator,
    *,
    teach: PairedSet,
    held: PairedSet,
    base: Sequence[Normalisation],
    stains: Sequence[str],
) -> BlockScores:
    """Score two generators block by block on fields that did not teach.

    Parameters
    ----------
    before, after
        The base model and the tuned one.
    teach
        Fields that taught: gain and offset alone are fitted to them.
    held
        Fields that did not, normalised as those.
    base
        By stain: what returns a prediction of the base model to grey values.
    stains
        Names.
    """
    line = fitted_lines(before, teach, base)
    rows: list[list[tuple[float, ...]]] = [[] for _ in stains]
    places: list[str] = []
    worst: dict[tuple[int, int], WorseBlock] = {}
    for number, (planes, truth, (plain, tuned)) in enumerate(predictions(held, (before, after))):
        name = held.fields[number].name
        for part in blocks(truth.shape):
            places.append(f"{name} {part[1].start} {part[2].start}")
            for c in range(len(stains)):
                old, new = (
                    base[c].invert(plain[c][part]),
                    held.outputs[c].invert(tuned[c][part]),
                )
                scores = _scores(old, line[c].apply(old), new, truth[c][part])
                rows[c].append(scores)
                lost = scores[0] - scores[1]
                known_worst = worst.get((number, c))
                most = _LOST if known_worst is None else _lost(known_worst)
                if lost > most:
                    worst[number, c] = WorseBlock(
                        stain=stains[c], field=name,
                        y=part[1].start, x=part[2].start, pcc_before=scores[0],
                        pcc_after=scores[1],
                        pictures=_flat([planes[len(planes) // 2][part], old, new, truth[c][part]]),
                    )  # fmt: skip
    table = np.array(rows, np.float64).reshape(len(stains), -1, 5)
    return BlockScores(table=table, places=tuple(places), worst=tuple(worst.values()))


def judge_blocks(
    scores: Sequence[BlockScores], *, stains: Sequence[str], seed: int = 0
) -> Judgement:
    """Say what a tuning did to each stain, by all blocks that were scored.

    Parameters
    ----------
    scores
        Of one tuning, or of several of which each judges other fields.
    stains
        Names.
    seed
        Of the intervals.
    """
    tables = np.concatenate([one.table for one in scores], axis=1)
    places = [place for one in scores for place in one.places]
    found = []
    for stain, table in zip(stains, tables, strict=True):
        known = np.isfinite(table[:, :2]).all(axis=1)
        pair, own = table[known], [g for g, k in zip(places, known, strict=True) if k]
        gain, less = (
            of_difference(pair[:, one], pair[:, other], own, seed=seed) if len(pair) > 1 else None
            for one, other in ((1, 0), (2, 4))
        )
        means = [mean_of_known(table[known, n]) for n in (0, 1)]
        means += [mean_of_known(table[:, n]) for n in (2, 3, 4)]
        found.append(
            StainGain(
                stain=stain, pcc_before=means[0], pcc_after=means[1], pcc_gain=gain, mae_gain=less,
                mae_before=means[2], mae_recalibrated=means[3], mae_after=means[4],
            )
        )  # fmt: skip
    order = sorted((block for one in scores for block in one.worst), key=_lost, reverse=True)
    return Judgement(gains=tuple(found), worst=tuple(order[:_WORST]))


def _lost(block: WorseBlock) -> float:
    return block.pcc_before - block.pcc_after


def _flat(pictures: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return (N, Y, X); of volumes their middle planes."""
    flat = [one if one.ndim == _PLANE else one[one.shape[0] // 2] for one in pictures]
    return np.stack(flat).astype(np.float32)


def _scores(old: Any, recalibrated: Any, new: Any, truth: Any) -> tuple[float, ...]:
    known = np.isfinite(truth)
    if not known.any():
        return (float("nan"),) * 5
    errors = [float(np.abs(one[known] - truth[known]).mean()) for one in (old, recalibrated, new)]
    return (pearson(old, truth), pearson(new, truth), *errors)
