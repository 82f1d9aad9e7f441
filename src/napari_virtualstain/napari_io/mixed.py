"""How are two pictures set in one? Left and right of a curtain, or as the squares of a chessboard.

napari cannot cut a picture off along a line, so what is in view is read of both, at the resolution
of the canvas, and put together. Once read, another curtain or other tiles cost no reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.napari_io.layer_axes import Place, place_of
from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["Pair", "in_truth", "mixed_keywords", "read_pair", "tile_edge"]

_MARKED = 20
"""A mark takes this part of the height."""

Region = tuple[int, int, int, int]
"""First row, first column, last row + 1, last column + 1, in pixels of the finest level."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """What is in view of a prediction and of its truth.

    Parameters
    ----------
    predicted, true
        (Y, X) float32, the same pixels of both.
    region
        That is in view; the pixels cover it, and may reach over its edges.
    first, step
        (y, x) of the first pixel's middle and from one to the next, in pixels of the finest level.
    """

    predicted: NDArray[np.float32]
    true: NDArray[np.float32]
    region: Region
    first: tuple[float, float]
    step: tuple[float, float]

    def line(self, share: float) -> float:
        """Return the column, in pixels of the finest level, at which a curtain hangs.

        Parameters
        ----------
        share
            Of the width that is in view, 0 (left) to 1 (right).
        """
        _, left, _, right = self.region
        return left - 0.5 + share * (right - left)

    def share(self, column: float) -> float:
        """Return at which share of the width a column lies; the inverse of `line`."""
        _, left, _, right = self.region
        return float(np.clip((column + 0.5 - left) / (right - left), 0.0, 1.0))

    def curtain(self, share: float, mark: float | None = None) -> NDArray[np.float32]:
        """Return the prediction left of a curtain, and the truth right of it.

        Parameters
        ----------
        share
            See `line`.
        mark
            Value of two short lines above and below, where the curtain hangs: on a dark field it
            would not be seen. None without it.
        """
        _, columns = self._middles()
        left = columns < self.line(share)
        found = np.where(np.broadcast_to(left, self.true.shape), self.predicted, self.true)
        if mark is not None and 0 < left.sum() < len(left):
            high = max(1, len(found) // _MARKED)
            found[:high, left.sum()] = found[-high:, left.sum()] = mark
        return found

    def checkerboard(self, edge: int) -> NDArray[np.float32]:
        """Return tiles of both by turns; the first tile of the image is predicted.

        Tiles lie fast on the image: they move with it.

        Parameters
        ----------
        edge
            Of a tile, in pixels of the finest level.
        """
        rows, columns = (np.floor((middle + 0.5) / edge) for middle in self._middles())
        return np.where((rows[:, None] + columns) % 2 == 0, self.predicted, self.true)

    def _middles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, columns = (
            first + step * np.arange(n)
            for first, step, n in zip(self.first, self.step, self.true.shape, strict=True)
        )
        return rows, columns


def tile_edge(region: Region, tiles: int) -> int:
    """Return the edge of tiles of which about so many lie along the shorter side of a region.

    A power of two, so that tiles stay as they are while the view moves a little.

    Examples
    --------
    >>> tile_edge((0, 0, 1000, 2000), 8), tile_edge((0, 0, 1100, 2000), 8)
    (128, 128)
    """
    top, left, bottom, right = region
    side = min(bottom - top, right - left)
    return 1 << max(0, round(float(np.log2(side / tiles))))


def in_truth(at: Sequence[int], predicted: Sequence[int], true: Sequence[int]) -> tuple[int, ...]:
    """Return the index of a plane of the truth, given that of the prediction.

    Parameters
    ----------
    at
        Along each axis of the prediction but its last two.
    predicted, true
        Shapes, which differ in axes of length one at most.

    Examples
    --------
    >>> in_truth((3,), (5, 64, 64), (5, 1, 64, 64))
    (3, 0)
    """
    long = iter([i for i, n in zip(at, predicted[:-2], strict=True) if n > 1])
    return tuple(0 if n == 1 else next(long) for n in true[:-2])


def read_pair(
    predicted: Sequence[Any],
    true: Sequence[Any],
    at: tuple[int, ...],
    region: Region,
    coarsest: float = 1.0,
) -> Pair:
    """Read what is in view of both; slow, where pixels lie on disk.

    Parameters
    ----------
    predicted, true
        Levels of each, the finest first; those of equal size are used.
    at
        Index of the plane along the axes of the prediction but its last two.
    region
        To be read.
    coarsest
        At most so many pixels of the finest level, along each axis, need be told apart: those of
        one pixel of the canvas.
    """
    finest = predicted[0].shape
    levels = [
        (a, b, finest[-2] / a.shape[-2], finest[-1] / a.shape[-1])
        for a, b in zip(predicted, true, strict=False)
        if a.shape[-2:] == b.shape[-2:]
    ]
    fine = [level for level in levels if max(level[2:]) <= coarsest]
    a, b, *factors = fine[-1] if fine else levels[0]
    # Where the file has no coarser copy, every n-th pixel does for the canvas.
    every = max(1, int(coarsest // max(factors)))
    parts, first = [], []
    for n, factor, low, high in zip(a.shape[-2:], factors, region[:2], region[2:], strict=True):
        start, stop = int(low // factor), min(n, int(np.ceil(high / factor)))
        parts.append(slice(start, stop, every))
        first.append(start * factor + (factor - 1) / 2)
    return Pair(
        predicted=_read(a, at, parts),
        true=_read(b, in_truth(at, a.shape, b.shape), parts),
        region=region,
        first=(first[0], first[1]),
        step=(factors[0] * every, factors[1] * every),
    )


def _read(level: Any, at: tuple[int, ...], parts: list[slice]) -> NDArray[np.float32]:
    part = level[at][tuple(parts)] if at else level[tuple(parts)]
    if hasattr(part, "compute"):
        part = part.compute(scheduler="synchronous")
    return np.asarray(part, dtype=np.float32)


def mixed_keywords(prediction: Image, truth: Image, pair: Pair, *, name: str) -> dict[str, Any]:
    """Return the keywords of a layer over the pixels of a pair, shown as the truth is.

    Parameters
    ----------
    prediction
        Whose place, moved or turned by the user or not, is taken.
    truth
        Whose contrast limits are taken.
    pair
        What is shown of both.
    name
        Of the layer.
    """
    keywords = _place(place_of(prediction), pair).apply(
        {"scale": [1.0, 1.0], "translate": [0.0, 0.0], "units": ["pixel", "pixel"]}
    )
    return {
        **keywords,
        "name": name,
        "axis_labels": list(prediction.axis_labels)[-2:],
        "colormap": "gray",
        "contrast_limits": tuple(float(v) for v in truth.contrast_limits),
        "gamma": float(truth.gamma),
        "blending": "translucent",
        "metadata": tagged({}, LayerSource(role="other")),
    }


def _place(place: Place, pair: Pair) -> Place:
    scale = np.asarray(place.scale)
    offset = place.rotate @ (scale * np.asarray(pair.first))
    at, step = place.translate + offset, scale * np.asarray(pair.step)
    return replace(
        place,
        scale=(float(step[0]), float(step[1])),
        translate=(float(at[0]), float(at[1])),
    )
