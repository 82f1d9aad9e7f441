"""Which features are looked at? Those that tell something in the truth, whoever predicts.

Chosen on the truth alone: a choice that looks at the prediction would leave out what it is bad at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.profiles import Profiles

__all__ = ["median_of", "robust_scale", "select_features"]

MOST_MISSING = 0.05
"""Share of rows that a feature may lack."""
MOST_ALIKE = 0.9
"""Correlation above which two features are one."""
MOST_APART = 15.0
"""Robust standard deviations from the middle of the controls, which none of them may exceed."""
_MAD = 1.4826
"""Of a normal distribution, the standard deviation over the median absolute deviation."""


def median_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of what is known of each column; NaN where nothing is."""
    if np.isfinite(values).all():
        return np.asarray(np.median(values, axis=0), np.float64)
    out = np.full(values.shape[1], np.nan)
    there = np.isfinite(values).any(axis=0)
    out[there] = np.nanmedian(values[:, there], axis=0)
    return out


def robust_scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how each column varies: median absolute deviation, of a normal distribution its SD.

    The standard deviation where more than half of the rows are equal; NaN where all of them are.
    """
    middle = median_of(values)
    scale = _MAD * median_of(np.abs(values - middle))
    known = np.isfinite(values)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / n
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / n)
    tiny = 1e-9 * np.maximum(np.abs(middle), 1e-300)
    scale = np.where(scale > tiny, scale, spread)
    return np.asarray(np.where(scale > tiny, scale, np.nan), np.float64)


def select_features(
    truth: Profiles, controls: Sequence[bool]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the features that are kept, and for each other why it is not.

    Parameters
    ----------
    truth
        A row a field or well.
    controls
        Which of them are untreated.

    Returns
    -------
    tuple
        Names that are kept, in their order; reason by name of the others.

    Raises
    ------
    PixelDataError
        If none is left.

    Notes
    -----
    One after the other: more than 5 % of the rows are missing; no variance; a control lies more
    than 15 robust standard deviations from the median of the controls; correlated by more than 0.9
    (Pearson, either sign) with one that is kept. Of two that correlate the one is kept that
    correlates less with all others. Published (Cross-Zamirski et al. 2022,
    doi:10.1038/s41598-022-12914-x, after Way et al.) is besides that features are missing where
    they are 0, which a count may well be, and a list of features of CellProfiler.
    """
    values = truth.values
    why: dict[str, str] = {}
    missing = np.isnan(values).mean(axis=0)
    for name, share in zip(truth.names, missing, strict=True):
        if share > MOST_MISSING:
            why[name] = f"missing in {100 * share:.0f} % of the rows"
    for name, column in zip(truth.names, values.T, strict=True):
        known = column[np.isfinite(column)]
        if name not in why and np.ptp(known) <= 1e-9 * np.abs(known).max():
            why[name] = "the same everywhere"
    untreated = values[np.asarray(controls, bool)]
    for name, column in zip(truth.names, untreated.T, strict=True):
        if name in why or not np.isfinite(column).any():
            continue
        scale = robust_scale(column[:, None])[0]
        away = np.nanmax(np.abs(column - np.nanmedian(column)))
        if away > MOST_APART * scale:
            why[name] = f"a control is {away / scale:.0f} SD away from the others"
    names = [name for name in truth.names if name not in why]
    for name, other, r in _alike(truth.columns(names).values, names):
        why[name] = f"correlates by {r:.2f} with {other}"
    kept = tuple(name for name in truth.names if name not in why)
    if not kept:
        raise PixelDataError(
            f"No feature tells anything in the truth; of {truth.names[0]}, for example: "
            f"{why[truth.names[0]]}. Compare more wells."
        )
    return kept, why


def _alike(values: NDArray[np.float64], names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return what is left out, for which feature, and how they correlate."""
    if len(names) < 2:
        return []
    filled = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    r = np.corrcoef(filled.T)
    total = np.abs(r).sum(axis=0)
    kept: list[int] = []
    out = []
    # Rounded, so that of two that are equal the first is kept whatever the order of the rows.
    for one in np.argsort(np.round(total, 9), kind="stable"):
        near = max(kept, key=lambda other: abs(r[one, other]), default=None)
        if near is not None and abs(r[one, near]) > MOST_ALIKE:
            out.append((names[one], names[near], float(r[one, near])))
        else:
            kept.append(int(one))
    return out
