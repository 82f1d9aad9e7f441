"""What one plane is like as a measurement: saturation, bit depth, light, noise, emptiness, focus.

Plain numbers with their units; what is good enough for a model is decided
elsewhere, by comparing them with the planes that it was trained on.

References
----------
.. [1] Immerkaer, "Fast noise variance estimation", Computer Vision and Image
   Understanding 64, 300 (1996), doi:10.1006/cviu.1996.0060.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.preprocessing.focus import MEASURES
from napari_virtualstain.preprocessing.illumination import IlluminationSettings
from napari_virtualstain.preprocessing.surface import smoothed_at_nodes

__all__ = [
    "PlaneQuality",
    "bit_depth",
    "empty_fraction",
    "noise_level",
    "plane_quality",
    "saturation",
]

_BLOCK = 16
"""Edge in pixels of the squares in which noise and structure are measured."""
_QUIET = 0.1
_QUIET_FACTOR = 0.895
"""What the quietest tenth of blocks of white noise shows of its true level."""
_PILE = 10
"""A largest value is piled up if so many times more pixels have it than the values next to it."""
_SMOOTH_SIGMA_PX = 1.0
_WHITE_AFTER_SMOOTHING = 1 / (2 * np.sqrt(np.pi) * _SMOOTH_SIGMA_PX)
"""SD of white noise of SD 1 after the Gaussian."""
_SMALLEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneQuality:
    """What one plane is like.

    Parameters
    ----------
    saturated_fraction
        0 to 1: pixels at the top of their type, or at a largest value on which
        they pile up.
    saturation_value
        That value in grey values; `None` if nothing is saturated.
    bits_stored
        Bits of a pixel in the file's type.
    bits_used
        log2 of the number of steps between the darkest and brightest thousandth.
    grey_step
        Smallest distance of grey values that occur; above 1 where integers were stretched.
    unevenness_percent
        Brightest minus darkest place of the smoothed plane in percent of its
        median (a median filter over a quarter of the field). Light and dense
        cells together: of one field they cannot be told apart.
    noise
        SD in grey values of the quiet parts of the field.
    noise_percent
        The same in percent of the plane's median; `None` if that is not positive.
    empty_fraction
        0 to 1: squares of 16 px without structure above noise and background.
    focus
        By name of the measure (`focus.MEASURES`); NaN where there is none.
    missing_fraction
        0 to 1: pixels that are NaN or infinite, which enter nothing else.
    notes
        Sentences about what makes a number doubtful.
    """

    saturated_fraction: float
    saturation_value: float | None
    bits_stored: int
    bits_used: float
    grey_step: float
    unevenness_percent: float
    noise: float
    noise_percent: float | None
    empty_fraction: float
    focus: dict[str, float]
    missing_fraction: float
    notes: tuple[str, ...] = ()


def plane_quality(plane: NDArray[Any]) -> PlaneQuality:
    """Return what a plane is like.

    Parameters
    ----------
    plane
        (Y, X), at least 32 x 32 px, as stored: corrected or rescaled pixels no
        longer show saturation and bit depth. NaN is missing.

    Raises
    ------
    PixelDataError
        If it is no such plane, or has no finite pixel.
    """
    _check(plane)
    pixels = np.asarray(plane, np.float64)
    known = np.isfinite(pixels)
    if not known.any():
        raise PixelDataError(
            "A plane without a finite pixel has no quality. Choose another plane or channel."
        )
    notes = []
    if pixels[known].min() == pixels[known].max():
        notes.append("All pixels have one value: there is no picture in this plane.")
    median = float(np.median(pixels[known]))
    fraction, value = saturation(plane)
    bits, step = bit_depth(plane)
    noise = noise_level(plane)
    empty, structured = _emptiness(pixels, noise)
    if structured:
        notes.append(
            "Even the quietest parts of the field have structure: either cells or dirt are "
            "everywhere, or the light is not even."
        )
    sigma = IlluminationSettings().sigma_for((pixels.shape[0], pixels.shape[1]))
    light = smoothed_at_nodes(pixels, sigma=sigma)
    return PlaneQuality(
        saturated_fraction=fraction,
        saturation_value=value,
        bits_stored=8 * np.asarray(plane).dtype.itemsize,
        bits_used=bits,
        grey_step=step,
        unevenness_percent=_range_percent(light),
        noise=noise,
        noise_percent=100 * noise / median if median > 0 else None,
        empty_fraction=empty,
        focus={name: measure(pixels) for name, measure in MEASURES.items()},
        missing_fraction=1 - float(known.mean()),
        notes=tuple(notes),
    )


def saturation(plane: NDArray[Any]) -> tuple[float, float | None]:
    """Return the fraction of saturated pixels, and at which grey value.

    Pixels at the top of an integer type are saturated. So are those at the
    largest value of the plane, if at least ten pixels and a ten-thousandth of the
    plane have it, and ten times as many as have each of the next eight values
    that occur: a 12-bit camera in a 16-bit file. A constant plane is not.

    Examples
    --------
    >>> ramp = np.minimum(np.arange(10_000).reshape(100, 100), 4095).astype(np.uint16)
    >>> saturation(ramp)
    (0.5905, 4095.0)
    """
    stored = np.asarray(plane)
    pixels = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored.ravel()
    if pixels.size == 0 or pixels.dtype.kind == "b":
        return 0.0, None
    top = pixels.max()
    if top == pixels.min():
        return 0.0, None
    at_top = int(np.count_nonzero(pixels == top))
    if pixels.dtype.kind in "iu" and top == np.iinfo(pixels.dtype).max:
        return at_top / pixels.size, float(top)
    if at_top < max(_PILE, 1e-4 * pixels.size):
        return 0.0, None
    # Only the brightest tenth is sorted, or all where fewer values occur.
    upper = pixels[pixels >= np.quantile(pixels, 0.9)]
    values, counts = np.unique(upper, return_counts=True)
    if values.size < 3:
        values, counts = np.unique(pixels, return_counts=True)
    below = counts[-9:-1]
    # Black and white: a picture of two values is a mask, not a saturated measurement.
    piled = values.size > 2 and at_top >= _PILE * below.mean()
    return (at_top / pixels.size, float(top)) if piled else (0.0, None)


def bit_depth(plane: NDArray[Any]) -> tuple[float, float]:
    """Return how many bits the grey values use, and their smallest step.

    The bits are log2 of the steps between the 0.1 % darkest and brightest pixels,
    so that single hot pixels add nothing. For floats the step is the smallest
    difference that occurs.

    Examples
    --------
    >>> stretched = 16 * np.arange(4096, dtype=np.uint16).reshape(64, 64)
    >>> bits, step = bit_depth(stretched)
    >>> round(bits), step
    (12, 16.0)
    """
    stored = np.asarray(plane)
    values = np.unique(stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored)
    if values.size < 2:
        return 0.0, 0.0
    apart = np.diff(values.astype(np.float64))
    if stored.dtype.kind in "iub":
        step = float(np.gcd.reduce(apart.astype(np.int64)))
    else:
        step = float(apart.min())
    finite = stored[np.isfinite(stored)].astype(np.float64)
    low, high = np.quantile(finite, (0.001, 0.999))
    return float(np.log2((high - low) / step + 1)), step


def noise_level(plane: NDArray[Any]) -> float:
    """Return the SD of the noise in grey values; NaN if too few pixels are finite.

    Notes
    -----
    Immerkaer's [1]_ difference of two Laplacians, in squares of 16 x 16 px; the
    quietest tenth of the squares counts, corrected for being the quietest of white
    noise, where the paper takes the mean over the plane. Squares of one value
    (padding) are passed over. In a field that has fine structure everywhere the
    value is too large, by two thirds at worst in our simulated fields; noise that is
    correlated from pixel to pixel (resampled or smoothed images) is underestimated.
    """
    _check(plane)
    a = np.asarray(plane, np.float64)
    rows = a[:-2] - 2 * a[1:-1] + a[2:]
    residual = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    means = _blocks(residual).mean(axis=(-2, -1))
    means = means[np.isfinite(means) & (means > 0)]
    if means.size == 0:
        return 0.0 if np.isfinite(a).all() else float("nan")
    quiet = float(np.quantile(means, _QUIET)) / _QUIET_FACTOR
    return float(np.sqrt(np.pi / 2) / 6) * quiet


def empty_fraction(plane: NDArray[Any]) -> float:
    """Return which part of a field has no structure above noise and background; NaN if unknown.

    A square of 16 px is empty if, after smoothing by 1 px and without its slope,
    its SD is below 3 times that of noise, or below twice that of the quietest
    2 % of squares where those are nearly noise themselves. Transparent cells in
    focus may count as empty, dirt counts as structure, and a field that is
    covered evenly cannot be told from an even coating of the glass.
    """
    _check(plane)
    return _emptiness(np.asarray(plane, np.float64), noise_level(plane))[0]


def _emptiness(pixels: NDArray[np.float64], noise: float) -> tuple[float, bool]:
    """Return the empty fraction, and whether even the quietest squares have structure."""
    known = np.isfinite(pixels)
    if not known.any() or not np.isfinite(noise):
        return float("nan"), False
    filled = np.where(known, pixels, np.median(pixels[known]))
    blocks = _blocks(ndimage.gaussian_filter(filled, _SMOOTH_SIGMA_PX))
    whole = _blocks(known.astype(np.float64)).min(axis=(-2, -1)) > 0
    at = np.arange(_BLOCK) - (_BLOCK - 1) / 2
    norm = _BLOCK * float(np.square(at).sum())
    blocks = blocks - blocks.mean(axis=(-2, -1), keepdims=True)
    slope_y = (blocks * at[:, None]).sum(axis=(-2, -1), keepdims=True) / norm
    slope_x = (blocks * at).sum(axis=(-2, -1), keepdims=True) / norm
    spread = np.sqrt(np.square(blocks - slope_y * at[:, None] - slope_x * at).mean(axis=(-2, -1)))
    spread = spread[whole]
    if spread.size == 0:
        return float("nan"), False
    expected = noise * _WHITE_AFTER_SMOOTHING
    quietest = float(np.quantile(spread, 0.02))
    structured = quietest > max(4 * expected, 1e-9 * float(np.abs(filled).max()))
    limit = 3 * expected if structured else max(3 * expected, 2 * quietest)
    # Filters round: a constant plane must not have structure.
    limit = max(limit, 1e-9 * float(np.abs(filled).max()))
    return float((spread <= limit).mean()), structured


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut whole squares: (Y, X) -> (rows, columns, 16, 16); what is left over is dropped."""
    y, x = (n // _BLOCK for n in plane.shape)
    cut = plane[: y * _BLOCK, : x * _BLOCK].reshape(y, _BLOCK, x, _BLOCK)
    return cut.swapaxes(1, 2)


def _range_percent(nodes: NDArray[np.float64]) -> float:
    middle = float(np.nanmedian(nodes))
    if not middle > 0:
        return float("nan")
    return float(100 * (np.nanmax(nodes) - np.nanmin(nodes)) / middle)


def _check(plane: NDArray[Any]) -> None:
    if np.ndim(plane) != 2 or min(np.shape(plane)) < _SMALLEST:
        raise PixelDataError(
            f"Quality is measured on planes of at least {_SMALLEST} x {_SMALLEST} px, got shape "
            f"{np.shape(plane)}. Give one whole plane (Y, X)."
        )
