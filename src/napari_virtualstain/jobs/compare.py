"""How one plane of a prediction compares with its truth, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.metrics.floor import LinearFloor
from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import SSIM_WINDOW, local_ssim

__all__ = ["PlaneScore", "compare_planes"]

_STRIP = 1 << 22
"""Pixels of each picture that are held at a time."""
_ROWS = 256
"""Strips begin on multiples of this, where chunks do."""
_MARGIN = SSIM_WINDOW - 1
"""Rows read beyond a strip: its neighbours, and enough for the last strip to hold a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneScore:
    """How one plane of one pair of channels compares; NaN is not defined.

    Parameters
    ----------
    compared
        Moments of both planes and of their difference.
    ssim
        Mean structural similarity.
    floor
        PCC of the linear floor.
    """

    compared: Comparison
    ssim: float
    floor: float


def compare_planes(
    prediction: LazyImage,
    target: LazyImage,
    below: LazyImage | None,
    names: tuple[str, str],
    t: int,
    z: int,
) -> PlaneScore:
    """Compare one plane strip by strip, so that memory does not grow with it.

    Parameters
    ----------
    prediction, target
        Images of one size.
    below
        Bright-field planes for the floor, (T, 1, P, Y, X), or `None`.
    names
        Channel of the prediction, channel of the target.
    t, z
        Which plane.
    """
    height, width = prediction.shape[3:]
    p_index, t_index = prediction.channel_index(names[0]), target.channel_index(names[1])
    rows = max(1, _STRIP // width // _ROWS) * _ROWS
    strips = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]

    def both(strip: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return _rows(prediction, t, p_index, z, strip), _rows(target, t, t_index, z, strip)

    compared, floor = Comparison(), LinearFloor()
    kept = None
    for strip in strips:
        p, y = both(strip)
        compared.add(p, y)
        if below is not None:
            wide = slice(max(0, strip.start - floor.reach), min(strip.stop + floor.reach, height))
            above, under = strip.start - wide.start, wide.stop - strip.stop
            seen = np.where(np.isfinite(p), y, np.float32("nan"))
            floor.add(_stack(below, t, wide), seen, above=above, below=under)
        kept = (p, y) if len(strips) == 1 else None
    local = float("nan")
    if min(height, width) >= SSIM_WINDOW and compared.count and compared.data_range > 0:
        total = 0.0
        for strip in strips:
            wide = slice(max(0, strip.start - _MARGIN), min(strip.stop + _MARGIN, height))
            p, y = kept or both(wide)
            similar = local_ssim(p, y, range_=compared.data_range, fill=compared.truth_mean)
            inner = similar[strip.start - wide.start : strip.stop - wide.start]
            total += float(np.nansum(inner))
        local = total / compared.count
    return PlaneScore(compared=compared, ssim=local, floor=floor.pearson)


def _rows(image: LazyImage, t: int, c: int, z: int, rows: slice) -> NDArray[np.float32]:
    region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), rows, slice(None))
    pixels: NDArray[np.float32] = image.read(region)[0, 0, 0].astype(np.float32)
    return pixels


def _stack(image: LazyImage, t: int, rows: slice) -> NDArray[np.float32]:
    """Return rows of all planes at a time point: (P, y, X)."""
    region = (slice(t, t + 1), slice(0, 1), slice(None), rows, slice(None))
    pixels: NDArray[np.float32] = image.read(region)[0, 0].astype(np.float32)
    return pixels
