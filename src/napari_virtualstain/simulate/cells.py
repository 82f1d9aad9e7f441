"""Where the cells are, which pixels each owns, and how thick it is there.

A field is drawn in two steps.  `place_cells` draws a table of cells (one row a
cell, micrometres, no pixels); `shape_cells` turns the table into maps on the
pixel grid at one time.  Between neighbours the border is where both outlines
would be equally far in units of their own radius, so cells touch, not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.simulate.phenotypes import Phenotype

__all__ = ["CellMaps", "CellTable", "Grid", "place_cells", "shape_cells"]

FloatArray = NDArray[np.float32]
_HARMONICS = np.arange(2, 6)  # outline waves a turn: ellipse, triangle, square, pentagon


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The padded pixel grid that a field is computed on, and cut from."""

    shape: tuple[int, int]  # padded (Y, X), px
    margin: tuple[int, int]  # first kept pixel (y, x)
    field: tuple[int, int]  # kept (Y, X), px
    pixel_um: tuple[float, float]  # (y, x)

    @property
    def crop(self) -> tuple[slice, slice]:
        """The slices that cut the field out of the padded grid."""
        y, x = self.margin
        return slice(y, y + self.field[0]), slice(x, x + self.field[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTable:
    """One row a cell; lengths in micrometres, (y, x) from the padded corner."""

    centre: NDArray[np.float64]  # (N, 2)
    velocity: NDArray[np.float64]  # (N, 2) micrometres a time point
    turn: NDArray[np.float64]  # (N,) radians a time point
    radius: NDArray[np.float64]
    elongation: NDArray[np.float64]
    angle: NDArray[np.float64]
    waves: NDArray[np.complex128]  # (N, 4) outline amplitudes and phases
    nucleus_offset: NDArray[np.float64]  # (N, 2)
    nucleus_radius: NDArray[np.float64]
    nucleus_elongation: NDArray[np.float64]
    nucleus_angle: NDArray[np.float64]
    nucleus_waves: NDArray[np.complex128]  # (N, 4)
    nucleus_half_height: NDArray[np.float64]
    lamella_um: NDArray[np.float64]
    dna: NDArray[np.float64]  # (N,) DNA content, 2 (G1) to 4 (G2)
    expression: NDArray[np.float64]  # (N, 6) factor a stain

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.radius)

    def centre_at(self, time: int) -> NDArray[np.float64]:
        """Return the cell centres (N, 2) in micrometres at a time point."""
        wobble = 0.6 * np.sin(0.7 * time) * self.nucleus_offset
        return np.asarray(self.centre + time * self.velocity + wobble, np.float64)

    def angle_at(self, time: int) -> NDArray[np.float64]:
        """Return the orientation of each cell in radians at a time point."""
        return self.angle + time * self.turn

    def nucleus_at(self, time: int) -> NDArray[np.float64]:
        """Return the nucleus centres (N, 2) in micrometres at a time point."""
        swing = time * self.turn
        oy, ox = self.nucleus_offset.T
        turned = np.stack(
            [oy * np.cos(swing) + ox * np.sin(swing), ox * np.cos(swing) - oy * np.sin(swing)], -1
        )
        return np.asarray(self.centre_at(time) + turned, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMaps:
    """Maps on the padded grid at one time; `owner` is -1 outside every cell."""

    owner: NDArray[np.int32]  # row of the cell table
    depth: FloatArray  # distance inwards from the cell border, micrometres
    height: FloatArray  # top of the cell above the substrate, micrometres
    nucleus: FloatArray  # 0 at the nucleus centre, 1 at its outline
    nucleus_low: FloatArray  # z of the lower nuclear envelope, micrometres
    nucleus_high: FloatArray  # z of the upper one; equal to the lower outside

    def nucleus_distance(self, cells: CellTable) -> FloatArray:
        """Return the distance outwards from the nuclear envelope, micrometres."""
        radius = cells.nucleus_radius[np.maximum(self.owner, 0)].astype(np.float32)
        return np.asarray(np.maximum(self.nucleus - 1.0, 0.0) * radius, np.float32)


def place_cells(
    grid: Grid,
    *,
    phenotype: Phenotype,
    rng: np.random.Generator,
    n_cells: int | None = None,
    density_per_mm2: float = 450.0,
) -> CellTable:
    """Draw cells that keep their distance from each other.

    Parameters
    ----------
    grid : Grid
        The padded grid; with a density, cells are also placed beyond its edge.
    phenotype : Phenotype
        Factors on sizes and shapes.
    rng : numpy.random.Generator
        The stream of the cells, and of nothing else.
    n_cells : int, optional
        Exactly this many (at most), all with their centre in the kept field.
    density_per_mm2 : float
        Cells per square millimetre, used when `n_cells` is None.
    """
    pixel = np.array(grid.pixel_um)
    if n_cells is None:
        beyond = 15.0
        low = np.full(2, -beyond)
        high = np.array(grid.shape) * pixel + beyond
        wanted = int(rng.poisson(density_per_mm2 * float(np.prod(high - low)) * 1e-6))
    else:
        low = np.array(grid.margin) * pixel
        high = low + np.array(grid.field) * pixel
        wanted = n_cells
    centre = _spaced_points(wanted, low, high, rng)
    n = len(centre)
    cycle = rng.beta(0.8, 1.2, n)  # 0 is G1, 1 is G2
    dna = 2.0 * (1.0 + cycle)
    growth = (0.86 + 0.3 * cycle) * np.exp(rng.normal(0.0, 0.05, n))
    nucleus_radius = 7.6 * growth * phenotype.nucleus_radius
    direction = rng.uniform(0, 2 * np.pi, n)
    speed = rng.rayleigh(0.5, n)
    amplitude = np.array([0.08, 0.09, 0.06, 0.05]) * rng.normal(1.0, 0.4, (n, 4))
    nucleus_amplitude = np.array([0.05, 0.035, 0.02, 0.012]) * rng.normal(1.0, 0.5, (n, 4))
    angle = rng.uniform(0, np.pi, n)
    return CellTable(
        centre=centre,
        velocity=speed[:, None] * np.stack([np.sin(direction), np.cos(direction)], -1),
        turn=rng.normal(0.0, 0.02, n),
        radius=21.0 * growth**0.7 * np.exp(rng.normal(0, 0.12, n)) * phenotype.cell_radius,
        elongation=(1.0 + rng.gamma(2.0, 0.09, n)) * phenotype.elongation,
        angle=angle,
        waves=amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, (n, 4))),
        nucleus_offset=rng.normal(0.0, 1.6, (n, 2)),
        nucleus_radius=nucleus_radius,
        nucleus_elongation=1.0 + rng.gamma(2.0, 0.05, n) + 0.3 * (phenotype.elongation - 1.0),
        nucleus_angle=angle + rng.normal(0.0, 0.4, n),
        nucleus_waves=nucleus_amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, (n, 4))),
        nucleus_half_height=np.clip(
            2.35 * phenotype.height * np.exp(rng.normal(0, 0.06, n)), 1.2, 3.2
        ),
        lamella_um=0.9 * phenotype.height * np.exp(rng.normal(0.0, 0.15, n)),
        dna=dna * phenotype.ploidy,
        expression=np.exp(rng.normal(0.0, 0.06, (n, 6))),
    )


def _spaced_points(
    wanted: int, low: NDArray[np.float64], high: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return up to `wanted` points (N, 2), at least 18 micrometres apart where they fit."""
    points = np.empty((wanted, 2))
    for i in range(wanted):
        candidates = rng.uniform(low, high, (12, 2))
        if i:
            apart = np.hypot(*(candidates[:, None] - points[None, :i]).transpose(2, 0, 1)).min(1)
            # The first that is far enough, or else the one that is farthest.
            pick = int(np.argmax(apart > 24.0)) if (apart > 24.0).any() else int(apart.argmax())
        else:
            pick = 0
        points[i] = candidates[pick]
    if wanted < 2:
        return points
    keep = np.ones(wanted, bool)
    for i in range(1, wanted):
        near = np.hypot(*(points[:i][keep[:i]] - points[i]).T)
        keep[i] = near.min() > 18.0
    return points[keep]


def shape_cells(cells: CellTable, grid: Grid, *, time: int = 0) -> CellMaps:
    """Turn a table of cells into maps of ownership, depth and height.

    Parameters
    ----------
    cells : CellTable
        What `place_cells` drew.
    grid : Grid
        The padded grid that the maps cover.
    time : int
        Time point; cells drift by their velocity and turn slowly.
    """
    shape = grid.shape
    nearest = np.full(shape, 9.0, np.float32)
    second = np.full(shape, 9.0, np.float32)
    owner = np.full(shape, -1, np.int32)
    centres, angles = cells.centre_at(time), cells.angle_at(time)
    patches = []
    for i in range(len(cells)):
        reach = cells.radius[i] * cells.elongation[i] * 1.45
        patch = _patch(grid, centres[i], reach)
        patches.append(patch)
        if patch is None:
            continue
        region, dy, dx = patch
        twist = np.exp(1j * 0.15 * np.sin(0.5 * time + i) * _HARMONICS)
        f = _outline(
            dy, dx, cells.radius[i], cells.elongation[i], angles[i], cells.waves[i] * twist
        )
        first = nearest[region]
        wins = f < first
        second[region] = np.where(wins, first, np.minimum(second[region], f))
        owner[region] = np.where(wins, np.int32(i), owner[region])
        nearest[region] = np.minimum(f, first)
    nucleus = np.full(shape, 9.0, np.float32)
    for i, (patch, middle) in enumerate(zip(patches, cells.nucleus_at(time), strict=True)):
        if patch is None:
            continue
        region, dy, dx = patch
        shift = (middle - centres[i]).astype(np.float32)
        q = _outline(
            dy - shift[0],
            dx - shift[1],
            cells.nucleus_radius[i],
            cells.nucleus_elongation[i],
            cells.nucleus_angle[i] + time * cells.turn[i],
            cells.nucleus_waves[i],
        )
        nucleus[region] = np.where(owner[region] == i, q, nucleus[region])
    owner[nearest >= 1.0] = -1
    row = np.maximum(owner, 0)
    if not len(cells):
        zero = np.zeros(shape, np.float32)
        return CellMaps(
            owner=owner,
            depth=zero,
            height=zero,
            nucleus=nucleus,
            nucleus_low=zero,
            nucleus_high=zero,
        )
    radius = cells.radius.astype(np.float32)[row]
    depth = np.minimum(1.0 - nearest, 0.5 * (second - nearest)) * radius
    depth = np.where(owner >= 0, np.maximum(depth, 0.0), np.float32(0.0))
    half = cells.nucleus_half_height.astype(np.float32)[row]
    thickness = half * np.sqrt(np.maximum(1.0 - nucleus * nucleus, 0.0))
    thickness *= np.clip(depth / 1.5, 0.0, 1.0)
    middle_z = half + np.float32(0.6)
    beyond = np.maximum(nucleus - 0.7, 0.0) * cells.nucleus_radius.astype(np.float32)[row] / 7.0
    lamella = cells.lamella_um.astype(np.float32)[row]
    dome = lamella + (2.0 * half - lamella) * np.exp(-(beyond * beyond))
    height = dome * np.sqrt(np.clip(depth / 2.0, 0.0, 1.0))
    high = np.where(thickness > 0, middle_z + thickness, middle_z)
    height = np.where(thickness > 0, np.maximum(height, high + 0.3), height)
    return CellMaps(
        owner=owner,
        depth=depth,
        height=height.astype(np.float32),
        nucleus=nucleus,
        nucleus_low=(middle_z - thickness).astype(np.float32),
        nucleus_high=high.astype(np.float32),
    )


def _patch(
    grid: Grid, centre: NDArray[np.float64], reach: float
) -> tuple[tuple[slice, slice], FloatArray, FloatArray] | None:
    """Return the slices around a point and the distances (y, x) to it, or None outside."""
    slices, axes = [], []
    for size, pixel, middle in zip(grid.shape, grid.pixel_um, centre, strict=True):
        start = max(int((middle - reach) / pixel), 0)
        stop = min(int((middle + reach) / pixel) + 2, size)
        if stop <= start:
            return None
        slices.append(slice(start, stop))
        axes.append((np.arange(start, stop) * pixel - middle).astype(np.float32))
    return (slices[0], slices[1]), axes[0][:, None], axes[1][None, :]


def _outline(
    dy: FloatArray,
    dx: FloatArray,
    radius: float,
    elongation: float,
    angle: float,
    waves: NDArray[np.complex128],
) -> FloatArray:
    """Return the distance from the centre in units of the outline's radius there."""
    stretch = np.sqrt(elongation)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (dx * c + dy * s) * np.float32(1.0 / stretch)
    across = (dy * c - dx * s) * np.float32(stretch)
    distance = np.hypot(along, across) + np.float32(1e-3)
    turn = ((along + 1j * across) / distance).astype(np.complex64)
    ripple = np.ones(distance.shape, np.float32)
    power = turn
    for wave in waves.astype(np.complex64):
        power = power * turn
        ripple += power.real * wave.real - power.imag * wave.imag
    return (distance / (np.float32(radius) * np.maximum(ripple, 0.4))).astype(np.float32)
