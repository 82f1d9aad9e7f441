"""How sharp a plane is, and which plane of a stack is in focus.

No measure says by itself whether large or small is sharp. White noise has the
largest power-spectrum slope and blur lowers it, so that stained planes are in
focus where the slope is largest; where noise fills the high frequencies alike in
every plane, focus adds to the middle ones and the slope is *smallest* there [5]_;
and a transparent cell in bright field has the least contrast of all in focus.
The direction is therefore read off each stack (`FocusProfile.direction`), or off
planes that are known to be in focus (`focus_calibration`), and always
reported with what was found.

References
----------
.. [1] Field and Brady, "Visual sensitivity, blur and the sources of variability in
   the amplitude spectra of natural scenes", Vision Research 37, 3367 (1997),
   doi:10.1016/S0042-6989(97)00181-8; as PowerLogLogSlope in CellProfiler: Bray et
   al., J. Biomol. Screen. 17, 266 (2012), doi:10.1177/1087057111420292.
.. [2] Brenner et al., "An automated microscope for cytologic research", J.
   Histochem. Cytochem. 24, 100 (1976), doi:10.1177/24.1.1254907.
.. [3] Groen, Young, Ligthart, "A comparison of different focus functions for use in
   autofocus algorithms", Cytometry 6, 81 (1985), doi:10.1002/cyto.990060202.
.. [4] Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
   comparative study", ICPR 3, 314 (2000), doi:10.1109/ICPR.2000.903548.
.. [5] Venieri, thesis on 3-D in-silico staining, section 2.2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from napari_virtualstain.errors import PixelDataError, UnknownNameError, unknown_name

__all__ = [
    "MEASURES",
    "FocusProfile",
    "brenner",
    "extrema",
    "focus_profile",
    "laplacian_energy",
    "normalised_variance",
    "power_log_log_slope",
]

_SMALLEST = 32
_LAPLACIAN_SIGMA_PX = 2.0


def power_log_log_slope(plane: NDArray[Any]) -> float:
    """Return the slope of log power over log spatial frequency; NaN for a constant plane.

    About +1.4 for white noise, negative for smooth pictures. Independent of gain
    and offset; depends on the size of the plane, so compare planes of one size.

    Parameters
    ----------
    plane
        (Y, X), at least 32 x 32 px; NaN is replaced by the mean.

    Notes
    -----
    The numbers are those of CellProfiler's PowerLogLogSlope: power *summed* over
    rings one frequency wide, the rings numbered 2 to min(Y, X) / 8, a straight
    line by least squares. Its rings count negative frequencies one too low, which
    is kept. It divides by the median absolute deviation first; that moves the line,
    not its slope, and fails on sparse planes, so it is left out.
    """
    pixels = _filled(plane)
    if pixels.min() == pixels.max():
        return float("nan")
    # Negative frequencies mirror positive ones but for their ring: rfft would not save much.
    power = np.square(np.abs(fft.fft2(pixels - pixels.mean())))
    near = [np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in pixels.shape]
    ring = np.hypot(near[0][:, None], near[1][None, :]).astype(np.intp) + 1
    rings = np.arange(2, int(min(pixels.shape) / 8))
    sums = np.bincount(ring.ravel(), power.ravel())[rings]
    lit = sums > 0
    if np.count_nonzero(lit) < 2:
        return float("nan")
    return float(np.polyfit(np.log(rings[lit]), np.log(sums[lit]), 1)[0])


def brenner(plane: NDArray[Any]) -> float:
    """Return Brenner's gradient: mean squared difference of pixels two apart, over mean squared.

    Along both axes; the original [2]_ takes one, and does not divide. Large where
    there are fine edges, or noise. NaN if the mean is not positive.
    """
    pixels = _filled(plane)
    down, right = pixels[2:] - pixels[:-2], pixels[:, 2:] - pixels[:, :-2]
    return _relative(float(np.square(down).mean() + np.square(right).mean()), pixels)


def normalised_variance(plane: NDArray[Any]) -> float:
    """Return the variance over the squared mean (Groen et al. divide by the mean).

    Large where there is contrast of any size; NaN if the mean is not positive.
    """
    pixels = _filled(plane)
    return _relative(float(pixels.var()), pixels)


def laplacian_energy(plane: NDArray[Any]) -> float:
    """Return the variance of the Laplacian of a Gaussian (2 px), over the squared mean.

    Large where there is fine structure; the Gaussian keeps camera noise out. NaN
    if the mean is not positive.
    """
    pixels = _filled(plane)
    return _relative(float(ndimage.gaussian_laplace(pixels, _LAPLACIAN_SIGMA_PX).var()), pixels)


MEASURES: dict[str, Callable[[NDArray[Any]], float]] = {
    "power_log_log_slope": power_log_log_slope,
    "brenner": brenner,
    "normalised_variance": normalised_variance,
    "laplacian_energy": laplacian_energy,
}
"""Measures by name."""


@dataclass(frozen=True, slots=True)
class FocusProfile:
    """How sharp each plane of a stack is, by several measures.

    Parameters
    ----------
    values
        By name of the measure: one number a plane, NaN where it has none.

    Examples
    --------
    >>> profile = FocusProfile({"brenner": (1.0, 2.0, 5.0, 2.0, 1.0)})
    >>> profile.direction("brenner"), len(profile)
    (1, 5)
    """

    values: dict[str, tuple[float, ...]]

    def __len__(self) -> int:
        """Return the number of planes."""
        return max((len(line) for line in self.values.values()), default=0)

    def line(self, measure: str) -> NDArray[np.float64]:
        """Return the values of a measure, one a plane.

        Raises
        ------
        UnknownNameError
            If it was not measured.
        """
        if measure not in self.values:
            raise _unknown(measure, self.values)
        return np.array(self.values[measure], np.float64)

    def direction(self, measure: str) -> int:
        """Return 1 if focus is where the measure is largest, -1 if smallest, as found here.

        Focus is a place with two sides: a maximum that falls, or a minimum that
        rises, towards both ends of the stack. Of the two, the one that stands out
        more counts, less the second one of its kind: contrast in bright field has
        two maxima, before and behind focus, and the minimum between them is meant.
        0 if there is neither: the profile is flat, monotone, or not finite.
        """
        line = self.line(measure)
        up, down = _standing_out(line), _standing_out(-line)
        if up == down:
            return 0
        return 1 if up > down else -1


def focus_profile(
    stack: Iterable[NDArray[Any]], measures: Iterable[str] = tuple(MEASURES)
) -> FocusProfile:
    """Measure each plane of a stack; one plane is in memory at a time.

    Parameters
    ----------
    stack
        (Z, Y, X), or anything that gives planes (Y, X).
    measures
        Names of `MEASURES`.

    Raises
    ------
    UnknownNameError
        If there is no such measure.
    PixelDataError
        If a plane is smaller than 32 px, or has no pixels.
    """
    chosen = tuple(measures)
    for name in chosen:
        if name not in MEASURES:
            raise _unknown(name, MEASURES)
    lines: dict[str, list[float]] = {name: [] for name in chosen}
    for plane in stack:
        for name, line in lines.items():
            line.append(MEASURES[name](np.asarray(plane)))
    return FocusProfile({name: tuple(line) for name, line in lines.items()})


def _unknown(name: str, known: Iterable[str]) -> UnknownNameError:
    return unknown_name("focus measure", name, known)


def _filled(plane: NDArray[Any]) -> NDArray[np.float64]:
    if np.ndim(plane) != 2 or min(np.shape(plane)) < _SMALLEST:
        raise PixelDataError(
            f"Focus is measured on planes of at least {_SMALLEST} x {_SMALLEST} px, got shape "
            f"{np.shape(plane)}. Give one whole plane (Y, X)."
        )
    pixels = np.asarray(plane, np.float64)
    known = np.isfinite(pixels)
    if known.all():
        return pixels
    if not known.any():
        raise PixelDataError(
            "Focus cannot be measured on a plane without a finite pixel. Leave this plane out."
        )
    return np.where(known, pixels, pixels[known].mean())


def _relative(value: float, pixels: NDArray[np.float64]) -> float:
    mean = float(pixels.mean())
    return value / mean**2 if mean > 0 else float("nan")


def extrema(line: NDArray[np.float64]) -> dict[int, float]:
    """Return the inner maxima of a finite line, and by how much each stands out on both sides."""
    heights = {}
    for at in range(1, line.size - 1):
        here = line[at]
        if here < line[at - 1] or here <= line[at + 1]:
            continue
        # Down to the lowest point on each side before the line climbs higher than here.
        sides = []
        for side in (line[:at][::-1], line[at + 1 :]):
            higher = np.flatnonzero(side > here)
            sides.append(side[: higher[0] if higher.size else side.size].min())
        heights[at] = float(here - max(sides))
    return heights


def _standing_out(line: NDArray[np.float64]) -> float:
    """Return by how much the highest inner maximum stands out, less the second one."""
    if not np.isfinite(line).all():
        return 0.0
    heights = sorted(extrema(line).values(), reverse=True)
    return heights[0] - (heights[1] if len(heights) > 1 else 0.0) if heights else 0.0
