"""By how many pixels two pictures of one field are shifted, and how sure that is.

Bright field and fluorescence share edges, not grey values, so that gradient
magnitudes are compared. Their spectra are divided by the square root of their
magnitude, half way between cross-correlation (wide peaks, moved by whatever is
bright) and phase correlation [1]_ (narrow peaks, lost in the noise of unlike
pictures). Rotation and scale are not looked for.

**Sign**: a shift (dy, dx) is what `apply_shift` moves the *moving* picture by so
that it lies on the *fixed* one; (3, 0) moves it 3 px down. scikit-image's
`phase_cross_correlation(fixed, moving)` has the same sign.

References
----------
.. [1] Kuglin and Hines, "The phase correlation image alignment method", Proc.
   IEEE Int. Conf. Cybernetics and Society, 163 (1975).
.. [2] Efron and Stein, "The jackknife estimate of variance", Ann. Statist. 9, 586
   (1981), doi:10.1214/aos/1176345462.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.preprocessing.cubic import between

__all__ = ["Shift", "apply_shift", "estimate_shift"]

_SIGMA_PX = 1.0
"""Of the gradient; 2 px lose the edge in its halo in most real pairs."""
_TAPER = 0.25
"""Part of each side over which the window falls to zero."""
_SMALLEST = 32
_ONE_PEAK_PX = 8.0
"""What is nearer to the best shift belongs to its peak."""
_SURE = 0.25
"""Confidence from which a shift is believed."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How a picture lies on another.

    Parameters
    ----------
    dy, dx
        In pixels: what the moving picture has to be moved by.
    uncertainty_px
        Standard error of the shift; NaN where nothing could be compared. See
        `estimate_shift`.
    confidence
        0 to 1; below 0.25 the shift means nothing. See `estimate_shift`.
    contrast
        0 to 1: how far the peak of the correlation stands above the highest value
        among shifts more than 8 px away from it.
    tolerance_px
        Shifts up to this are called none.
    notes
        Sentences about what makes it doubtful.
    """

    dy: float
    dx: float
    uncertainty_px: float
    confidence: float
    contrast: float
    tolerance_px: float
    notes: tuple[str, ...] = ()

    @property
    def distance_px(self) -> float:
        """Length of the shift in pixels."""
        return float(np.hypot(self.dy, self.dx))

    @property
    def verdict(self) -> Literal["aligned", "shifted", "ambiguous"]:
        """``ambiguous`` if nothing tells; ``shifted`` if surely by more than tolerated."""
        if self.confidence < _SURE:
            return "ambiguous"
        surely = self.distance_px - 2 * self.uncertainty_px
        return "shifted" if surely > self.tolerance_px else "aligned"

    def distance_um(self, pixel_size_yx_um: tuple[float, float]) -> float:
        """Return the length of the shift in micrometres for pixels of this size (y, x)."""
        return float(np.hypot(self.dy * pixel_size_yx_um[0], self.dx * pixel_size_yx_um[1]))


def estimate_shift(
    fixed: NDArray[Any],
    moving: NDArray[Any],
    *,
    max_shift_px: int = 20,
    tolerance_px: float = 1.5,
) -> Shift:
    """Return by how much one plane is shifted against another of the same field.

    Parameters
    ----------
    fixed, moving
        (Y, X) of the same shape, for example the stain and the bright field; NaN
        is missing.
    max_shift_px
        Larger shifts are not looked for; an eighth of the shorter side at most.
    tolerance_px
        What `Shift.verdict` calls no shift. Oblique light alone moves the edges
        of bright field by about a pixel.

    Raises
    ------
    PixelDataError
        If the shapes differ or a side is shorter than 32 px.
    SettingsError
        If `max_shift_px` is below 1.

    Notes
    -----
    The correlation is a sum over 2 x 2 to 4 x 4 parts of the field, each of which
    is left out in turn (the jackknife [2]_): pictures that share nothing, or whose
    halos repeat, give another shift each time. To that error e the distance to the
    peak of the plain cross-correlation is added, squared. With the contrast c = 1 - (highest
    value more than 8 px away) / peak and e in pixels, the confidence is c / (1 + (e / 2)**2).
    """
    _check(fixed, moving, max_shift_px)
    edges_fixed, edges_moving = _edges(fixed), _edges(moving)
    if not (edges_fixed.any() and edges_moving.any()):
        return Shift(
            0.0, 0.0, float("nan"), 0.0, 0.0, tolerance_px,
            ("One of the pictures is empty, so that nothing can be compared.",),
        )  # fmt: skip
    reach = max(1, min(max_shift_px, min(fixed.shape) // 8))
    first, second = _whitened(edges_fixed), _whitened(edges_moving)
    parts = _surfaces(first, second, reach)
    surface = parts.sum(axis=0)
    dy, dx, peak = _peak(surface)
    contrast = 0.0
    if peak > 0:
        contrast = float(np.clip(1 - _highest_elsewhere(first, second, dy, dx) / peak, 0, 1))
    without = np.array([_peak(surface - part)[:2] for part in parts])
    n = len(parts)
    spread = (n - 1) / n * np.square(without - without.mean(axis=0)).sum()
    # What depends on how fine and coarse edges are weighed is not known any better.
    plain_dy, plain_dx, _ = _peak(_surfaces(edges_fixed, edges_moving, reach).sum(axis=0))
    error = float(np.sqrt(spread + (plain_dy - dy) ** 2 + (plain_dx - dx) ** 2))
    confidence = contrast / (1 + (error / 2) ** 2)
    notes = []
    if max(abs(dy), abs(dx)) >= reach - 0.5:
        confidence = 0.0
        notes.append(
            f"The best shift lies at the limit of {reach} px, so that the true one may be larger "
            "or the pictures are of different fields."
        )
    elif confidence < _SURE:
        notes.append(
            "The pictures do not tell how they lie on each other: several shifts are equally good."
        )
    return Shift(dy, dx, error, confidence, contrast, tolerance_px, tuple(notes))


def apply_shift(pixels: NDArray[Any], shift: Shift | tuple[float, float]) -> NDArray[np.float32]:
    """Return planes moved by a shift; what moved in from outside is NaN.

    Parameters
    ----------
    pixels
        (..., Y, X) of any type; all planes are moved alike.
    shift
        (dy, dx) in pixels, or what `estimate_shift` returned; rounded to a millionth of a pixel,
        since less is lost in the numbers of places and would move edges alone.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape. Whole pixels are copied; between pixels, cubic
        convolution of the 4 x 4 neighbours, and NaN where one of them is missing.
    """
    dy, dx = (shift.dy, shift.dx) if isinstance(shift, Shift) else shift
    if not np.isfinite([dy, dx]).all():
        raise SettingsError(f"A shift must be two numbers of pixels, got {(dy, dx)}. Give both.")
    moved = np.asarray(pixels, np.float32)
    for axis, by in ((moved.ndim - 2, dy), (moved.ndim - 1, dx)):
        moved = between(
            moved, np.arange(moved.shape[axis], dtype=np.float64) - round(float(by), 6), axis=axis
        )
    return moved


def _check(fixed: NDArray[Any], moving: NDArray[Any], max_shift_px: int) -> None:
    if np.ndim(fixed) != 2 or np.shape(fixed) != np.shape(moving):
        raise PixelDataError(
            f"A shift is found between two planes of one shape, got {np.shape(fixed)} and "
            f"{np.shape(moving)}. Give one plane of each, at the same pixel size."
        )
    if min(np.shape(fixed)) < _SMALLEST:
        raise PixelDataError(
            f"A plane of {fixed.shape[0]} x {fixed.shape[1]} px is too small to tell a shift. "
            f"Give planes of at least {_SMALLEST} px."
        )
    if max_shift_px < 1:
        raise SettingsError(f"max_shift_px must be 1 or more, got {max_shift_px}. Choose 20.")


def _edges(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return the gradient magnitude with mean zero under a window that falls to the border."""
    pixels = np.asarray(plane, np.float64)
    known = np.isfinite(pixels)
    if not known.any():
        return np.zeros(pixels.shape, np.float32)
    middle = float(np.median(pixels[known]))
    edges = ndimage.gaussian_gradient_magnitude(np.where(known, pixels - middle, 0.0), _SIGMA_PX)
    if edges.max() <= 1e-9 * max(abs(middle), 1.0):
        return np.zeros(pixels.shape, np.float32)
    sides = (signal.windows.tukey(n, _TAPER) for n in edges.shape)
    window = np.multiply.outer(*sides)
    if not known.all():
        # The border of what is missing is an edge that no picture has.
        window *= ndimage.binary_erosion(known, iterations=4, border_value=1)
    total = window.sum()
    if total == 0:
        return np.zeros(pixels.shape, np.float32)
    edges = (edges - (edges * window).sum() / total) * window
    return np.asarray(edges / max(float(np.abs(edges).max()), 1e-300), np.float32)


def _whitened(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture whose spectrum is divided by the root of its magnitude."""
    spectrum = fft.rfft2(edges)
    size = np.abs(spectrum)
    spectrum /= np.sqrt(np.maximum(size, 1e-6 * size.max()))
    return np.asarray(fft.irfft2(spectrum, edges.shape), np.float32)


def _surfaces(
    first: NDArray[np.float32], second: NDArray[np.float32], reach: int
) -> NDArray[np.float64]:
    """Return the correlation at all shifts up to the reach, of each part of the field.

    (parts, 2 reach + 1, 2 reach + 1); entry [k, reach + dy, reach + dx] is the sum over a
    part of first(y, x) * second(y - dy, x - dx).
    """
    around = np.pad(second, reach)
    rows, columns = (
        np.linspace(0, n, int(np.clip(n // 64, 2, 4)) + 1).astype(int) for n in first.shape
    )
    surfaces = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            wide = around[top : bottom + 2 * reach, left : right + 2 * reach]
            part = signal.correlate(wide, first[top:bottom, left:right], "valid", "fft")
            surfaces.append(np.asarray(part[::-1, ::-1], np.float64))
    return np.array(surfaces)


def _peak(surface: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the shift (dy, dx) and height of the highest value, to a fraction of a pixel.

    A quintic spline through the values: parabolas through three of them are drawn to whole
    pixels by a tenth where a peak is narrow.
    """
    reach = surface.shape[0] // 2
    best = np.unravel_index(surface.argmax(), surface.shape)
    coefficients = ndimage.spline_filter(surface, order=5, mode="mirror")
    place = np.array(best, np.float64)
    height = float(surface[best])
    for step in (0.25, 0.05, 0.01):
        around = np.arange(-5, 6) * step
        grid = np.clip(place[:, None] + around, 0, surface.shape[0] - 1)
        mesh = np.meshgrid(*grid, indexing="ij")
        fine = ndimage.map_coordinates(coefficients, mesh, order=5, mode="mirror", prefilter=False)
        y, x = np.unravel_index(fine.argmax(), fine.shape)
        place, height = np.array([grid[0, y], grid[1, x]]), float(fine[y, x])
    return float(place[0] - reach), float(place[1] - reach), height


def _highest_elsewhere(
    first: NDArray[np.float32], second: NDArray[np.float32], dy: float, dx: float
) -> float:
    """Return the highest correlation among shifts that are far from this one."""
    product = fft.rfft2(first) * np.conj(fft.rfft2(second))
    everywhere = fft.irfft2(product, first.shape)
    # The circle wraps: a shift of -2 stands at the end.
    away = [
        np.abs((np.arange(n) - by + n / 2) % n - n / 2)
        for n, by in zip(first.shape, (dy, dx), strict=True)
    ]
    near = np.hypot(away[0][:, None], away[1][None, :]) <= _ONE_PEAK_PX
    return float(np.where(near, -np.inf, everywhere).max())
