"""What else is in the light path: dust below, an uneven coating, particles in the medium.

None of it is stained: a model that paints debris has learnt the wrong thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.simulate.cells import Grid
from napari_virtualstain.simulate.walks import SLICE_UM, SLICES

__all__ = ["Debris", "draw_debris"]

_DUST_PER_MM2, _PARTICLES_PER_MM2 = 60.0, 400.0
_PARTICLE = 0.04  # index above the medium
_ROUGHNESS = 0.006  # deviation of the index of the coating, one slice thick


@dataclass(frozen=True, slots=True, kw_only=True)
class Debris:
    """Dust as a complex transmission (Y, X) or None; coating and particles as index."""

    screen: NDArray[np.complex64] | None
    index: NDArray[np.float32]  # (Z, Y, X), above that of the medium


def draw_debris(grid: Grid, *, amount: float, rng: np.random.Generator) -> Debris:
    """Draw absorbing dust, transparent particles, and the coating of the substrate.

    Parameters
    ----------
    grid : Grid
        The padded grid.
    amount : float
        Factor on the usual number (60 dust grains, 400 particles a mm2), and its
        root on the unevenness of the protein coating.
    rng : numpy.random.Generator
        The stream of the debris, and of nothing else.
    """
    area = float(np.prod(np.array(grid.shape) * np.array(grid.pixel_um))) * 1e-6
    grains = int(rng.poisson(_DUST_PER_MM2 * amount * area))
    particles = int(rng.poisson(_PARTICLES_PER_MM2 * amount * area))
    screen = None
    if grains:
        opaque = np.zeros(grid.shape, np.float32)
        for _ in range(grains):
            _ellipsoid(opaque, grid, rng, radius=rng.uniform(1.5, 6.0), depth=rng.uniform(0.3, 1.0))
        screen = np.exp(opaque * np.complex64(-0.9 + 0.6j)).astype(np.complex64)
    index = np.zeros((SLICES, *grid.shape), np.float32)
    if amount > 0:
        index[0] = _ROUGHNESS * np.sqrt(amount) * _coating(grid, rng)
    for _ in range(particles):
        radius = rng.uniform(0.6, 2.0)
        middle = rng.uniform(0.5, SLICES * SLICE_UM - 0.5)
        column = np.abs((np.arange(SLICES) + 0.5) * SLICE_UM - middle)
        inside = np.flatnonzero(column <= max(radius, 0.5 * SLICE_UM))
        where = rng.bit_generator.state
        for k in inside:
            rng.bit_generator.state = where  # the same place in each slice
            disc = np.sqrt(max(radius**2 - column[k] ** 2, 0.09))
            _ellipsoid(index[k], grid, rng, radius=disc, depth=_PARTICLE)
    return Debris(screen=screen, index=index)


def _coating(grid: Grid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the unevenness (Y, X) of the protein coating, deviation 1."""
    sigma = [0.5 / pixel for pixel in grid.pixel_um]
    coat = ndimage.gaussian_filter(
        rng.standard_normal(grid.shape, dtype=np.float32), sigma, mode="wrap"
    )
    return np.asarray(coat / coat.std(), np.float32)


def _ellipsoid(
    image: NDArray[np.float32], grid: Grid, rng: np.random.Generator, *, radius: float, depth: float
) -> None:
    """Add a rounded blob of random place and shape, in place."""
    size = np.array(grid.shape) * np.array(grid.pixel_um)
    cy, cx = rng.uniform(0.0, 1.0, 2) * size
    squash, angle = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
    slices = []
    for middle, pixel, n in zip((cy, cx), grid.pixel_um, grid.shape, strict=True):
        slices.append(
            slice(
                max(int((middle - radius) / pixel), 0),
                min(int((middle + radius) / pixel) + 2, n),
            )
        )
    y = (np.arange(slices[0].start, slices[0].stop) * grid.pixel_um[0] - cy)[:, None]
    x = (np.arange(slices[1].start, slices[1].stop) * grid.pixel_um[1] - cx)[None, :]
    along = y * np.sin(angle) + x * np.cos(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / squash
    # Two steps of the pixel soften the outline against aliasing.
    edge = (radius - np.hypot(along, across)) / (1.5 * max(grid.pixel_um))
    image[slices[0], slices[1]] += np.float32(depth) * np.clip(edge, 0.0, 1.0)
