"""How does each place of a predicted field look? A few numbers of what artifacts are made of.

Of each stain, in units of how bright its cells are; of the bright field, over its median. All are
taken over a window of about 10 µm, and are numbers that no other place of the field changes, but
for that unit.

==============  ===================================================================================
number          what it is
==============  ===================================================================================
level           mean
strength        log of the power between 4 and 8 px
4/8, 2/4, 1/2   log of the power of one octave over that of the next coarser one: blur and noise
pattern         log of the share of fine power that repeats every 2 or 4 px with one phase
step            log of the share of fine power that lies in one straight line
==============  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.qc.field import Picture, QcField, softened

__all__ = ["WINDOW_UM", "WindowMean", "place_features", "place_names", "step_of", "window_of"]

WINDOW_UM = 10.0
"""Edge of the window around a place."""

_LEAST = 1e-6
"""Power below which nothing is there: a thousandth of the brightness of cells, squared."""
_LEAST_LIGHT = 1e-8
_NUMBERS = ("level", "strength", "4/8", "2/4", "1/2", "pattern", "step")
_LIGHT = ("strength", "2/4", "1/2")
_WAVES = ((2, 2), (2, 0), (0, 2), (1, 0), (0, 1), (1, 1), (1, 3))
"""Quarters of a turn from pixel to pixel, along y and x."""


def window_of(pixel_um: float) -> int:
    """Return the edge of the window in pixels, at least 8."""
    return max(8, round(WINDOW_UM / pixel_um))


def step_of(pixel_um: float) -> int:
    """Return the pixels from place to place: a quarter of the window."""
    return max(1, window_of(pixel_um) // 4)


def place_names(field: QcField) -> tuple[str, ...]:
    """Return the names of `place_features`."""
    names = [f"{stain} {number}" for stain in field.stains for number in _NUMBERS]
    return (*names, *(f"bright field {number}" for number in _LIGHT if field.planes is not None))


def place_features(field: QcField) -> NDArray[np.float32]:
    """Return what each place looks like, (F, y, x), `step_of` pixels apart from the corner on.

    Parameters
    ----------
    field
        Prediction, with the bright field where it is at hand. What is missing has the level of
        empty places.

    Notes
    -----
    Octaves are differences of Gaussians of sigma 1, 2, 4 and 8 px. A pattern is the picture less
    its Gaussian, turned by a wave of 2 or 4 px and averaged: what has another phase from place to
    place averages out. A step is what a line has over its neighbours' trend, averaged along the
    line; the largest of the window.
    """
    found: NDArray[np.float32] = field.once("places", lambda: _features(field))
    return found


def _features(field: QcField) -> NDArray[np.float32]:
    found: list[Picture] = []
    for name, picture in field.stains.items():
        unit = max(field.bright(name), 1e-12)
        known = np.where(np.isfinite(picture), picture, np.float32(field.dark(name)))
        found += _of_stain(
            (known - np.float32(field.dark(name))) / np.float32(unit), field.pixel_um
        )
    if field.planes is not None:
        found += _of_light(field.planes, field.pixel_um)
    return np.stack(found).astype(np.float32)


def _of_stain(picture: Picture, pixel_um: float) -> Iterator[Picture]:
    mean = WindowMean(pixel_um)
    octaves = list(_octaves(picture))
    powers = [mean(one * one) for one in octaves]
    yield mean(picture)
    yield np.log(powers[3] + _LEAST)
    for fine, coarse in ((2, 3), (1, 2), (0, 1)):
        yield np.log((powers[fine] + _LEAST) / (powers[coarse] + _LEAST))
    yield np.log((_pattern(octaves[0], mean) + _LEAST) / (powers[0] + _LEAST))
    yield np.log((_steps(picture, pixel_um) + _LEAST) / (powers[0] + powers[1] + _LEAST))


def _of_light(planes: Picture, pixel_um: float) -> Iterator[Picture]:
    mean = WindowMean(pixel_um)
    total = np.zeros((3, 1, 1), np.float32)
    for plane in planes:
        known = np.isfinite(plane)
        middle = np.float32(np.median(plane[known])) if known.any() else np.float32(1)
        over = np.asarray(np.where(known, plane, middle) / (middle or 1) - 1, np.float32)
        total = total + np.stack([mean(one * one) for one in list(_octaves(over))[:3]])
    yield np.log(total[2] + _LEAST_LIGHT)
    for fine, coarse in ((1, 2), (0, 1)):
        yield np.log((total[fine] + _LEAST_LIGHT) / (total[coarse] + _LEAST_LIGHT))


class WindowMean:
    """Means of a picture (Y, X) over the windows of all places, (y, x).

    Parameters
    ----------
    pixel_um
        Edge of its pixels.
    """

    def __init__(self, pixel_um: float) -> None:
        self._window, self._step = window_of(pixel_um), step_of(pixel_um)

    def __call__(self, picture: Picture) -> Picture:
        """Average."""
        found = ndimage.uniform_filter(picture, self._window, mode="nearest")
        mean: Picture = found[:: self._step, :: self._step]
        return mean


def _octaves(picture: Picture) -> Iterator[Picture]:
    finer = picture
    for sigma in (1.0, 2.0, 4.0, 8.0):
        coarser = softened(picture, sigma)
        yield finer - coarser
        finer = coarser


def _pattern(fine: Picture, mean: WindowMean) -> Picture:
    """Return the power of the strongest wave of 2 or 4 px that keeps its phase over the window."""
    y, x = (np.arange(n) for n in fine.shape)
    strongest: Picture | None = None
    for down, across in _WAVES:
        turn = (down * y[:, None] + across * x) % 4
        real = mean(fine * np.array([1, 0, -1, 0], np.float32)[turn])
        power = real * real
        if (down % 2) or (across % 2):
            other = mean(fine * np.array([0, 1, 0, -1], np.float32)[turn])
            power = 2 * (power + other * other)
        strongest = power if strongest is None else np.maximum(strongest, power)
    assert strongest is not None
    return strongest


def _steps(picture: Picture, pixel_um: float) -> Picture:
    """Return the square of the largest step along a straight line through the window."""
    window, step = window_of(pixel_um), step_of(pixel_um)
    largest: Picture | None = None
    for axis in (0, 1):
        rise = np.diff(picture, axis=axis, append=np.take(picture, [-1], axis=axis))
        beyond = (np.roll(rise, 1, axis) + np.roll(rise, -1, axis)) / 2
        line = ndimage.uniform_filter1d(rise - beyond, window, axis=1 - axis, mode="nearest")
        most = ndimage.maximum_filter1d(np.abs(line), window, axis=axis, mode="nearest")
        most = most[::step, ::step]
        largest = most if largest is None else np.maximum(largest, most)
    assert largest is not None
    return largest * largest
