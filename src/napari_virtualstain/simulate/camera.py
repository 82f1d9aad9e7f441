"""How light becomes 16-bit counts: shading, shot noise, read noise, offset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAMERA_OFFSET", "expose", "shading"]

CAMERA_OFFSET = 100.0  # counts that the camera adds to an empty pixel
_READ_NOISE = 2.5  # electrons, a scientific CMOS camera


def shading(
    shape: tuple[int, int], *, amplitude: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return an uneven illumination (Y, X) of mean one.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) in px.
    amplitude : float
        Half of the relative difference between the brightest and darkest place;
        0 is flat.
    rng : numpy.random.Generator
        Draws the slope, the bowl and its centre.
    """
    y = np.linspace(-1.0, 1.0, shape[0])[:, None]
    x = np.linspace(-1.0, 1.0, shape[1])[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.3, 1.0)
    cy, cx = rng.uniform(-0.4, 0.4, 2)
    field = slope * (y * np.sin(angle) + x * np.cos(angle)) / np.sqrt(2)
    field = field - 0.5 * ((y - cy) ** 2 + (x - cx) ** 2)
    field = field - field.mean()
    field = 1.0 + amplitude * field / max(float(np.abs(field).max()), 1e-6)
    return np.asarray(field / field.mean(), np.float32)


def expose(
    electrons: NDArray[np.float32],
    *,
    counts_per_electron: float,
    noise: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Return the camera image and its noise-free expectation, both in counts.

    Parameters
    ----------
    electrons : ndarray
        Expected photoelectrons of each pixel, any shape, not negative.
    counts_per_electron : float
        Gain.
    noise : float
        1 is shot noise plus 2.5 electrons of read noise; 0 is a perfect camera;
        others scale the deviation from the expectation.
    rng : numpy.random.Generator
        The stream of the camera, and of nothing else.
    """
    expected = np.asarray(CAMERA_OFFSET + counts_per_electron * electrons, np.float32)
    # Above some 30 electrons a Poisson count is a normal one to well within the read noise.
    spread = np.sqrt(np.maximum(electrons, 0.0) + np.float32(_READ_NOISE**2))
    deviation = rng.standard_normal(electrons.shape, dtype=np.float32) * spread
    counts = expected + np.float32(noise * counts_per_electron) * deviation
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16), expected
