"""What do clicks teach? A logistic regression, and how it calls clicks that were left out.

The penalty (L2) is strong, since some twenty clicks teach it, and both classes count alike, however
many clicks each has. scikit-learn fits it.

How good it is, is asked of clicks that were left out, each with all others whose windows overlap:
two clicks on one cell would otherwise tell each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from napari_virtualstain.errors import PixelDataError, from_extra
from napari_virtualstain.qc.clicked import (
    Artifacts,
    Click,
    Tried,
    cell_places,
    missing_clicks,
    unlike,
)
from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.places import place_features, place_names, step_of, window_of

__all__ = ["fit_artifacts"]

_PENALTY = 0.1
"""Inverse strength of the penalty (C of scikit-learn)."""
_AMBER, _RED = 0.1, 0.3
"""Least shares of what is looked at that are called bad, from which a field is so."""
_ON_CELLS = 0.9
"""Share of the clicks that lie on cells, from which on cells alone are meant."""


def fit_artifacts(
    clicked: Sequence[tuple[QcField, Sequence[Click]]],
    *,
    model: str = "",
    fingerprint: str = "",
    versions: dict[str, str] | None = None,
) -> Artifacts:
    """Learn to tell places that were clicked as bad from those that were clicked as good.

    Parameters
    ----------
    clicked
        Fields of one kind, each with the clicks on it.
    model, fingerprint, versions
        See `Artifacts`.

    Raises
    ------
    PixelDataError
        If there are too few clicks of either kind, one lies outside, or fields are not alike.
    MissingExtraError
        If scikit-learn is not installed.
    """
    clicks = tuple(click for _, own in clicked for click in own)
    if too_few := missing_clicks(clicks):
        raise PixelDataError(too_few)
    first = clicked[0][0]
    for field, own in clicked:
        why = unlike(first.pixel_um, place_names(first), field)
        if why:
            raise PixelDataError(f"The clicks are on fields that are not alike: {why}. Click on "
                                 "predictions of one model.")  # fmt: skip
        for click in own:
            if not (0 <= click.y < field.shape[0] and 0 <= click.x < field.shape[1]):
                raise PixelDataError(
                    f"The click at {click.y:g},{click.x:g} lies outside of its field of "
                    f"{field.shape[0]} x {field.shape[1]} px. Leave it out."
                )
    seen = np.stack([_at(place_features(f), f, click) for f, own in clicked for click in own])
    wide = np.concatenate(
        [place_features(field).reshape(seen.shape[1], -1).T for field, _ in clicked]
    ).std(axis=0)
    bad = np.array([click.label == "bad" for click in clicks])
    near = _overlapping(clicks, window_of(first.pixel_um))
    right = np.zeros(len(clicks))
    for n in range(len(clicks)):
        rest = ~near[n]
        if len(set(bad[rest])) < 2:
            right[n] = 0  # nothing is left to learn from, and nothing was learnt
            continue
        mean, scale, weights, intercept = _fit(seen[rest], bad[rest], wide)
        right[n] = (((seen[n] - mean) / scale) @ weights + intercept > 0) == bad[n]
    tried = _tried(bad, right)
    mean, scale, weights, intercept = _fit(seen, bad, wide)
    on_cells = [bool(_at(cell_places(f)[None], f, click)[0]) for f, own in clicked for click in own]
    wrong = 1 - tried.good_right / tried.good
    amber = max(_AMBER, round(2 * wrong, 3))
    return Artifacts(
        model=model, fingerprint=fingerprint, pixel_um=first.pixel_um, names=place_names(first),
        mean=_short(mean), scale=_short(scale), weights=_short(weights),
        intercept=_short([intercept])[0], on_cells=float(np.mean(on_cells)) >= _ON_CELLS,
        amber=amber, red=max(_RED, 2 * amber),
        tried=tried, clicks=clicks, versions=versions or {},
    )  # fmt: skip


# --- inside ---------------------------------------------------------------------------------------


def _fit(
    seen: NDArray[np.float32], bad: NDArray[np.bool_], wide: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], float]:
    """Return mean and scale of the numbers, weights and intercept.

    Numbers are scaled half by what the clicks have, and half by what the fields have: the former
    alone makes much of what is alike in ten clicks by chance, the latter little of what is subtle.
    """
    linear = from_extra(
        "sklearn.linear_model", extra="phenotype",
        needs="Learning from clicks takes scikit-learn, of the extra [phenotype].",
    )  # fmt: skip
    mean = seen.mean(axis=0, dtype=np.float64)
    scale = np.sqrt((seen.var(axis=0, dtype=np.float64) + np.square(wide, dtype=np.float64)) / 2)
    scale = np.where(scale > 1e-6, scale, 1.0)
    found = linear.LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=1000)
    found.fit((seen - mean) / scale, bad)
    return mean, scale, found.coef_[0], float(found.intercept_[0])


def _tried(bad: NDArray[np.bool_], right: NDArray[np.float64]) -> Tried:
    good_right, bad_right = int(right[~bad].sum()), int(right[bad].sum())
    good, n_bad = int((~bad).sum()), int(bad.sum())
    # As many as both kinds weigh: of 30 good and 5 bad clicks, "good" for all is right of half.
    share = (good_right / good + bad_right / n_bad) / 2
    trials = 2 * min(good, n_bad)
    by_chance = float(binom.sf(round(share * trials) - 1, trials, 0.5))
    return Tried(
        good=good, good_right=good_right, bad=n_bad, bad_right=bad_right,
        by_chance=float(f"{min(max(by_chance, 0.0), 1.0):.3g}"),
    )  # fmt: skip


def _overlapping(clicks: Sequence[Click], window: int) -> NDArray[np.bool_]:
    """Return which clicks share pixels, (N, N); each does with itself."""
    at = np.array([(click.y, click.x) for click in clicks])
    near = (np.abs(at[:, None] - at[None]) < window).all(axis=-1)
    same = np.array([[one.field == other.field for other in clicks] for one in clicks])
    found: NDArray[np.bool_] = near & same
    return found


def _at(places: NDArray[Any], field: QcField, click: Click) -> NDArray[Any]:
    """Return what a map of places (F, y, x) has at a click."""
    step = step_of(field.pixel_um)
    y, x = (min(round(at / step), n - 1) for at, n in zip((click.y, click.x), places.shape[1:],
                                                        strict=True))  # fmt: skip
    found: NDArray[Any] = places[:, y, x]
    return found


def _short(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values)
