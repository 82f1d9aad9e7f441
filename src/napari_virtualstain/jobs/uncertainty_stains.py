"""What is the spread of one stain worth? Fitted on half of the fields, judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtualstain.embedding.intervals import Interval, bootstrap
from napari_virtualstain.jobs.uncertainty_fields import DoubtfulField, StainPixels
from napari_virtualstain.metrics.intervals import (
    Retention,
    SpreadInterval,
    coverage_by_spread,
    fit_interval,
    retention,
)

__all__ = ["StainDoubt", "judge_stain"]

_NEAR = 0.05
"""How far coverage may be off its level and still count as kept."""
_LEAST = 200
"""Pixels of each half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StainDoubt:
    """What was found of one stain.

    Parameters
    ----------
    name
        Of the stain.
    interval
        That goes with each spread.
    coverage
        Share of held-back pixels whose truth lies within, with its interval over fields.
    parts
        The same by tenths of the spread, from the surest.
    spread, brightness
        What is left of the error if pixels are left out by spread, and by how bright they are.
    width
        Median half-width of held-back pixels, in the stain's units.
    """

    name: str
    interval: SpreadInterval
    coverage: Interval
    parts: tuple[float, ...]
    spread: Retention
    brightness: Retention
    width: float

    @property
    def holds(self) -> bool:
        """Whether as much lies within as should, within 5 points."""
        return abs(self.coverage.value - self.interval.level) <= _NEAR

    @property
    def orders(self) -> bool:
        """Whether the spread finds errors better than chance, and than brightness alone."""
        return self.spread.area < min(1.0, self.brightness.area)

    def sentence(self, level: float) -> str:
        """Say it in words."""
        held = (
            f"{self.name}: intervals of {level:.0%} hold {self.coverage.value:.0%} of the truth "
            f"({self.coverage.low:.0%} to {self.coverage.high:.0%})"
        )
        if not self.holds:
            held += ", which is not what they say"
        left = f"{1 - self.spread.error[_HALF] / self.spread.error[0]:.0%}"
        if self.orders:
            return f"{held}; without the less sure half of the pixels the error is {left} less"
        return (
            f"{held}; the spread does not find errors better than brightness does: do not use it "
            "to choose where to look"
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return a row a tenth of the spread."""
        return [
            {"stain": self.name, "tenth": n + 1, "coverage": share, "level": self.interval.level}
            for n, share in enumerate(self.parts)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "stain": self.name, "coverage": self.coverage.value, "low": self.coverage.low,
            "high": self.coverage.high, "holds": self.holds, "orders": self.orders,
            "coverage_by_tenth": list(self.parts), "median_half_width": self.width,
            "retention": {
                "kept": list(self.spread.kept), "by_spread": list(self.spread.error),
                "by_brightness": list(self.brightness.error),
                "area_spread": self.spread.area, "area_brightness": self.brightness.area,
            },
            "interval": self.interval.model_dump(),
        }  # fmt: skip


_HALF = 10
"""Place in a retention curve at which half of the pixels are left."""


def judge_stain(
    name: str,
    fit: Sequence[DoubtfulField],
    rest: Sequence[DoubtfulField],
    *,
    level: float,
    draws: int,
    seed: int,
) -> StainDoubt | None:
    """Fit on one half of the fields and judge on the other; `None` if either has too little.

    Parameters
    ----------
    name
        Of the stain.
    fit, rest
        Fields to fit on, and to judge on.
    level
        Share of the truth that should lie within.
    draws, seed
        Of the interval of the coverage over fields.
    """
    taught = [field.stains[name] for field in fit if name in field.stains]
    held = [field.stains[name] for field in rest if name in field.stains]
    if len(held) < 2 or min(map(_pixels, (taught, held))) < _LEAST:
        return None
    interval = fit_interval(*_joined(taught)[:2], level=level)
    spread, error, said = _joined(held)
    inside = [
        (np.abs(one.error) <= interval.half_width(one.spread)).astype(np.float64) for one in held
    ]
    within = np.array([part.sum() for part in inside])
    sizes = np.array([len(part) for part in inside])
    covered = bootstrap(
        lambda some: float(within[some].sum() / sizes[some].sum()), range(len(held)),
        draws=draws, seed=seed,
    )  # fmt: skip
    return StainDoubt(
        name=name, interval=interval, coverage=covered,
        parts=tuple(coverage_by_spread(interval, spread, error)),
        spread=retention(spread, error), brightness=retention(said, error),
        width=float(np.median(interval.half_width(spread))),
    )  # fmt: skip


def _pixels(fields: Sequence[StainPixels]) -> int:
    return sum(len(one.error) for one in fields)


def _joined(fields: Sequence[StainPixels]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spread, error, said = (
        np.concatenate([getattr(one, part) for one in fields])
        for part in ("spread", "error", "predicted")
    )
    return spread, error, said
