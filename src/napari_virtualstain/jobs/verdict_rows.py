"""Which stains and which wells agree with their truth? A row of the tables each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval, of_mean
from napari_virtualstain.evaluation.findings import trust_in
from napari_virtualstain.evaluation.profiles import Key
from napari_virtualstain.jobs.verdict_fields import SCORES, ComparedField

__all__ = ["Row", "agreement_of", "channel_row", "well_rows", "worst_fields"]

Row = dict[str, Any]


def channel_row(
    stain: str, fields: Sequence[ComparedField], of_field: Sequence[Key], amount: Interval,
    features: Sequence[Row], drawn: Mapping[str, Any],
) -> Row:  # fmt: skip
    """Return what is known of a stain: scores of pictures, amounts, and whether to trust it."""
    own = [row["pearson"] for row in features if row["channel"] == stain]
    known = [r for r in own if np.isfinite(r)]
    r = float(np.mean(known)) if known else float("nan")
    found: Row = {"stain": stain}
    for score in SCORES:
        values = np.array([one.scores[f"{score}_{stain}"] for one in fields])
        there = np.isfinite(values)
        some = [well for well, is_there in zip(of_field, there, strict=True) if is_there]
        found[score] = float(values[there].mean()) if there.any() else float("nan")
        if score == "pcc" and len(set(some)) > 1:
            within = of_mean(values[there], some, **drawn)
            found |= {"pcc_low": within.low, "pcc_high": within.high}
    return found | {"amount": amount.value, "features": r, "trust": trust_in(r)}


def well_rows(
    fields: Sequence[ComparedField], wells: Sequence[Key], stains: Sequence[str],
    labels: Mapping[Key, str],
) -> list[Row]:  # fmt: skip
    """Return the wells, those first whose nuclei and pictures agree least."""
    rows: list[Row] = []
    for well in wells:
        inside = [one for one in fields if one.key[:2] == well]
        nuclei = {name: sum(one.nuclei[name] for one in inside) for name in inside[0].nuclei}
        row: Row = {
            "plate": well[0], "well": well[1], "treatment": labels.get(well, ""),
            "fields": len(inside), **nuclei, "agreement": agreement_of(inside, stains),
        }  # fmt: skip
        for score in (f"{s}_{stain}" for stain in stains for s in SCORES):
            row[score] = _mean([one.scores[score] for one in inside])
        rows.append(row)
    return sorted(rows, key=lambda row: row["agreement"])


def agreement_of(fields: Sequence[ComparedField], stains: Sequence[str]) -> float:
    """Return how alike fields are to their truth, up to 1: by this the worst are found.

    The mean of the F1 of nuclei and the mean PCC of the stains; where one is not defined, the
    other.
    """
    total = sum(one.nuclei["true"] + one.nuclei["predicted"] for one in fields)
    f1 = 2 * sum(one.nuclei["matched"] for one in fields) / total if total else float("nan")
    pcc = _mean([one.scores[f"pcc_{stain}"] for one in fields for stain in stains])
    found = _mean([f1, pcc])
    return 1.0 if np.isnan(found) else found


def _mean(values: Sequence[float]) -> float:
    known: NDArray[np.float64] = np.array([v for v in values if not np.isnan(v)])
    return float(known.mean()) if len(known) else float("nan")


def worst_fields(
    fields: list[ComparedField], stains: tuple[str, ...], most: int = 3
) -> tuple[ComparedField, ...]:
    """Return the fields that agree least with their truth, of one well no more than one."""
    found: dict[Key, ComparedField] = {}
    for one in sorted(fields, key=lambda one: agreement_of([one], stains)):
        found.setdefault(one.key[:2], one)
    return tuple(found.values())[:most]
