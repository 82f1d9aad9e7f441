"""Are predicted single cells distributed as the true ones? Distances beside what truth itself has.

All is asked well by well, so that treatments cannot stand in for each other, and of as many cells
on each side: a distance between samples is never 0, and the larger the fewer cells there are. So
each is given beside its floor, the distance between two halves of the true cells of the well, and,
where a treatment has several wells, that between the true cells of two of them. Halves are of
places: predicted cells of one half of the places are held against the true ones of the other half,
or the same cells would lie on both sides, and on one side only in the floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from napari_virtualstain.embedding.intervals import Interval, of_difference, of_mean
from napari_virtualstain.errors import PixelDataError, from_extra
from napari_virtualstain.evaluation.groups import group_of
from napari_virtualstain.evaluation.profiles import Key

__all__ = ["ALL", "FEWEST", "Cells", "Distance", "auroc", "compare_populations", "energy",
           "recognised", "standardised", "wasserstein"]  # fmt: skip

ALL = "all features"
"""Name of the group that holds every feature."""
FEWEST = 10
"""Cells on either side below which a well is not asked: its halves would be of a few cells."""
_SPLITS = 5
_FOLDS = 5
_FEW_WELLS = 2

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Features of single cells of each well.

    Parameters
    ----------
    names
        Of the D features.
    truth, prediction
        (cells, D) by well (plate, well); the number of cells may differ. NaN is missing.
    true_places, predicted_places
        (cells,) by well: a number of the part of a field that a cell lies in, the same on both
        sides.
    """

    names: tuple[str, ...]
    truth: Mapping[Key, Array]
    prediction: Mapping[Key, Array]
    true_places: Mapping[Key, NDArray[np.int64]]
    predicted_places: Mapping[Key, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far apart predicted and true cells are, in the mean over wells.

    Parameters
    ----------
    group
        Of features: `ALL`, or as `evaluation.groups.group_of` says.
    feature
        The one feature, ``""`` for all of the group.
    features
        How many they are.
    wasserstein
        Wasserstein-1 distance in standard deviations of the true cells within their wells, the
        mean over features.
    halves
        That between the true cells of two halves of the places.
    replicates
        That between the true cells of two wells of one treatment; `None` where there are none.
    excess
        `wasserstein` less `halves`, well by well.
    energy, energy_halves
        Energy distance of the features together, and of halves; `None` of single features.
    auroc
        How well a classifier tells predicted from true cells of wells that it has not seen, 0.5
        for not at all; `None` of single features, or where none was asked.
    """

    group: str
    feature: str
    features: int
    wasserstein: Interval
    halves: float
    replicates: float | None
    excess: Interval
    energy: Interval | None = None
    energy_halves: float | None = None
    auroc: Interval | None = None


def wasserstein(one: Array, other: Array) -> Array:
    """Return the Wasserstein-1 distance of each column.

    Parameters
    ----------
    one, other
        (N, D), of one length: the mean distance of sorted values then is that of the distributions.

    Examples
    --------
    >>> wasserstein(np.array([[0.0], [1.0]]), np.array([[3.0], [2.0]])).tolist()
    [2.0]
    """
    found: Array = np.abs(np.sort(one, axis=0) - np.sort(other, axis=0)).mean(axis=0)
    return found


def energy(one: Array, other: Array) -> float:
    """Return the energy distance of two samples of points, from 0.

    Parameters
    ----------
    one, other
        (N, D) and (M, D).

    References
    ----------
    Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018: the root of
    ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``.

    Examples
    --------
    >>> bool(energy(np.zeros((4, 2)), np.ones((3, 2))) == np.sqrt(2 * np.sqrt(2)))
    True
    """
    between, first, second = cdist(one, other), cdist(one, one), cdist(other, other)
    return float(np.sqrt(max(2 * between.mean() - first.mean() - second.mean(), 0.0)))


def auroc(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve, ties counted half; NaN where one side is empty.

    Examples
    --------
    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def compare_populations(
    cells: Cells,
    treatments: Mapping[Key, str],
    *,
    draws: int = 500,
    seed: int = 0,
) -> tuple[list[Distance], list[str]]:
    """Return the distances of each group of features and of each feature.

    Parameters
    ----------
    cells
        Of each well.
    treatments
        Of wells that have one.
    draws, seed
        Of the bootstrap over wells; the seed also says which cells are compared.

    Returns
    -------
    distances, notes
        `ALL` first, then the groups, each followed by its features; and what was left out.

    Raises
    ------
    PixelDataError
        If fewer than two wells have cells enough.
    """
    ready, notes = _prepared(cells)
    kept, wells = ready.names, list(ready.truth)
    rng = np.random.default_rng(seed)
    one, halves, apart = (np.full((len(wells), len(kept)), np.nan) for _ in range(3))
    groups: dict[str, list[int]] = {ALL: list(range(len(kept)))}
    for column, name in enumerate(kept):
        groups.setdefault(str(group_of(name)), []).append(column)
    moved, still = ({name: np.full(len(wells), np.nan) for name in groups} for _ in range(2))
    partners = _partners(wells, treatments)
    for row, well in enumerate(wells):
        drawn = [_halves(ready, well, partners.get(well), rng) for _ in range(_SPLITS)]
        drawn = [each for each in drawn if len(each[0]) > 1]
        if not drawn:
            continue
        one[row] = np.mean([wasserstein(p, b) for p, _, b, _ in drawn], axis=0)
        halves[row] = np.mean([wasserstein(a, b) for _, a, b, _ in drawn], axis=0)
        beside = [wasserstein(c, b) for _, _, b, c in drawn if c is not None]
        if beside:
            apart[row] = np.mean(beside, axis=0)
        for name, own in groups.items():
            moved[name][row] = np.mean([energy(p[:, own], b[:, own]) for p, _, b, _ in drawn])
            still[name][row] = np.mean([energy(a[:, own], b[:, own]) for _, a, b, _ in drawn])
    how: dict[str, Any] = {"draws": draws, "seed": seed}
    known = np.isfinite(one).all(axis=1)
    there = [well for well, is_known in zip(wells, known.tolist(), strict=True) if is_known]
    if len(there) < _FEW_WELLS:
        raise PixelDataError(
            f"The cells of {len(wells) - len(there)} of {len(wells)} wells lie in one place, and "
            "halves of a well cannot be compared. Compare larger fields."
        )

    def distance(group: str, feature: str, own: list[int]) -> Distance:
        w, h = one[:, own].mean(axis=1)[known], halves[:, own].mean(axis=1)[known]
        beside = apart[:, own].mean(axis=1)
        whole = not feature
        return Distance(
            group=group, feature=feature, features=len(own), wasserstein=of_mean(w, there, **how),
            halves=float(h.mean()), excess=of_difference(w, h, there, **how),
            replicates=None if np.isnan(beside).all() else float(np.nanmean(beside)),
            energy=of_mean(moved[group][known], there, **how) if whole else None,
            energy_halves=float(still[group][known].mean()) if whole else None,
        )  # fmt: skip

    found = []
    for name, own in groups.items():
        found.append(distance(name, "", own))
        if name != ALL:
            found += [distance(name, kept[column], [column]) for column in own]
    return found, notes


def recognised(
    cells: Cells, groups: Sequence[str], *, draws: int = 500, seed: int = 0
) -> dict[str, Interval]:
    """Say how well predicted cells are told from true ones, by the features of each group.

    Parameters
    ----------
    cells
        Of each well.
    groups
        Names of groups that `compare_populations` returned.
    draws, seed
        Of the bootstrap over wells; the seed also deals wells out.

    Returns
    -------
    dict
        Of each group the area under the ROC curve, in the mean over wells: 0.5 where nothing tells
        the two apart, 1 where every cell is known for what it is.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    PixelDataError
        If fewer than two wells have cells enough.

    Notes
    -----
    A two-sample test by a classifier (Lopez-Paz and Oquab 2017, arXiv:1610.06545): gradient boosted
    trees, taught by both sides of some wells, asked of the cells of wells that did not teach. Each
    side of a well has as many cells.
    """
    ensemble = from_extra(
        "sklearn.ensemble", extra="phenotype",
        needs="Telling predicted from true cells takes scikit-learn, of the extra [phenotype].",
    )  # fmt: skip
    ready = standardised(cells)
    kept, wells = ready.names, list(ready.truth)
    rng = np.random.default_rng(seed)
    values, predicted, of_well = [], [], []
    for number, well in enumerate(wells):
        t, p = ready.truth[well], ready.prediction[well]
        n = min(len(t), len(p))
        for side, rows in ((False, t), (True, p)):
            values.append(rows[rng.permutation(len(rows))[:n]])
            predicted += [side] * n
            of_well += [number] * n
    table, sides, owner = np.concatenate(values), np.array(predicted), np.array(of_well)
    order = rng.permutation(len(wells))
    fold_of = np.empty(len(wells), int)
    fold_of[order] = np.arange(len(wells)) % min(_FOLDS, len(wells))
    found = {}
    for name in groups:
        own = [c for c, feature in enumerate(kept) if name in (ALL, str(group_of(feature)))]
        scores = np.empty(len(table))
        for fold in range(int(fold_of.max()) + 1):
            asked = fold_of[owner] == fold
            trees = ensemble.HistGradientBoostingClassifier(
                max_iter=50, min_samples_leaf=10, early_stopping=False, random_state=seed
            ).fit(table[~asked][:, own], sides[~asked])
            scores[asked] = trees.predict_proba(table[asked][:, own])[:, 1]
        each = np.array([auroc(scores[owner == n], sides[owner == n]) for n in range(len(wells))])
        found[name] = of_mean(each, wells, draws=draws, seed=seed)
    return found


def standardised(cells: Cells) -> Cells:
    """Return wells, cells and features that can be compared, in SD of true cells in a well.

    Raises
    ------
    PixelDataError
        If fewer than two wells have cells enough.
    """
    return _prepared(cells)[0]


def _prepared(cells: Cells) -> tuple[Cells, list[str]]:
    """Return what can be compared, and say what cannot."""
    notes = []
    pooled = np.concatenate([np.zeros((0, len(cells.names))), *cells.truth.values()])
    other = np.concatenate([np.zeros((0, len(cells.names))), *cells.prediction.values()])
    spread = _spread_within(list(cells.truth.values()), len(cells.names))
    there = [np.isfinite(side).mean(axis=0) > 0.5 for side in (pooled, other) if len(side)]
    good = (spread > 0) & np.all([np.ones(len(cells.names), bool), *there], axis=0)
    kept = [name for name, is_good in zip(cells.names, good, strict=True) if is_good]
    if len(kept) < len(cells.names):
        notes.append(
            f"{len(cells.names) - len(kept)} of {len(cells.names)} features of single cells are "
            "the same in all true cells of a well, or mostly missing, and are left out"
        )

    def scaled(
        side: Mapping[Key, Array], places: Mapping[Key, NDArray[np.int64]]
    ) -> tuple[dict[Key, Array], dict[Key, NDArray[np.int64]]]:
        tables, where = {}, {}
        for well, table in side.items():
            rows = table[:, good] / spread[good]
            whole = np.isfinite(rows).all(axis=1)
            tables[well], where[well] = rows[whole], places[well][whole]
        return tables, where

    truth, t_places = scaled(cells.truth, cells.true_places)
    prediction, p_places = scaled(cells.prediction, cells.predicted_places)
    few = [
        well for well in truth
        if min(len(truth[well]), len(prediction.get(well, ()))) < FEWEST
    ]  # fmt: skip
    wells = [well for well in truth if well not in few]
    if few:
        notes.append(
            f"{len(few)} of {len(truth)} wells have fewer than {FEWEST} true or predicted cells, "
            "whose distributions are not compared"
        )
    if len(wells) < _FEW_WELLS or not kept:
        raise PixelDataError(
            f"Single cells are compared in {_FEW_WELLS} wells or more with {FEWEST} cells in truth "
            f"and prediction, and {len(wells)} of {len(truth)} have them. Compare more fields or "
            "wells."
        )
    ready = Cells(
        names=tuple(kept), truth={well: truth[well] for well in wells},
        prediction={well: prediction[well] for well in wells}, true_places=t_places,
        predicted_places=p_places,
    )  # fmt: skip
    return ready, notes


def _spread_within(wells: Sequence[Array], features: int) -> Array:
    """Return the standard deviation of cells about the mean of their well, NaN where unknown.

    That over all wells would be as large as what treatments do, and hide how cells differ.
    """
    squares, counts = np.zeros(features), np.zeros(features)
    for table in wells:
        known = np.isfinite(table)
        n = known.sum(axis=0)
        mean = np.where(known, table, 0.0).sum(axis=0) / np.maximum(n, 1)
        squares += (np.where(known, table - mean, 0.0) ** 2).sum(axis=0)
        counts += np.maximum(n - 1, 0)
    found: Array = np.sqrt(np.divide(squares, counts, out=np.full(features, np.nan),
                                     where=counts > 0))  # fmt: skip
    # What is left of a constant feature is rounding.
    level = np.max([np.nanmax(np.abs(t), axis=0, initial=0.0) for t in wells], axis=0, initial=0.0)
    return np.where(found > 1e-9 * level, found, 0.0)


def _partners(wells: Sequence[Key], treatments: Mapping[Key, str]) -> dict[Key, Key]:
    """Return of each well the next one of its treatment, of its own plate where there is one."""
    found = {}
    for number, well in enumerate(wells):
        others = [*wells[number + 1 :], *wells[:number]]
        same = [o for o in others if treatments.get(well) and treatments.get(o) == treatments[well]]
        near = [other for other in same if other[0] == well[0]]
        if same:
            found[well] = (near or same)[0]
    return found


def _halves(
    cells: Cells, well: Key, partner: Key | None, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array | None]:
    """Return predicted and true cells of one half, true ones of the other, and of a partner."""
    t, p = cells.truth[well], cells.prediction[well]
    t_places, p_places = cells.true_places[well], cells.predicted_places[well]
    places = np.unique(np.concatenate([t_places, p_places]))
    chosen = rng.permutation(places)[: len(places) // 2]
    inside = np.isin(t_places, chosen)
    sides = [p[np.isin(p_places, chosen)], t[inside], t[~inside]]
    if partner is not None:
        sides.append(cells.truth[partner])
    n = min(map(len, sides))
    # Of all as many.
    even = [side[rng.permutation(len(side))[:n]] for side in sides]
    return even[0], even[1], even[2], even[3] if partner is not None else None
