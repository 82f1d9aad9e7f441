"""What a gain and an offset alone explain of the error of a model on other images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.tuning_blocks import EDGE, predictions
from napari_virtualstain.metrics.pixel import pearson

__all__ = ["Line", "explained_by_line", "fitted_lines", "recalibrated"]

_A_PICTURE = 0.5
"""Correlation from which on a prediction is a picture of its stain."""
_PART, _PARTS = 256, 4
"""Edge in pixels and number of fields that are looked at before a tuning."""


class Line:
    """The gain and offset that bring a prediction nearest to the truth."""

    def __init__(self) -> None:
        self._sums = np.zeros(5)

    def add(self, prediction: Any, truth: Any) -> None:
        """Take a field into account; where the truth is NaN it is not known."""
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
        """Return a prediction with gain and offset."""
        gain, offset = self.fitted()
        return gain * prediction + offset


def fitted_lines(
    before: Generator,
    teach: PairedSet,
    base: Sequence[Normalisation],
    largest: int = EDGE,
    most: int | None = None,
) -> list[Line]:
    """Return by stain the gain and offset that are fitted to fields."""
    found = [Line() for _ in base]
    for _, truth, (plain, _) in predictions(teach, (before, before), largest, most):
        for c, line in enumerate(found):
            line.add(base[c].invert(plain[c]), truth[c])
    return found


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
    lines = fitted_lines(before, teach, base)
    return tuple(_through(norm, line) for norm, line in zip(base, lines, strict=True))


def _through(norm: Normalisation, line: Line) -> Normalisation:
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
    lines = fitted_lines(before, teach, base, _PART, _PARTS)
    errors: list[list[tuple[float, float, float]]] = [[] for _ in base]
    for _, truth, (plain, _) in predictions(held, (before, before), _PART, _PARTS):
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
