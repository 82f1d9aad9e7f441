"""Which predicted objects are the true ones? Matched, invented, missed, merged and split.

===========  ======================================================================
kind         means
===========  ======================================================================
matched      one predicted object and one true one cover the same place
split        a true object in which two predicted ones or more lie
merged       a predicted object in which two true ones or more lie
missed       a true object that is none of these
invented     a predicted object that is none of these
===========  ======================================================================

An object lies in another if most of it does. One that covers a true object badly is both: the true
one is missed, and it is invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass
from scipy.spatial import KDTree

from napari_virtualstain.errors import PixelDataError

__all__ = ["KINDS", "ObjectMatch", "match_objects", "paint_kinds"]

KINDS = ("matched", "invented", "missed", "merged", "split")
"""What may become of an object, in the order of the numbers that `paint_kinds` paints, from 1."""

_MOST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMatch:
    """What became of each object.

    Parameters
    ----------
    matched
        Pairs of numbers, predicted and true.
    iou
        Intersection over union of each pair, 0 to 1.
    invented, missed
        Numbers of predicted, of true objects.
    merged
        Predicted object, and the true ones that lie in it.
    split
        True object, and the predicted ones that lie in it.
    dice
        Of all that is object in either picture: twice the area in common over the sum of both; NaN
        if there is none.
    """

    matched: tuple[tuple[int, int], ...] = ()
    iou: tuple[float, ...] = ()
    invented: tuple[int, ...] = ()
    missed: tuple[int, ...] = ()
    merged: tuple[tuple[int, tuple[int, ...]], ...] = ()
    split: tuple[tuple[int, tuple[int, ...]], ...] = ()
    dice: float = float("nan")

    @property
    def n_true(self) -> int:
        """How many there are in truth."""
        hidden = sum(len(inside) for _, inside in self.merged)
        return len(self.matched) + len(self.missed) + len(self.split) + hidden

    @property
    def n_predicted(self) -> int:
        """How many were predicted."""
        parts = sum(len(inside) for _, inside in self.split)
        return len(self.matched) + len(self.invented) + len(self.merged) + parts

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are matched; NaN if none is predicted."""
        return _share(len(self.matched), self.n_predicted)

    @property
    def recall(self) -> float:
        """Share of the true objects that are matched; NaN if there is none."""
        return _share(len(self.matched), self.n_true)

    @property
    def average_precision(self) -> float:
        """Matched over all objects, ``TP / (TP + FP + FN)``; NaN if there are none.

        References
        ----------
        Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7.
        """
        return _share(len(self.matched), self.n_predicted + self.n_true - len(self.matched))

    def to_json(self) -> dict[str, Any]:
        """Return how many there are of each kind, and the shares, as plain values."""

        def known(value: float) -> float | None:
            return None if np.isnan(value) else value

        return {
            "true": self.n_true, "predicted": self.n_predicted,
            **{kind: len(getattr(self, kind)) for kind in KINDS},
            "precision": known(self.precision), "recall": known(self.recall),
            "average_precision": known(self.average_precision),
            "iou": float(np.mean(self.iou)) if self.iou else None, "dice": known(self.dice),
        }  # fmt: skip


def match_objects(
    predicted: NDArray[Any],
    truth: NDArray[Any],
    *,
    iou: float = 0.5,
    distance_px: float | None = None,
) -> ObjectMatch:
    """Compare two label images of one field.

    Parameters
    ----------
    predicted, truth
        (Y, X) whole numbers, 0 is background.
    iou
        Intersection over union from which two objects are the same.
    distance_px
        Instead: how far their centres may lie apart, at most; nearest pairs first, each object in
        one.

    Raises
    ------
    PixelDataError
        If sizes differ.
    """
    if predicted.shape != truth.shape:
        raise PixelDataError(
            f"The predicted objects are on {predicted.shape} px and the true ones on "
            f"{truth.shape}. Compare objects of the same field."
        )
    p_names, p_area, p = _numbered(predicted)
    t_names, t_area, t = _numbered(truth)
    common = (p >= 0) & (t >= 0)
    places, counts = np.unique(p[common] * len(t_names) + t[common], return_counts=True)
    rows, columns = np.divmod(places, max(len(t_names), 1))
    # More than half of an object lies in one other at most.
    split = _parts(rows, columns, counts / p_area[rows])
    merged = _parts(columns, rows, counts / t_area[columns])
    shared = dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), counts, strict=True))
    p_free, t_free = np.ones(len(p_names), bool), np.ones(len(t_names), bool)
    for true, parts in list(split.items()):
        covered = sum(shared[part, true] for part in parts) / t_area[true]
        if covered < iou or any(part in merged for part in parts):
            del split[true]
            continue
        p_free[parts], t_free[true] = False, False
    for guess, parts in list(merged.items()):
        covered = sum(shared[guess, part] for part in parts) / p_area[guess]
        if covered < iou or not (p_free[guess] and t_free[parts].all()):
            del merged[guess]
            continue
        p_free[guess], t_free[parts] = False, False
    overlap = counts / (p_area[rows] + t_area[columns] - counts)
    ious = dict(zip(shared, overlap.tolist(), strict=True))
    if distance_px is None:
        good = overlap >= iou
        found = zip(-overlap[good], rows[good].tolist(), columns[good].tolist(), strict=True)
    else:
        trees = (KDTree(_centres(predicted, p_names)), KDTree(_centres(truth, t_names)))
        near = trees[0].sparse_distance_matrix(trees[1], distance_px, output_type="coo_matrix")
        found = zip(near.data, near.row.tolist(), near.col.tolist(), strict=True)
    pairs = []
    for _, a, b in sorted(found):
        if p_free[a] and t_free[b]:
            pairs.append((a, b))
            p_free[a], t_free[b] = False, False
    total = int(p_area.sum() + t_area.sum())
    return ObjectMatch(
        matched=tuple((int(p_names[a]), int(t_names[b])) for a, b in pairs),
        iou=tuple(ious.get(pair, 0.0) for pair in pairs),
        invented=tuple(map(int, p_names[p_free])),
        missed=tuple(map(int, t_names[t_free])),
        merged=tuple((int(p_names[n]), tuple(map(int, t_names[i]))) for n, i in merged.items()),
        split=tuple((int(t_names[n]), tuple(map(int, p_names[i]))) for n, i in split.items()),
        dice=2 * int(common.sum()) / total if total else float("nan"),
    )


def paint_kinds(
    match: ObjectMatch, predicted: NDArray[Any], truth: NDArray[Any]
) -> NDArray[np.uint8]:
    """Return a picture of what became of the objects: 0 background, else `KINDS`, from 1.

    Where a predicted and a true object of two kinds overlap, the predicted one is seen.
    """
    of_true = _lookup(truth, {
        **{b: 1 for _, b in match.matched}, **dict.fromkeys(match.missed, 3),
        **{n: 4 for _, inside in match.merged for n in inside}, **{n: 5 for n, _ in match.split},
    })  # fmt: skip
    of_predicted = _lookup(predicted, {
        **{a: 1 for a, _ in match.matched}, **dict.fromkeys(match.invented, 2),
        **{n: 4 for n, _ in match.merged}, **{n: 5 for _, inside in match.split for n in inside},
    })  # fmt: skip
    return np.where(of_predicted > 0, of_predicted, of_true)


def _lookup(labels: NDArray[Any], kinds: dict[int, int]) -> NDArray[np.uint8]:
    names, places = np.unique(labels, return_inverse=True)
    table = np.array([kinds.get(int(name), 0) for name in names], np.uint8)
    return table[places].reshape(labels.shape)


def _numbered(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return names of objects, their areas, and the place of each pixel's in them, -1 for none."""
    names, places, areas = np.unique(labels, return_inverse=True, return_counts=True)
    real = names != 0
    table = np.where(real, np.cumsum(real) - 1, -1)
    return names[real], areas[real], table[places.ravel()]


def _parts(
    inner: NDArray[Any], outer: NDArray[Any], share: NDArray[Any]
) -> dict[int, NDArray[np.int64]]:
    """Return the objects that lie in one of the others, for others with two or more."""
    inside: dict[int, list[int]] = {}
    lies = share > _MOST
    for one, other in zip(inner[lies].tolist(), outer[lies].tolist(), strict=True):
        inside.setdefault(other, []).append(one)
    return {n: np.array(parts) for n, parts in sorted(inside.items()) if len(parts) > 1}


def _centres(labels: NDArray[Any], names: NDArray[Any]) -> NDArray[np.float64]:
    if not len(names):
        return np.zeros((0, labels.ndim))
    return np.array(center_of_mass(labels > 0, labels, names))


def _share(some: int, of: int) -> float:
    return some / of if of else float("nan")
