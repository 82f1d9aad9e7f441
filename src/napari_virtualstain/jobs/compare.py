"""How one plane of a prediction compares with its truth, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.metrics.floor import LinearFloor
from napari_virtualstain.metrics.multiscale import MultiScale
from napari_virtualstain.metrics.pixel import spearman
from napari_virtualstain.metrics.spectrum import SpectralAgreement
from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import SSIM_WINDOW, local_ssim

__all__ = ["PlaneScore", "compare_planes", "grid_of", "grid_words", "read_rows"]

_STRIP = 1 << 22
"""Pixels of each picture that are held at a time."""
_ROWS = 256
"""Strips begin on multiples of this, where chunks do."""
_SAMPLE = 1 << 20
"""Pixels, evenly spread, whose ranks are compared and of which a threshold is taken."""
_MARGIN = SSIM_WINDOW - 1
"""Rows read beyond a strip: its neighbours, and enough for the last strip to hold a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneScore:
    """How one plane of one pair of channels compares; NaN is not defined.

    Parameters
    ----------
    compared
        Moments of both planes and of their difference.
    foreground
        The same where the truth is above Otsu's threshold.
    ssim
        Mean structural similarity.
    ms_ssim
        The same over five scales.
    constant_ssim, constant_mae
        That of a constant picture at the mean of the truth, and its mean absolute error.
    floor
        PCC of the linear floor.
    rank
        Correlation of ranks.
    correlation, power
        Of waves by octave, see `metrics.spectrum`.
    finest_px
        Period of the finest waves that correlate.
    """

    compared: Comparison
    foreground: Comparison
    ssim: float
    ms_ssim: float
    constant_ssim: float
    constant_mae: float
    floor: float
    rank: float
    correlation: tuple[float, ...]
    power: tuple[float, ...]
    finest_px: float


def compare_planes(
    prediction: LazyImage,
    target: LazyImage,
    below: LazyImage | None,
    names: tuple[str, str],
    t: int,
    z: int,
    *,
    within: Callable[[NDArray[np.float32], slice], NDArray[np.bool_]] | None = None,
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
    within
        Takes rows of the truth and which they are, and says which of their pixels count; all that
        both have, if `None`.
    """
    height, width = prediction.shape[3:]
    p_index, t_index = prediction.channel_index(names[0]), target.channel_index(names[1])
    rows = max(1, _STRIP // width // _ROWS) * _ROWS
    strips = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]

    def both(strip: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        p, y = read_rows(prediction, t, p_index, z, strip), read_rows(target, t, t_index, z, strip)
        # What does not count is as what is missing.
        return p, y if within is None else np.where(within(y, strip), y, np.float32("nan"))

    compared, floor = Comparison(), LinearFloor()
    spectra = SpectralAgreement((height, width))
    sample: list[NDArray[np.float32]] = []
    every = -(-height * width // _SAMPLE)
    kept = None
    for strip in strips:
        p, y = both(strip)
        compared.add(p, y)
        spectra.add(p, y)
        sample.append(np.stack([p.ravel()[::every], y.ravel()[::every]]))
        if below is not None:
            wide = slice(max(0, strip.start - floor.reach), min(strip.stop + floor.reach, height))
            above, under = strip.start - wide.start, wide.stop - strip.stop
            seen = np.where(np.isfinite(p), y, np.float32("nan"))
            floor.add(_stack(below, t, wide), seen, above=above, below=under)
        kept = (p, y) if len(strips) == 1 else None
    some = np.concatenate(sample, axis=1)
    some = some[:, np.isfinite(some).all(axis=0)]
    similar, constant, foreground = np.zeros(2), np.zeros(2), Comparison()
    away = np.zeros(2)
    scales: MultiScale | None = None
    if compared.count and compared.data_range > 0:
        peak, mean = compared.data_range, compared.truth_mean
        level = threshold_otsu(some[1]) if np.ptp(some[1]) > 0 else np.inf
        scales = MultiScale(range_=peak, fill=mean)
        for strip in strips:
            wide = slice(max(0, strip.start - _MARGIN), min(strip.stop + _MARGIN, height))
            p, y = kept or both(wide)
            inner = slice(strip.start - wide.start, strip.stop - wide.start)
            bright = np.where(y[inner] > level, y[inner], np.float32("nan"))
            foreground.add(p[inner], bright)
            scales.add(p[inner], y[inner])
            away += _sum(
                np.where(np.isfinite(p[inner]), np.abs(y[inner] - np.float64(mean)), np.nan)
            )
            if min(height, width) < SSIM_WINDOW:
                continue
            flat = np.where(np.isfinite(p), np.float32(mean), p)
            for sums, own in ((similar, p), (constant, flat)):
                sums += _sum(local_ssim(own, y, range_=peak, fill=mean)[inner])
    return PlaneScore(
        compared=compared, foreground=foreground, floor=floor.pearson,
        ssim=_over(similar), constant_ssim=_over(constant), constant_mae=_over(away),
        ms_ssim=scales.value if scales is not None else float("nan"),
        rank=spearman(*some) if some.size else float("nan"),
        correlation=spectra.correlation, power=spectra.power, finest_px=spectra.finest_px,
    )  # fmt: skip


def _sum(similar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of what is known, and how much that is."""
    return np.array([np.nansum(similar), np.isfinite(similar).sum()])


def _over(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def grid_of(image: LazyImage) -> tuple[int, ...]:
    """Return the length of T, Z, Y and X, which images that are compared share."""
    t, _, *rest = image.shape
    return (t, *rest)


def grid_words(image: LazyImage) -> str:
    """Return the same for people; of what there is one is not said."""
    t, _, z, y, x = image.shape
    counts = [f"{n} {what}" for n, what in ((t, "time points"), (z, "z planes")) if n > 1]
    return " and ".join([f"{y} x {x} px", *counts])


def read_rows(image: LazyImage, t: int, c: int, z: int, rows: slice) -> NDArray[np.float32]:
    """Return rows of one plane, (y, X)."""
    region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), rows, slice(None))
    pixels: NDArray[np.float32] = image.read(region)[0, 0, 0].astype(np.float32)
    return pixels


def _stack(image: LazyImage, t: int, rows: slice) -> NDArray[np.float32]:
    """Return rows of all planes at a time point: (P, y, X)."""
    region = (slice(t, t + 1), slice(0, 1), slice(None), rows, slice(None))
    pixels: NDArray[np.float32] = image.read(region)[0, 0].astype(np.float32)
    return pixels
