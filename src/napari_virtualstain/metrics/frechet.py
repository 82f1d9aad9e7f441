"""How far predicted stains, all together, are from looking like real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from napari_virtualstain.errors import PixelDataError

__all__ = ["FEATURES", "frechet_distance", "kernel_distance", "texture_features"]

_BANDS = 8
_ROWS = 256
"""Pictures that are compared with all others at once."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEATURES = (
    "mean, standard deviation, five quantiles and the logarithm of the power in eight rings of "
    "spatial frequency, of crops"
)
"""What `texture_features` measures, to be stated beside each distance."""


def frechet_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the Fréchet distance of two sets of features, each taken as a normal distribution.

    Parameters
    ----------
    one, other
        (N, F) and (M, F) features of N and M pictures; at least two each.

    Returns
    -------
    float
        ``|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, 0 or more, in squared units of the features:
        without naming them, and how many pictures there were, the number says nothing.

    Raises
    ------
    PixelDataError
        If a set has fewer than two pictures, or other features.

    References
    ----------
    Heusel et al. 2017, arXiv:1706.08500, section 2, there over features of an Inception network.
    """
    _check_sets("Fréchet", one, other)
    means = np.mean(one, axis=0), np.mean(other, axis=0)
    spreads = [np.atleast_2d(np.cov(np.asarray(s, np.float64), rowvar=False)) for s in (one, other)]
    # The trace of (S1 S2)^(1/2) from the symmetric S1^(1/2) S2 S1^(1/2), whose roots are real.
    values, vectors = linalg.eigh(spreads[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = linalg.eigvalsh(root @ spreads[1] @ root)
    distance = float(((means[0] - means[1]) ** 2).sum()) + sum(float(np.trace(s)) for s in spreads)
    return max(distance - 2 * float(np.sqrt(np.maximum(mixed, 0)).sum()), 0.0)


def _check_sets(kind: str, one: NDArray[Any], other: NDArray[Any]) -> None:
    if min(len(one), len(other)) < 2 or one.shape[1:] != other.shape[1:]:
        raise PixelDataError(
            f"A {kind} distance compares two sets of pictures by the same features, got "
            f"{one.shape} and {other.shape}. Give at least two pictures each."
        )


def kernel_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the kernel distance (KID) of two sets of features: no bias by how many there are.

    Parameters
    ----------
    one, other
        (N, F) and (M, F) features of N and M pictures; at least two each.

    Returns
    -------
    float
        The squared maximum mean discrepancy by the kernel ``(x . y / F + 1)^3``, over all pairs.
        Around 0 for sets of one kind, below it as often as above.

    Raises
    ------
    PixelDataError
        If a set has fewer than two pictures, or other features.

    References
    ----------
    Bińkowski et al. 2018, arXiv:1801.01401, section 3 and equation 4; there as a mean over drawn
    subsets, to save pairs, and over features of an Inception network.
    """
    _check_sets("kernel", one, other)
    first, second = (np.asarray(s, np.float64) for s in (one, other))
    within = [_mean_kernel(s, s, but_itself=True) for s in (first, second)]
    return sum(within) - 2 * _mean_kernel(first, second)


def _mean_kernel(
    one: NDArray[np.float64], other: NDArray[np.float64], *, but_itself: bool = False
) -> float:
    """Return the mean over all pairs, row by row, so that no table of pairs is kept."""
    total = 0.0
    for start in range(0, len(one), _ROWS):
        rows = one[start : start + _ROWS]
        values = (rows @ other.T / one.shape[1] + 1) ** 3
        total += float(values.sum())
        if but_itself:
            total -= float(np.trace(values, offset=start))
    return total / (len(one) * (len(other) - but_itself))


def texture_features(crops: NDArray[Any]) -> NDArray[np.float64]:
    """Return what needs no network: intensities and how power is spread over frequencies.

    Parameters
    ----------
    crops
        (N, Y, X), one stain in one unit; no NaN.

    Returns
    -------
    numpy.ndarray
        (N, 15), see `FEATURES`; the power is that of the crop less its mean, per pixel, its rings
        of equal width up to the Nyquist frequency.
    """
    pixels = np.asarray(crops, np.float64)
    flat = pixels.reshape(len(pixels), -1)
    power = np.abs(np.fft.fft2(pixels - pixels.mean(axis=(1, 2), keepdims=True))) ** 2
    fy, fx = (np.fft.fftfreq(n) for n in pixels.shape[1:])
    ring = np.minimum((np.hypot(fy[:, None], fx[None, :]) * 2 * _BANDS).astype(int), _BANDS - 1)
    per_pixel = power.reshape(len(pixels), -1) / flat.shape[1] ** 2
    bands = [per_pixel[:, ring.ravel() == band].sum(axis=1) for band in range(_BANDS)]
    return np.column_stack(
        [
            flat.mean(axis=1), flat.std(axis=1), *np.quantile(flat, _QUANTILES, axis=1),
            *(np.log(band + 1e-12) for band in bands),
        ]
    )  # fmt: skip
