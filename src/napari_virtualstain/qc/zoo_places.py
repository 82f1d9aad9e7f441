"""Where in a field can a failure be put? Tiles, empty places, nuclei and cells of a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from napari_virtualstain.qc.field import Borders, Picture, QcField

__all__ = ["Places", "filled_from_around", "tiles_of"]

Mask = NDArray[np.bool_]
_BAND = 2
_TRIES = 200


def tiles_of(field: QcField) -> tuple[NDArray[np.int64], Mask]:
    """Return the row plus the column of each pixel's tile, and the pixels beside borders."""
    borders = field.borders or Borders(
        *(tuple(range(256, n, 256)) or (n // 2,) for n in field.shape)
    )
    y, x = (np.zeros(n, np.int64) for n in field.shape)
    band_y, band_x = (np.zeros(n, bool) for n in field.shape)
    for line, band, starts in ((y, band_y, borders.y), (x, band_x, borders.x)):
        for start in starts:
            line[start:] += 1
            band[max(0, start - _BAND) : start + _BAND] = True
    return y[:, None] + x[None], band_y[:, None] | band_x[None]


def filled_from_around(picture: Picture, hole: Mask, *, level: float) -> Picture:
    """Return a picture whose holes are filled smoothly with what lies around them.

    Parameters
    ----------
    picture
        (Y, X).
    hole
        What is filled.
    level
        For holes with nothing around.
    """
    weight = (~hole).astype(np.float32)
    total = np.zeros_like(picture)
    known = np.zeros_like(weight)
    for sigma in (2.0, 5.0, 12.0):
        near = ndimage.gaussian_filter(weight, sigma)
        here = (near > 0.02) & (known == 0)
        mean = ndimage.gaussian_filter(np.where(hole, 0, picture), sigma) / np.maximum(near, 1e-6)
        total[here], known[here] = mean[here], 1
    total[known == 0] = level
    return np.where(hole, total, picture).astype(np.float32)


class Places:
    """Choose places of a field at random.

    Parameters
    ----------
    field
        That is going to be changed.
    rng
        Decides.
    """

    def __init__(self, field: QcField, rng: np.random.Generator) -> None:
        self._field, self._rng = field, rng
        labels = field.nuclei
        if labels is None:
            labels = np.zeros(field.coarse(next(iter(field.stains))).shape, np.int32)
        self._labels = labels
        self._names = np.unique(labels)[1:]
        empty = field.empty
        # Background that is surely none: empty in the bright field, and dark in all stains.
        self._free: Mask = np.ones(labels.shape, bool) if empty is None else empty.copy()
        self._free &= ~field.cells & (labels == 0)

    def count(self, share: float) -> int:
        """Return how many objects are a share of the nuclei, at least one."""
        return max(1, ceil(share * len(self._names)))

    def some_nuclei(self, share: float) -> Mask:
        """Return some nuclei, on the pixels of the field."""
        chosen = self._rng.permutation(self._names)[: self.count(share)]
        found: Mask = self._field.on_pixels(np.isin(self._labels, chosen))
        return found

    def some_cells(self, share: float) -> Mask:
        """Return some nuclei with what of a cell is nearest to them."""
        if not len(self._names):
            return np.zeros(self._field.shape, bool)
        chosen = self._rng.permutation(self._names)[: self.count(share)]
        at = ndimage.distance_transform_edt(
            self._labels == 0, return_distances=False, return_indices=True
        )
        nearest = self._labels[tuple(at)]
        mine = np.isin(nearest, chosen) & (self._field.cells | (self._labels > 0))
        found: Mask = self._field.on_pixels(mine)
        return found

    def empty_square(self, edge: int) -> tuple[slice, slice] | None:
        """Return a square of background, which is then taken; `None` if no more is found."""
        small = ceil(edge / self._field.bin)
        y, x = self._free.shape
        if small >= min(y, x):
            return None
        share = ndimage.uniform_filter(self._free.astype(np.float32), small)
        half = small // 2
        inner = share[half : y - small, half : x - small]
        spots = np.argwhere(inner > 0.9)
        if not len(spots):
            return None
        top, left = spots[self._rng.integers(len(spots))]
        self._free[top : top + small, left : left + small] = False
        return self._square((int(top) * self._field.bin, int(left) * self._field.bin), edge)

    def nucleus_square(self, edge: int) -> tuple[slice, slice] | None:
        """Return the square around a nucleus; `None` if there is none away from the edges."""
        if not len(self._names):
            return None
        for name in self._rng.permutation(self._names)[:_TRIES]:
            middle = np.argwhere(self._labels == name).mean(axis=0) * self._field.bin
            corner = np.rint(middle - edge / 2).astype(int)
            if (corner >= 0).all() and (corner + edge <= self._field.shape).all():
                return self._square((int(corner[0]), int(corner[1])), edge)
        return None

    def bridges(self, share: float) -> Iterator[tuple[Mask, Mask, Mask]]:
        """Yield pairs of neighbours, together a share of the nuclei, and what joins them."""
        if len(self._names) < 2:
            return
        centres = np.array(ndimage.center_of_mass(self._labels > 0, self._labels, self._names))
        far, near = KDTree(centres).query(centres, k=2)
        order = np.argsort(far[:, 1])[: max(2, len(centres) // 2)]
        used: set[int] = set()
        left = max(1, ceil(self.count(share) / 2))
        for first in self._rng.permutation(order):
            second = int(near[first, 1])
            if left == 0 or first in used or second in used:
                continue
            used |= {int(first), second}
            left -= 1
            one, other = (self._labels == self._names[n] for n in (first, second))
            bridge = self._between(centres[first], centres[second], one, other)
            yield (
                self._field.on_pixels(one), self._field.on_pixels(other),
                self._field.on_pixels(bridge),
            )  # fmt: skip

    def _between(
        self, start: NDArray[np.float64], end: NDArray[np.float64], one: Mask, other: Mask
    ) -> Mask:
        """Return a bar between two centres, half as wide as the smaller nucleus."""
        width = 0.35 * np.sqrt(min(one.sum(), other.sum()))
        height, wide = one.shape
        y, x = np.indices((height, wide), sparse=True)
        along = end - start
        length = max(float(np.hypot(*along)), 1e-6)
        across = abs((y - start[0]) * along[1] - (x - start[1]) * along[0]) / length
        place = ((y - start[0]) * along[0] + (x - start[1]) * along[1]) / length**2
        bar = (across <= width) & (place >= 0) & (place <= 1)
        found: Mask = bar & ~one & ~other & (self._labels == 0)
        return found

    def _square(self, corner: tuple[int, int], edge: int) -> tuple[slice, slice]:
        y, x = corner
        height, width = self._field.shape
        y, x = min(y, height - edge), min(x, width - edge)
        return slice(y, y + edge), slice(x, x + edge)
