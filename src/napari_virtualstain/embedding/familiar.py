"""How far is a picture from the pictures that a model learnt from? Distances of its features.

The features of patches are written in the principal components of the training patches, each scaled
to vary by 1. A patch is as far as it lies from their mean. A field is judged by the *mean* of its
patches, whose own scatter from field to field is far smaller than that of patches, and is sphered
with a shrunk covariance (`sphering`): so a change of the whole picture, such as another focus or
another pixel size, shows that no single patch would show. What is usual are distances of fields
that the fit has not seen.

Lee et al. 2018, arXiv:1807.03888 (Mahalanobis distance of features); Ledoit and Wolf 2004,
doi:10.1016/S0047-259X(03)00096-4 (the covariance); Vovk et al. 2005, doi:10.1007/b106715
(conformal limits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from napari_virtualstain.embedding.sphering import Sphering, fit_sphering
from napari_virtualstain.errors import PixelDataError

__all__ = [
    "FEWEST_FIELDS",
    "FieldDistance",
    "FieldPatches",
    "TrainingIndex",
    "block_numbers",
    "conformal_limit",
    "fit_index",
]

Rows = NDArray[np.float32]

FEWEST_FIELDS = 6
"""Of which an index can be made: five, and the one that is left out."""
_COMPONENTS = 32
_BLOCK = 8
"""Patches along the edge of a part of a field whose mean is compared."""
_FOLDS = 8
_PATCH_ALARMS = 0.01
"""Share of the patches of good fields that may be called strange."""
_LEAST_SHARE = 0.05
"""Of a field: so many strange patches are found in good fields, too."""
_MORE_THAN_ONE = 1.5
"""Patches: one in a hundred is strange in good fields, and of a small field a large share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldPatches:
    """Patches of one field.

    Parameters
    ----------
    name
        Where they come from.
    features
        (N, F).
    places
        (N, 2) first row and column of each, in pixels of the network's grid.
    blocks
        (N,) number of the part of the field that each lies in; see `block_numbers`.
    light, stain
        (N, e, e) small pictures of bright field and of a stain, `None` where there are none.
    group
        What must stay together: fields of one well or movie. The name if empty.
    """

    name: str
    features: Rows
    places: NDArray[np.int32]
    blocks: NDArray[np.int32]
    light: Rows | None = None
    stain: Rows | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class FieldDistance:
    """How far a field is from the training data.

    Parameters
    ----------
    field
        Distance of the mean of its patches; of several parts of a large field, the median.
    share
        Share of its patches that are strange by themselves, from 0 to 1.
    patches
        (N,) distance of each patch.
    """

    field: float
    share: float
    patches: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingIndex:
    """What the patches of the training data are like to a network.

    Parameters
    ----------
    model, weights
        Whose: its name, and the sha256 of its weights.
    layer, patch
        Where features are read, and edges of a patch in pixels of the network.
    centre, basis
        (F,) mean of the features, (F, K) that writes them in coordinates that vary by 1.
    field_centre, field_basis
        (K,) and (K, K): the same for means of parts of fields, in these coordinates.
    patch_limit
        Distance that 99 % of the held-out patches stay below.
    field_limit, share_limit
        Distance, and share of strange patches, that held-out fields stay below.
    alarms
        Share of good fields that may exceed either limit; more than was asked for where there
        were few fields.
    fields
        Names of the fields, of which patches are kept.
    fitted, held_out
        Number of fields that the fit has seen, and of those that no weights have seen either.
    codes
        (M, K) coordinates of the kept patches.
    sources, places
        (M,) number of the field and (M, 2) first row and column of each.
    light, stain
        (M, e, e) 8-bit pictures of them; empty where none are kept.
    stain_name
        Which stain, ``""`` for none.
    """

    model: str
    weights: str
    layer: str
    patch: tuple[int, ...]
    centre: Rows
    basis: Rows
    field_centre: Rows
    field_basis: Rows
    patch_limit: float
    field_limit: float
    share_limit: float
    alarms: float
    fields: tuple[str, ...]
    fitted: int
    held_out: int
    codes: Rows
    sources: NDArray[np.int32]
    places: NDArray[np.int32]
    light: NDArray[np.uint8]
    stain: NDArray[np.uint8]
    stain_name: str = ""

    def coordinates(self, features: Rows) -> Rows:
        """Return features (N, F) in coordinates (N, K) in which training patches vary by 1."""
        found: Rows = ((features - self.centre) @ self.basis).astype(np.float32)
        return found

    def distances(self, features: Rows) -> Rows:
        """Return how far patches (N, F) are from the mean one, as root mean square: 1 is usual."""
        return _length(self.coordinates(features))

    def of_field(self, features: Rows, blocks: NDArray[np.int32]) -> FieldDistance:
        """Return how far a field is.

        Parameters
        ----------
        features
            (N, F) of its patches.
        blocks
            (N,) see `block_numbers`.
        """
        codes = self.coordinates(features)
        patches = _length(codes)
        means = (_means(codes, blocks) - self.field_centre) @ self.field_basis
        return FieldDistance(
            field=float(np.median(_length(means))),
            share=float((patches > self.patch_limit).mean()),
            patches=patches,
        )

    def over_limits(self, found: FieldDistance) -> tuple[float, float]:
        """Return distance and share of a field over their limits; one strange patch is none."""
        share = max(self.share_limit, _MORE_THAN_ONE / len(found.patches))
        return found.field / self.field_limit, found.share / share

    def nearest(self, features: Rows, count: int) -> list[tuple[int, float]]:
        """Return numbers and distances of the kept patches that are most like a patch (F,)."""
        apart = _length(self.codes - self.coordinates(features[None]))
        return [(int(n), float(apart[n])) for n in np.argsort(apart, kind="stable")[:count]]


def block_numbers(places: NDArray[np.int32], shape: Sequence[int], edge: int) -> NDArray[np.int32]:
    """Return in which part of a field patches lie; parts are about 8 patches wide.

    Parameters
    ----------
    places
        (N, 2) first row and column.
    shape
        Of the field in pixels.
    edge
        Of a patch.

    Examples
    --------
    >>> block_numbers(np.array([[0, 0], [0, 900]]), (512, 1024), 64).tolist()
    [0, 1]
    """
    parts = [max(1, round(n / (_BLOCK * edge))) for n in shape]
    at = [
        np.minimum((places[:, axis] + edge // 2) * parts[axis] // shape[axis], parts[axis] - 1)
        for axis in (0, 1)
    ]
    return np.asarray(at[0] * parts[1] + at[1], np.int32)


def conformal_limit(scores: Sequence[float] | Rows, alarms: float) -> tuple[float, float]:
    """Return what a further score stays below, and the share of scores that may exceed it.

    The score of rank ``ceil((n + 1) (1 - alarms))`` of n exchangeable ones; where n is too small
    for that, the largest, which a further one exceeds with probability 1 / (n + 1).

    Examples
    --------
    >>> conformal_limit(range(1, 100), 0.05)
    (95.0, 0.05)
    >>> conformal_limit([1.0, 2.0, 3.0], 0.05)
    (3.0, 0.25)
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    n = len(ordered)
    rank = ceil(round((n + 1) * (1 - alarms), 9))
    if rank > n:
        return float(ordered[-1]), 1 / (n + 1)
    return float(ordered[rank - 1]), alarms


def fit_index(
    fields: Sequence[FieldPatches],
    held: Sequence[FieldPatches] = (),
    *,
    model: str,
    weights: str,
    layer: str,
    patch: tuple[int, ...],
    stain_name: str = "",
    alarms: float = 0.05,
    most: int = 512,
    seed: int = 0,
) -> TrainingIndex:
    """Return the index of training fields.

    Parameters
    ----------
    fields
        That the distances are fitted on. For the limits each is left out in turn, with its group.
    held
        Further ones that taught nothing, which count for the limits alone.
    model, weights, layer, patch
        See `TrainingIndex`.
    stain_name
        Of the small pictures.
    alarms
        Share of good fields that may be called unfamiliar.
    most
        Patches that are kept, spread evenly over the fields.
    seed
        Decides which.

    Raises
    ------
    PixelDataError
        If there are too few fields, or the network makes the same of all patches.
    """
    if len(fields) < FEWEST_FIELDS:
        raise PixelDataError(
            f"{len(fields)} fields do not tell what is familiar. Give at least {FEWEST_FIELDS} "
            "that the network can read, better 50."
        )
    centre, basis, fields_of = _fit(fields)
    bare = TrainingIndex(
        model=model, weights=weights, layer=layer, patch=patch, centre=centre, basis=basis,
        field_centre=fields_of.mean.astype(np.float32),
        field_basis=fields_of.matrix.astype(np.float32), patch_limit=0.0, field_limit=0.0,
        share_limit=0.0, alarms=alarms, fields=tuple(one.name for one in fields),
        fitted=len(fields), held_out=len(held), codes=np.zeros((0, basis.shape[1]), np.float32),
        sources=np.zeros(0, np.int32), places=np.zeros((0, 2), np.int32),
        light=np.zeros((0, 0, 0), np.uint8), stain=np.zeros((0, 0, 0), np.uint8),
        stain_name=stain_name,
    )  # fmt: skip
    pairs: list[tuple[TrainingIndex, FieldPatches]] = [(bare, one) for one in held]
    for taught, left_out in _folds(fields):
        own, axes, means = _fit(taught)
        without = replace(
            bare, centre=own, basis=axes, field_centre=means.mean.astype(np.float32),
            field_basis=means.matrix.astype(np.float32),
        )  # fmt: skip
        pairs += [(without, one) for one in left_out]
    apart = np.concatenate([index.distances(one.features) for index, one in pairs])
    patch_limit, _ = conformal_limit(apart, _PATCH_ALARMS)
    judged = [
        replace(index, patch_limit=patch_limit).of_field(one.features, one.blocks)
        for index, one in pairs
    ]
    # Either of two numbers may raise the alarm: half of the share is for each.
    field_limit, first = conformal_limit([one.field for one in judged], alarms / 2)
    share_limit, second = conformal_limit([one.share for one in judged], alarms / 2)
    kept = replace(
        bare, patch_limit=patch_limit, field_limit=field_limit,
        share_limit=max(share_limit, _LEAST_SHARE), alarms=first + second,
    )  # fmt: skip
    return _with_patches(kept, fields, most, np.random.default_rng(seed))


def _fit(fields: Sequence[FieldPatches]) -> tuple[Rows, Rows, Sphering]:
    """Return centre and basis of patches, and how means of parts of fields vary in it."""
    features = np.concatenate([one.features for one in fields]).astype(np.float64)
    centre = features.mean(axis=0)
    centred = features - centre
    size = centred.shape[1]
    values, vectors = linalg.eigh(
        centred.T @ centred / len(centred),
        subset_by_index=[max(0, size - _COMPONENTS), size - 1],
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    if not values[0] > 1e-12 * max(float((centre**2).mean()), 1e-12):
        raise PixelDataError(
            "The network makes the same of all patches, so that none can be called unfamiliar. "
            "Train it longer, or give other images."
        )
    # Directions in which hardly anything varies hold rounding, and would be blown up.
    varied = int((values > 1e-6 * values[0]).sum())
    count = min(_COMPONENTS, max(1, len(centred) // 4), varied)
    basis = vectors[:, :count] / np.sqrt(values[:count])
    codes = (centred @ basis).astype(np.float32)
    starts = np.cumsum([0, *(len(one.features) for one in fields)])
    means = np.concatenate([
        _means(codes[start : start + len(one.features)], one.blocks)
        for start, one in zip(starts, fields, strict=False)
    ])  # fmt: skip
    return centre.astype(np.float32), basis.astype(np.float32), fit_sphering(means)


def _folds(
    fields: Sequence[FieldPatches],
) -> list[tuple[list[FieldPatches], list[FieldPatches]]]:
    """Return fields that are fitted on and those that are left out, group by group."""
    groups = list(dict.fromkeys(one.group or one.name for one in fields))
    if len(groups) < FEWEST_FIELDS:  # of one movie or well: its fields have to do
        groups = [one.name for one in fields]
        number = {id(one): n for n, one in enumerate(fields)}
    else:
        number = {id(one): groups.index(one.group or one.name) for one in fields}
    count = min(_FOLDS, len(groups)) if len(groups) >= 2 * _FOLDS else len(groups)
    folds = []
    for fold in range(count):
        out = [one for one in fields if number[id(one)] % count == fold]
        folds.append(([one for one in fields if number[id(one)] % count != fold], out))
    return folds


def _means(codes: Rows, blocks: NDArray[np.int32]) -> Rows:
    return np.stack([codes[blocks == n].mean(axis=0) for n in np.unique(blocks)])


def _length(codes: NDArray[Any]) -> Rows:
    """Return the root mean square over coordinates."""
    found: Rows = np.sqrt((codes.astype(np.float64) ** 2).mean(axis=-1)).astype(np.float32)
    return found


def _with_patches(
    index: TrainingIndex, fields: Sequence[FieldPatches], most: int, rng: np.random.Generator
) -> TrainingIndex:
    """Return the index with some patches of every field, and their pictures."""
    orders = [rng.permutation(len(one.features)) for one in fields]
    rounds = max(len(order) for order in orders)
    chosen = [
        (source, int(order[turn]))
        for turn in range(rounds)
        for source, order in enumerate(orders)
        if turn < len(order)
    ][:most]
    chosen.sort()
    sources = np.array([source for source, _ in chosen], np.int32)
    features = np.stack([fields[source].features[n] for source, n in chosen])
    places = np.stack([fields[source].places[n] for source, n in chosen]).astype(np.int32)
    light = [None if (own := fields[source].light) is None else own[n] for source, n in chosen]
    stain = [None if (own := fields[source].stain) is None else own[n] for source, n in chosen]
    return replace(
        index, sources=sources, places=places, codes=index.coordinates(features),
        light=_eight_bit(light), stain=_eight_bit(stain),
    )  # fmt: skip


def _eight_bit(shown: Sequence[Rows | None]) -> NDArray[np.uint8]:
    """Return pictures between the limits of all of them, so that they can be compared.

    None where one has no picture.
    """
    there = [one for one in shown if one is not None]
    if len(there) < len(shown):
        return np.zeros((0, 0, 0), np.uint8)
    pictures = np.stack(there)
    known = pictures[np.isfinite(pictures)]
    low, high = (float(v) for v in np.quantile(known, (0.002, 0.998))) if known.size else (0.0, 1.0)
    scaled = (np.nan_to_num(pictures, nan=low) - low) / (high - low if high > low else 1.0)
    return np.asarray(np.round(255 * np.clip(scaled, 0, 1)), np.uint8)
