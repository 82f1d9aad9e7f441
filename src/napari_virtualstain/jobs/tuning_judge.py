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
from napari_virtualstain.metrics.pixel import pearson

__all__ = ["BLOCK", "StainGain", "forgotten", "judge_tuning"]

BLOCK = 128
"""Edge of a block in pixels; of a smaller field, half of it."""
_EDGE = 1024
"""Of a larger field, the middle is examined."""

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
    mae_before, mae_recalibrated, mae_after
        Mean absolute error in grey values: of the base model, of the same after a gain and an
        offset that were fitted to the fields that taught, and of the tuned one.
    verdict
        ``"better"`` or ``"worse"`` where the interval of the correlation excludes 0.
    """

    stain: str
    pcc_before: float
    pcc_after: float
    pcc_gain: Interval | None
    mae_before: float
    mae_recalibrated: float
    mae_after: float

    @property
    def verdict(self) -> Verdict:
        """What may be said of it."""
        if self.pcc_gain is None or np.isnan(self.pcc_gain.low):
            return "too little to tell"
        if not self.pcc_gain.excludes_zero:
            return "inside the noise"
        return "better" if self.pcc_gain.value > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not a number becomes `None`."""
        values = {**asdict(self), "verdict": self.verdict}
        return {
            k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
        }


def judge_tuning(
    before: Generator,
    after: Generator,
    *,
    teach: PairedSet,
    held: PairedSet,
    base: Sequence[Normalisation],
    stains: Sequence[str],
    seed: int = 0,
) -> tuple[StainGain, ...]:
    """Compare two generators on fields that did not teach.

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
    seed
        Of the intervals.
    """
    line = [_Line() for _ in stains]
    for truth, (plain, _) in _predictions(teach, (before, before)):
        for c, fit in enumerate(line):
            fit.add(base[c].invert(plain[c]), truth[c])
    rows: list[list[tuple[float, ...]]] = [[] for _ in stains]
    groups: list[str] = []
    for number, (truth, (plain, tuned)) in enumerate(_predictions(held, (before, after))):
        edge = min(BLOCK, min(truth.shape[-2:]) // 2)
        for y in range(0, truth.shape[-2] - edge + 1, edge):
            for x in range(0, truth.shape[-1] - edge + 1, edge):
                part = (..., slice(y, y + edge), slice(x, x + edge))
                groups.append(f"{number} {y} {x}")
                for c in range(len(stains)):
                    old, new = (
                        base[c].invert(plain[c][part]),
                        held.outputs[c].invert(tuned[c][part]),
                    )
                    rows[c].append(_scores(old, line[c].apply(old), new, truth[c][part]))
    found = []
    for c, stain in enumerate(stains):
        table = np.array(rows[c]).reshape(-1, 5)
        known = np.isfinite(table[:, :2]).all(axis=1)
        pair, own = table[known], [g for g, k in zip(groups, known, strict=True) if k]
        gain = of_difference(pair[:, 1], pair[:, 0], own, seed=seed) if len(pair) > 1 else None
        means = [_mean(table[known, n]) for n in (0, 1)] + [_mean(table[:, n]) for n in (2, 3, 4)]
        found.append(
            StainGain(
                stain=stain, pcc_before=means[0], pcc_after=means[1], pcc_gain=gain,
                mae_before=means[2], mae_recalibrated=means[3], mae_after=means[4],
            )
        )  # fmt: skip
    return tuple(found)


def forgotten(
    after: Generator, planes: NDArray[np.float32], expected: NDArray[np.float32]
) -> float:
    """Return how alike the tuned model stains what the base model came with: PCC, mean of stains.

    Parameters
    ----------
    after
        The tuned model.
    planes, expected
        Test pair of the base model, (B, P, *S) and (B, C, *S).
    """
    found = after.predict(planes)
    values = [pearson(found[:, c], expected[:, c]) for c in range(expected.shape[1])]
    return _mean(np.array(values))


def _predictions(pairs: PairedSet, generators: tuple[Generator, Generator]) -> Any:
    """Yield true stains in grey values, and what both predict of the same, normalised."""
    for number, field in enumerate(pairs.fields):
        stride = generators[0].multiple_of
        part = []
        for n in field.shape:
            edge = max(min(n, _EDGE) // stride * stride, stride)
            start = max(n - edge, 0) // 2
            part.append(slice(start, start + edge))
        planes, stains = pairs.read(number, tuple(part))
        truth = np.stack([o.invert(s) for o, s in zip(pairs.outputs, stains, strict=True)])
        one = generators[0].predict(planes[None])[0]
        same = generators[1] is generators[0]
        yield truth, (one, one if same else generators[1].predict(planes[None])[0])


def _scores(old: Any, recalibrated: Any, new: Any, truth: Any) -> tuple[float, ...]:
    known = np.isfinite(truth)
    if not known.any():
        return (float("nan"),) * 5
    errors = [float(np.abs(one[known] - truth[known]).mean()) for one in (old, recalibrated, new)]
    return (pearson(old, truth), pearson(new, truth), *errors)


class _Line:
    """The gain and offset that bring a prediction nearest to the truth."""

    def __init__(self) -> None:
        self._sums = np.zeros(5)

    def add(self, prediction: Any, truth: Any) -> None:
        known = np.isfinite(truth)
        p, t = (np.asarray(one, np.float64)[known] for one in (prediction, truth))
        self._sums += [p.size, p.sum(), t.sum(), p @ p, p @ t]

    def apply(self, prediction: Any) -> Any:
        n, p, t, pp, pt = self._sums
        spread = n * pp - p * p
        if n == 0 or spread <= 0:
            return prediction
        gain = (n * pt - p * t) / spread
        return gain * prediction + (t - gain * p) / n


def _mean(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
