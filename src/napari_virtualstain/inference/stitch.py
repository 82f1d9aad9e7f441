"""Put overlapping tiles together as published systems did, to repeat their numbers.

Blending hides seams and leaves wrong values: next to its border a tile saw padding
instead of neighbours, and an average of such predictions is the prediction of no
picture. To stain, use tiles with a halo (`tiling.plan`); this module is for
comparing with results that were made in another way.

==================  =============================  =====================================
method              predictions of one pixel       as in
==================  =============================  =====================================
``median``          median of all                  the paper of Cross-Zamirski et al. 2022
``median_at_last``  median of all; along the rim   its code, which leaves there the tile
                    the last tile only             that was written last (raster order)
``gaussian``        mean, weighted by a Gaussian   MONAI's sliding window, ``gaussian``
                    of the place in the tile
``constant``        mean                           MONAI's sliding window, ``constant``
``triangular``      mean, weighted by a triangle   the library *tiler*, ``triang``
                    of the place in the tile
==================  =============================  =====================================

Where the image does not divide, ``median``, ``median_at_last`` and ``triangular`` go on
beyond its far end, where the network is given zeros; ``gaussian`` and ``constant`` move the
last tile back. An image that is smaller than a tile is padded at its far end by all (MONAI
pads it on both sides).

References
----------
Cross-Zamirski et al., Label-free prediction of Cell Painting from brightfield images,
Scientific Reports 12, 2022, doi:10.1038/s41598-022-12914-x. Cardoso et al., MONAI, 2022,
arXiv 2211.02701. Tiler: https://github.com/the-lay/tiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import PixelDataError, SettingsError, unknown_name

__all__ = ["STITCH_METHODS", "StitchMethod", "stitch_tiles"]

Pixels = NDArray[np.float32]
_Window = Callable[[int], NDArray[np.float64]]


def _gaussian(length: int) -> NDArray[np.float64]:
    """Return exp(-d^2 / (2 sigma^2)), sigma an eighth of the tile."""
    apart = np.arange(length) - (length - 1) / 2
    return np.asarray(np.exp(-(apart**2) / (2 * (0.125 * length) ** 2)))


def _triangle(length: int) -> NDArray[np.float64]:
    """Return a triangle that is 1 in the middle and nowhere 0."""
    apart = np.abs(np.arange(length) - (length - 1) / 2)
    return np.asarray(1 - apart / ((length + length % 2) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class StitchMethod:
    """How the predictions of one pixel become one.

    Parameters
    ----------
    overlap
        Share of the tile that its neighbour repeats in the source, 0 to 1.
    moves_back
        The last tile is moved back into the image; otherwise it reaches beyond.
    window
        Weights along one axis of a tile; `None` for a median.
    least_weight
        No weight is smaller.
    keeps_rim
        Within one stride of the border of what the tiles cover, the last tile is kept.
    """

    overlap: float
    moves_back: bool
    window: _Window | None = None
    least_weight: float = 0.0
    keeps_rim: bool = False


STITCH_METHODS: Mapping[str, StitchMethod] = {
    "median": StitchMethod(overlap=0.5, moves_back=False),
    "median_at_last": StitchMethod(overlap=0.5, moves_back=False, keeps_rim=True),
    "gaussian": StitchMethod(overlap=0.25, moves_back=True, window=_gaussian, least_weight=1e-3),
    "constant": StitchMethod(overlap=0.25, moves_back=True, window=np.ones),
    "triangular": StitchMethod(overlap=0.5, moves_back=False, window=_triangle),
}


def stitch_tiles(
    predict: Callable[[Region], Pixels],
    shape: tuple[int, ...],
    *,
    method: str,
    tile: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
) -> Iterator[tuple[Region, Pixels]]:
    """Yield the stitched image in strips along the first axis, each pixel once.

    Memory is that of the tiles that cover one row, not that of the image.

    Parameters
    ----------
    predict
        Takes a region of exactly one tile, which may end beyond the image, and returns its
        prediction (C, *tile). What lies beyond is zero after normalisation.
    shape
        Of the image, spatial axes only, in pixels.
    method
        A key of `STITCH_METHODS`.
    tile
        Edge of the tiles in pixels, one for all axes or one an axis; 256 in the paper.
    stride
        From one tile to the next, at most a tile; as in the source if `None`.

    Returns
    -------
    Iterator of (region, pixels)
        Full-width strips of the image from its first row to its last, (C, *extent) float32.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    SettingsError
        If a size is not positive, or a stride leaves gaps.
    PixelDataError
        If a prediction has another size than its tile.
    """
    if method not in STITCH_METHODS:
        raise unknown_name("stitching method", method, STITCH_METHODS)
    how = STITCH_METHODS[method]
    tiles = tuple(tile) if isinstance(tile, Sequence) else (tile,) * len(shape)
    if stride is None:
        strides = tuple(max(1, int(t * (1 - how.overlap))) for t in tiles)
    else:
        strides = tuple(stride) if isinstance(stride, Sequence) else (stride,) * len(shape)
    if not len(tiles) == len(strides) == len(shape) > 0 or min(shape) < 1:
        raise SettingsError(
            f"Stitching needs one edge and one stride an axis, got tiles of {tiles} px and "
            f"strides of {strides} px for an image of {shape} px. Give one number for all axes."
        )
    if not all(1 <= s <= t for s, t in zip(strides, tiles, strict=True)):
        raise SettingsError(
            f"Tiles of {tiles} px with a stride of {strides} px leave gaps. "
            "Choose a stride from 1 to the edge of a tile."
        )
    # Checked at the call, not when the first strip is asked for.
    return _strips(predict, shape, how, tiles, strides)


def _strips(
    predict: Callable[[Region], Pixels],
    shape: tuple[int, ...],
    how: StitchMethod,
    tiles: tuple[int, ...],
    strides: tuple[int, ...],
) -> Iterator[tuple[Region, Pixels]]:
    starts = [
        _starts(*line, moves_back=how.moves_back)
        for line in zip(shape, tiles, strides, strict=True)
    ]
    rims = [
        (s, line[-1] + t - s) if how.keeps_rim else (0, line[-1] + t)
        for line, t, s in zip(starts, tiles, strides, strict=True)
    ]
    weights = _weights(how, tiles)
    cuts = [
        _cuts(line, t, rim, slice(0, n))
        for line, t, rim, n in zip(starts, tiles, rims, shape, strict=True)
    ][1:]
    live: dict[tuple[int, ...], Pixels] = {}  # by where a tile starts, in raster order
    done = 0
    for row, following in zip(starts[0], [*starts[0][1:], None], strict=True):
        for place in product([row], *starts[1:]):
            live[place] = _predicted(predict, place, tiles)
        final = shape[0] if following is None else following
        channels = live[place].shape[0]
        strip = np.empty((channels, final - done, *shape[1:]), np.float32)
        for cell in product(_cuts(starts[0], tiles[0], rims[0], slice(done, final)), *cuts):
            crops, shares = _covering(cell, starts, tiles, live, weights)
            at_rim = any(
                part.start < low or part.stop > high
                for part, (low, high) in zip(cell, rims, strict=True)
            )
            target = (slice(None), slice(cell[0].start - done, cell[0].stop - done), *cell[1:])
            if at_rim or len(crops) == 1:
                strip[target] = crops[-1]
            else:
                strip[target] = _mean(crops, shares) if shares else _median(crops)
        yield (slice(done, final), *(slice(0, n) for n in shape[1:])), strip
        done = final
        live = {place: pixels for place, pixels in live.items() if place[0] + tiles[0] > done}


def _starts(length: int, tile: int, stride: int, *, moves_back: bool) -> list[int]:
    """Return where tiles start along an axis, so that all of it is covered."""
    count = max(0, -(-(length - tile) // stride)) + 1
    starts = [i * stride for i in range(count)]
    if moves_back:
        starts[-1] = max(0, min(starts[-1], length - tile))
    return starts


def _cuts(starts: list[int], tile: int, rim: tuple[int, int], part: slice) -> list[slice]:
    """Cut a line into pieces that are covered by the same tiles from end to end."""
    at = {*starts, *(s + tile for s in starts), *rim}
    inside = sorted({part.start, part.stop, *(a for a in at if part.start < a < part.stop)})
    return [slice(a, b) for a, b in pairwise(inside)]


def _covering(
    cell: Region,
    starts: list[list[int]],
    tiles: tuple[int, ...],
    live: dict[tuple[int, ...], Pixels],
    weights: Pixels | None,
) -> tuple[list[Pixels], list[Pixels]]:
    """Return what each tile that covers a cell says of it, in raster order, and its weights."""
    lines = [
        [s for s in line if s <= part.start < s + t]
        for line, part, t in zip(starts, cell, tiles, strict=True)
    ]
    crops, shares = [], []
    for place in product(*lines):
        part = tuple(slice(p.start - s, p.stop - s) for p, s in zip(cell, place, strict=True))
        crops.append(live[place][(slice(None), *part)])
        if weights is not None:
            shares.append(weights[part])
    return crops, shares


def _weights(how: StitchMethod, tiles: tuple[int, ...]) -> Pixels | None:
    if how.window is None:
        return None
    weights = reduce(np.multiply.outer, [how.window(t) for t in tiles])
    return np.maximum(weights, how.least_weight).astype(np.float32)


def _predicted(
    predict: Callable[[Region], Pixels], place: tuple[int, ...], tiles: tuple[int, ...]
) -> Pixels:
    pixels = np.asarray(
        predict(tuple(slice(s, s + t) for s, t in zip(place, tiles, strict=True))), np.float32
    )
    if pixels.shape[1:] != tiles:
        raise PixelDataError(
            f"A tile of {tiles} px was predicted as {pixels.shape[1:]} px. "
            "Choose a tile that the network's stride divides."
        )
    return pixels


def _median(crops: list[Pixels]) -> Pixels:
    """Return the median of each pixel; NaN where one is NaN."""
    if len(crops) == 2:
        low, high = crops
    elif len(crops) == 4:
        # The case of the paper, without sorting: the middle two of two pairs.
        a, b, c, d = crops
        low = np.maximum(np.minimum(a, b), np.minimum(c, d))
        high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    else:
        return np.asarray(np.median(np.stack(crops), axis=0), np.float32)
    return np.asarray((low + high) / 2, np.float32)


def _mean(crops: list[Pixels], weights: list[Pixels]) -> Pixels:
    total = np.zeros_like(crops[0])
    for crop, weight in zip(crops, weights, strict=True):
        total += crop * weight
    return np.asarray(total / sum(weights), np.float32)
