"""One row of numbers for each plane of a field, stain and model, and what models come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtualstain.jobs.compare import PlaneScore

__all__ = [
    "BETTER",
    "COLUMNS",
    "KEYS",
    "LIMITS",
    "Ranked",
    "distance",
    "numbers_of",
    "ranked",
    "worst_first",
]

KEYS = (
    "model", "name", "plate", "well", "site", "treatment", "time", "z", "stain", "target",
    "within", "path", "scene", "target_path", "target_scene",
)  # fmt: skip
"""What a row is about. ``name``, ``path`` and ``scene`` are those of the prediction."""
BETTER = {
    "pcc": "high", "ssim": "high", "ms_ssim": "high", "psnr": "high", "mae": "low", "mse": "low",
    "gain": "one", "offset": "zero", "rank": "high", "detail": "one",
}  # fmt: skip
"""Numbers that can be ranked, and what is good: as high or low as can be, or near 1 or 0."""
LIMITS = {
    "pcc": ("floor_pcc", "ceiling_pcc"), "ssim": ("constant_ssim", "ceiling_ssim"),
    "psnr": ("constant_psnr", None), "mae": ("constant_mae", None), "mse": ("constant_mse", None),
}  # fmt: skip
"""Floor and ceiling of a number: what the bright field itself or a constant picture scores, and
what a second measurement does."""
COLUMNS = (
    "pixels", "pcc", "floor_pcc", "ceiling_pcc", "ssim", "constant_ssim", "ceiling_ssim",
    "ms_ssim", "psnr", "constant_psnr", "mae", "constant_mae", "mse", "constant_mse", "gain",
    "offset", "rank", "detail", "finest_px", "data_range", "missing",
)  # fmt: skip
"""Numbers of a row, as `jobs.evaluation.ChannelScore` explains them."""

Row = Mapping[str, Any]


def numbers_of(
    one: PlaneScore, second: PlaneScore | None, *, with_floor: bool, whole: bool
) -> dict[str, float]:
    """Return the numbers of a row; NaN is not defined.

    Parameters
    ----------
    one
        Prediction against truth.
    second
        A second measurement against the same truth, if there is one.
    with_floor
        Whether the bright field was at hand.
    whole
        Whether all pixels count, so that those that are missing mean something.
    """
    nan, c = float("nan"), one.compared
    constant = c.truth_variance
    flat = 10 * math.log10(c.data_range**2 / constant) if constant > 0 else nan
    found = {
        "pixels": float(c.count), "pcc": c.pearson, "floor_pcc": one.floor if with_floor else nan,
        "ceiling_pcc": nan if second is None else second.compared.pearson, "ssim": one.ssim,
        "constant_ssim": one.constant_ssim, "ceiling_ssim": nan if second is None else second.ssim,
        "ms_ssim": one.ms_ssim, "psnr": c.psnr, "constant_psnr": flat, "mae": c.mae,
        "constant_mae": one.constant_mae, "mse": c.mse, "constant_mse": constant, "gain": c.gain,
        "offset": c.offset, "rank": one.rank, "detail": one.power[-1] if one.power else nan,
        "finest_px": one.finest_px, "data_range": c.data_range,
        "missing": c.missing if whole else nan,
    }  # fmt: skip
    # As in JSON: the period of waves of which none agree is no number either.
    return {name: value if math.isfinite(value) else nan for name, value in found.items()}


def distance(number: str, value: float | None) -> float:
    """Return how bad a number is: the larger, the worse; NaN where there is none.

    Examples
    --------
    >>> distance("pcc", 0.5), distance("mae", 2.0), distance("gain", 0.5), distance("gain", 2.0)
    (-0.5, 2.0, 0.693..., 0.693...)
    """
    if value is None or not np.isfinite(value):
        return float("nan")
    way = BETTER[number]
    if way == "one":  # half as bright is as wrong as twice as bright
        return abs(math.log(value)) if value > 0 else float("inf")
    return {"high": -value, "low": value, "zero": abs(value)}[way]


def worst_first(rows: Iterable[Row], number: str) -> list[Row]:
    """Return rows with the worst of a number first, those without one last.

    Parameters
    ----------
    rows
        With the number by its name.
    number
        One of `BETTER`.
    """

    def badness(row: Row) -> float:
        found = distance(number, row[number])
        return -found if np.isfinite(found) else (-np.inf if found == np.inf else np.inf)

    return sorted(rows, key=badness)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What one model comes to in one stain.

    Parameters
    ----------
    stain, model
        Which.
    rows
        Planes over which its numbers are averaged: those that all models have.
    means
        Of each number of `BETTER`; NaN where none is defined.
    places
        Of each number, 1 for the best model; models that are alike share a place.
    """

    stain: str
    model: str
    rows: int
    means: Mapping[str, float]
    places: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "stain": self.stain, "model": self.model, "rows": self.rows, "means": dict(self.means),
            "places": dict(self.places),
        }  # fmt: skip


def ranked(rows: Sequence[Row]) -> list[Ranked]:
    """Return the means of each model and stain, over the planes that all models have, ranked.

    Parameters
    ----------
    rows
        Of a table.
    """
    found = []
    for stain in dict.fromkeys(row["stain"] for row in rows):
        here = [row for row in rows if row["stain"] == stain]
        models = list(dict.fromkeys(row["model"] for row in here))
        common = set.intersection(
            *({_plane(row) for row in here if row["model"] == model} for model in models)
        )
        means = {
            model: {
                number: _mean(
                    row[number] for row in here
                    if row["model"] == model and _plane(row) in common
                )
                for number in BETTER
            }
            for model in models
        }  # fmt: skip
        found += [
            Ranked(
                stain=stain, model=model, rows=len(common), means=means[model],
                places={
                    number: 1 + sum(
                        distance(number, means[other][number])
                        < distance(number, means[model][number]) - 1e-12
                        for other in models
                    )
                    for number in BETTER
                    if np.isfinite(means[model][number])
                },
            )
            for model in models
        ]  # fmt: skip
    return found


def _plane(row: Row) -> tuple[Any, ...]:
    """Return which plane of which true image a row is about."""
    return row["target_path"], row["target_scene"], row["time"], row["z"]


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
