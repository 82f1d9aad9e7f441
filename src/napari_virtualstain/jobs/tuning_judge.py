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

__all__ = [
    "BLOCK",
    "Judgement",
    "StainGain",
    "WorseBlock",
    "block_scores",
    "explained_by_line",
    "forgotten",
    "judge_tuning",
    "recalibrated",
]

BLOCK = 128
"""Edge of a block in pixels; of a smaller field, half of it."""
_EDGE = 1024
"""Of a larger field, the middle is examined."""

_SAME = 1e-5
"""Of a correlation: below it, no picture has changed but by gain and offset."""
_A_PICTURE = 0.5
"""Correlation from which on a prediction is a picture of its stain."""
_LOST, _WORST = 0.02, 3
"""Of a correlation, from which on a block is worse; and how many of them are shown."""
_PLANE = 2
_PART, _PARTS = 256, 4
"""Edge in pixels and number of fields that are looked at before a tuning."""

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
    line = _lines(before, teach, base)
    rows: list[list[tuple[float, ...]]] = [[] for _ in stains]
    groups: list[str] = []
    worst: dict[tuple[int, int], WorseBlock] = {}
    for number, (planes, truth, (plain, tuned)) in enumerate(_predictions(held, (before, after))):
        for part in _blocks(truth.shape):
            groups.append(f"{number} {part[1].start} {part[2].start}")
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
                        stain=stains[c], field=held.fields[number].name,
                        y=part[1].start, x=part[2].start, pcc_before=scores[0],
                        pcc_after=scores[1],
                        pictures=_flat([planes[len(planes) // 2][part], old, new, truth[c][part]]),
                    )  # fmt: skip
    found = []
    for c, stain in enumerate(stains):
        table = np.array(rows[c]).reshape(-1, 5)
        known = np.isfinite(table[:, :2]).all(axis=1)
        pair, own = table[known], [g for g, k in zip(groups, known, strict=True) if k]
        gain, less = (
            of_difference(pair[:, one], pair[:, other], own, seed=seed) if len(pair) > 1 else None
            for one, other in ((1, 0), (2, 4))
        )
        means = [_mean(table[known, n]) for n in (0, 1)] + [_mean(table[:, n]) for n in (2, 3, 4)]
        found.append(
            StainGain(
                stain=stain, pcc_before=means[0], pcc_after=means[1], pcc_gain=gain, mae_gain=less,
                mae_before=means[2], mae_recalibrated=means[3], mae_after=means[4],
            )
        )  # fmt: skip
    order = sorted(worst.values(), key=_lost, reverse=True)
    return Judgement(gains=tuple(found), worst=tuple(order[:_WORST]))


def _lost(block: WorseBlock) -> float:
    return block.pcc_before - block.pcc_after


def _flat(pictures: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return (N, Y, X); of volumes their middle planes."""
    flat = [one if one.ndim == _PLANE else one[one.shape[0] // 2] for one in pictures]
    return np.stack(flat).astype(np.float32)


def block_scores(after: Generator, held: PairedSet) -> NDArray[np.float64]:
    """Return the correlation of each block of fields that did not teach: (blocks, stains).

    Parameters
    ----------
    after
        A tuned model.
    held
        Fields; NaN of a block without truth.
    """
    rows = []
    for _, truth, (tuned, _) in _predictions(held, (after, after)):
        rows += [
            [
                pearson(one[part], true[part]) if np.isfinite(true[part]).any() else np.nan
                for one, true in zip(tuned, truth, strict=True)
            ]
            for part in _blocks(truth.shape)
        ]
    return np.array(rows, np.float64)


def _blocks(shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Return where the blocks of a field (C, *S) lie."""
    edge = min(BLOCK, min(shape[-2:]) // 2)
    return [
        (..., slice(y, y + edge), slice(x, x + edge))
        for y in range(0, shape[-2] - edge + 1, edge)
        for x in range(0, shape[-1] - edge + 1, edge)
    ]


def recalibrated(
    before: Generator, teach: PairedSet, base: Sequence[Normalisation]
) -> tuple[Normalisation, ...]:
    """Return what returns predictions of the base model to the grey values of other fields.

    Parameters
    ----------
    before
        The base model.
    teach
        Fields to which gain and offset are fitted.
    base
        By stain: what returned them to grey values before. It stays where there is no truth, or
        where truth falls as the prediction rises.
    """
    lines = _lines(before, teach, base)
    return tuple(_through(norm, line) for norm, line in zip(base, lines, strict=True))


def _through(norm: Normalisation, line: _Line) -> Normalisation:
    """Return a normalisation whose grey values a line has moved, the same if that is no line."""
    gain, offset = line.fitted()
    if gain <= 0:
        return norm
    scale, moved = gain * norm.scale, gain * norm.offset + offset
    return norm.model_copy(update={"scale": scale, "offset": moved})


def explained_by_line(
    before: Generator, teach: PairedSet, held: PairedSet, base: Sequence[Normalisation]
) -> tuple[float, ...]:
    """Return which part of the error of each stain a gain and an offset take away; NaN if none is.

    None is taken away from what is no picture of the stain (a correlation below 0.5): the nearest
    line to noise is flat.

    They are fitted to the middles of up to four fields that teach, and tried on as many that do
    not: less than all of what `judge_tuning` looks at, to be told before a tuning.

    Parameters
    ----------
    before, teach, held, base
        As of `judge_tuning`.
    """
    lines = _lines(before, teach, base, _PART, _PARTS)
    errors: list[list[tuple[float, float, float]]] = [[] for _ in base]
    for _, truth, (plain, _) in _predictions(held, (before, before), _PART, _PARTS):
        for c, (norm, line) in enumerate(zip(base, lines, strict=True)):
            known = np.isfinite(truth[c])
            if known.any():
                old = norm.invert(plain[c])[known]
                true = truth[c][known]
                after = np.abs(line.apply(old) - true).mean()
                errors[c].append(
                    (float(np.abs(old - true).mean()), float(after), pearson(old, true))
                )
    means = [np.mean(one, axis=0) if one else (float("nan"),) * 3 for one in errors]
    return tuple(
        float(1 - new / old) if old > 0 and alike >= _A_PICTURE else float("nan")
        for old, new, alike in means
    )


def _lines(
    before: Generator,
    teach: PairedSet,
    base: Sequence[Normalisation],
    largest: int = _EDGE,
    most: int | None = None,
) -> list[_Line]:
    """Return by stain the gain and offset that are fitted to fields."""
    found = [_Line() for _ in base]
    for _, truth, (plain, _) in _predictions(teach, (before, before), largest, most):
        for c, line in enumerate(found):
            line.add(base[c].invert(plain[c]), truth[c])
    return found


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


def _predictions(
    pairs: PairedSet,
    generators: tuple[Generator, Generator],
    largest: int = _EDGE,
    most: int | None = None,
) -> Any:
    """Yield planes, true stains in grey values, and what both predict of them, normalised."""
    for number, field in enumerate(pairs.fields[:most]):
        stride = generators[0].multiple_of
        part = []
        for n in field.shape:
            edge = max(min(n, largest) // stride * stride, stride)
            start = max(n - edge, 0) // 2
            part.append(slice(start, start + edge))
        planes, stains = pairs.read(number, tuple(part))
        truth = np.stack([o.invert(s) for o, s in zip(pairs.outputs, stains, strict=True)])
        one = generators[0].predict(planes[None])[0]
        same = generators[1] is generators[0]
        yield planes, truth, (one, one if same else generators[1].predict(planes[None])[0])


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

    def fitted(self) -> tuple[float, float]:
        """Return gain and offset; 1 and 0 where nothing is known."""
        n, p, t, pp, pt = self._sums
        spread = n * pp - p * p
        if n == 0 or spread <= 0:
            return 1.0, 0.0
        gain = (n * pt - p * t) / spread
        return float(gain), float((t - gain * p) / n)

    def apply(self, prediction: Any) -> Any:
        gain, offset = self.fitted()
        return gain * prediction + offset


def _mean(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
