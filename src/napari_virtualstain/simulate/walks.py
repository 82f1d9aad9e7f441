"""Where the organelles run: textures, and walks of points spread onto voxels.

Both live in the frame of a cell, so that they travel with it over time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from napari_virtualstain.simulate.cells import CellMaps, CellTable, Grid
from napari_virtualstain.simulate.phenotypes import Phenotype

__all__ = ["SLICES", "SLICE_UM", "Texture", "Walks"]

FloatArray = NDArray[np.float32]
Points = NDArray[np.float64]
SLICES = 8
SLICE_UM = 1.0
_STEP_UM = 0.35  # between the points of a walk


class Texture:
    """Smooth random maps of mean 0 and deviation 1 that travel with the cells."""

    def __init__(
        self, grid: Grid, rng: np.random.Generator, shift_um: NDArray[np.float64] | None
    ) -> None:
        self.grid, self.rng, self.shift_um = grid, rng, shift_um

    def smooth(self, scale_um: float) -> FloatArray:
        """Return a Gaussian random field with this correlation length (sigma)."""
        shape, pixel = self.grid.shape, self.grid.pixel_um
        noise = self.rng.standard_normal(shape, dtype=np.float32)
        fy = fft.fftfreq(shape[0], pixel[0])[:, None]
        fx = fft.rfftfreq(shape[1], pixel[1])[None, :]
        pass_band = np.exp(-2 * (np.pi * scale_um) ** 2 * (fy * fy + fx * fx)).astype(np.float32)
        field = fft.irfft2(fft.rfft2(noise) * pass_band, s=shape)
        field /= field.std()
        if self.shift_um is not None:
            where = np.indices(shape, dtype=np.float32)
            where -= np.moveaxis(self.shift_um / np.array(pixel), -1, 0).astype(np.float32)
            field = ndimage.map_coordinates(field, where, order=1, mode="grid-wrap")
        return np.asarray(field, np.float32)


class Walks:
    """Draws point organelles in the frame of each cell and spreads them onto voxels."""

    def __init__(self, cells: CellTable, maps: CellMaps, grid: Grid, time: int) -> None:
        self.cells, self.maps, self.grid, self.time = cells, maps, grid, time
        self.angle = cells.angle_at(time)
        self.centre = cells.centre_at(time)
        self.nucleus = cells.nucleus_at(time)
        self.size = (cells.radius / 21.0) ** 2

    def mitochondria(self, rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
        """Return the fraction of each voxel that is mitochondrion."""
        owner = np.repeat(*self._counts(rng, 55.0 * phenotype.mito_count * self.size))
        length = 5.5 * phenotype.mito_length * np.exp(rng.normal(0, 0.35, len(owner)))
        polar = rng.uniform(0, 2 * np.pi, len(owner))
        away = self.cells.nucleus_radius[owner] * 1.08 + rng.gamma(1.5, 6.0, len(owner))
        heading = polar + rng.normal(0.0, 0.8, len(owner))
        return self._walk(
            rng, owner, polar, away, heading, length, bend=0.17, area=0.5, low=0.25, high=0.75
        )

    def golgi(self, rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
        """Return the fraction of each voxel that is Golgi."""
        n = len(self.cells)
        owner = np.repeat(np.arange(n), 26)
        spread = phenotype.golgi_spread
        polar = rng.uniform(0, 2 * np.pi, n)[owner] + rng.normal(0, 0.4 * spread, len(owner))
        away = self.cells.nucleus_radius[owner] + np.abs(rng.normal(2.0, 1.2 * spread, len(owner)))
        heading = polar + np.pi / 2 + rng.normal(0.0, 0.5, len(owner))
        length = rng.uniform(1.0, 3.0, len(owner))
        return self._walk(
            rng, owner, polar, away, heading, length, bend=0.2, area=0.5, low=0.4, high=0.85
        )

    def microtubules(self, rng: np.random.Generator) -> FloatArray:
        """Return tubulin, in filaments from beside the nucleus to the edge."""
        n = len(self.cells)
        owner = np.repeat(np.arange(n), 50)
        polar = rng.uniform(0, 2 * np.pi, n)[owner] + rng.normal(0, 0.8, len(owner))
        away = self.cells.nucleus_radius[owner] + 1.0
        heading = rng.uniform(0, 2 * np.pi, len(owner))
        length = rng.uniform(12.0, 28.0, len(owner))
        return self._walk(
            rng, owner, polar, away, heading, length, bend=0.06, area=0.25, low=0.2, high=0.6
        )

    def stress_fibres(self, rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
        """Return the fraction of each voxel that is actin bundle."""
        owner = np.repeat(*self._counts(rng, 9.0 * phenotype.actin_amount * self.size))
        polar = rng.uniform(0, 2 * np.pi, len(owner))
        away = self.cells.radius[owner] * np.sqrt(rng.uniform(0.04, 0.85, len(owner)))
        heading = rng.normal(0.0, 0.18, len(owner))
        length = rng.uniform(10.0, 24.0, len(owner))
        return self._walk(
            rng, owner, polar, away, heading, length, bend=0.015, area=0.4, low=None, high=0.45
        )

    def vesicles(self, rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
        """Return the fraction of each voxel that is vesicle or droplet; none is stained."""
        owner = np.repeat(*self._counts(rng, 40.0 * phenotype.lipid_count * self.size))
        polar = rng.uniform(0, 2 * np.pi, len(owner))
        away = self.cells.nucleus_radius[owner] * 1.05 + rng.gamma(2.0, 5.0, len(owner))
        radius = 0.3 + rng.gamma(1.0, 0.28, len(owner)).clip(0.0, 1.1)
        y, x = self._place(owner, polar, away)
        level = rng.uniform(0.3, 0.8, len(owner))
        # Each is a cloud of points within its radius.
        cloud = 16
        where = rng.normal(0.0, 1.0, (2, len(owner), cloud))
        where *= 0.5 * radius[:, None]
        weight = 4.0 / 3.0 * np.pi * radius**3 / cloud
        return self._spread(
            np.repeat(owner, cloud),
            (y[:, None] + where[0]).ravel(),
            (x[:, None] + where[1]).ravel(),
            np.repeat(level, cloud),
            np.repeat(weight, cloud),
            bare=True,
        )

    def nucleoli(
        self, rng: np.random.Generator, phenotype: Phenotype
    ) -> tuple[FloatArray, FloatArray]:
        """Return the heights of the lower and upper surface of the nucleoli."""
        cells, pixel = self.cells, self.grid.pixel_um
        low = np.zeros(self.grid.shape, np.float32)
        high = np.zeros(self.grid.shape, np.float32)
        count = np.maximum(1, rng.poisson(3.2 * phenotype.nucleolus_count, len(cells)))
        owner = np.repeat(np.arange(len(cells)), count)
        polar = rng.uniform(0, 2 * np.pi, len(owner)) + self.angle[owner]
        away = 0.68 * cells.nucleus_radius[owner] * np.sqrt(rng.uniform(0, 1, len(owner)))
        scale = (cells.nucleus_radius[owner] / 7.6) * phenotype.nucleolus_radius
        radius = rng.uniform(1.1, 2.0, len(owner)) * scale
        tilt = rng.uniform(-0.5, 0.5, len(owner))
        for i, o in enumerate(owner):
            cy = self.nucleus[o, 0] + away[i] * np.sin(polar[i])
            cx = self.nucleus[o, 1] + away[i] * np.cos(polar[i])
            reach = radius[i] * 1.1
            y0, y1 = max(int((cy - reach) / pixel[0]), 0), int((cy + reach) / pixel[0]) + 2
            x0, x1 = max(int((cx - reach) / pixel[1]), 0), int((cx + reach) / pixel[1]) + 2
            y = (np.arange(y0, min(y1, low.shape[0])) * pixel[0] - cy)[:, None]
            x = (np.arange(x0, min(x1, low.shape[1])) * pixel[1] - cx)[None, :]
            if not y.size or not x.size:
                continue
            half = 0.85 * np.sqrt(np.maximum(radius[i] ** 2 - y * y - x * x, 0.0))
            z = cells.nucleus_half_height[o] + 0.6 + tilt[i]
            region = (slice(y0, y0 + y.size), slice(x0, x0 + x.size))
            larger = 2.0 * half > high[region] - low[region]
            low[region] = np.where(larger, z - half, low[region])
            high[region] = np.where(larger, z + half, high[region])
        return low, high

    def _counts(
        self, rng: np.random.Generator, mean: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        return np.arange(len(self.cells)), rng.poisson(mean)

    def _place(self, owner: NDArray[np.intp], polar: Points, away: Points) -> tuple[Points, Points]:
        turn = polar + self.angle[owner]
        y = self.nucleus[owner, 0] + away * np.sin(turn)
        x = self.nucleus[owner, 1] + away * np.cos(turn)
        return y, x

    def _walk(
        self,
        rng: np.random.Generator,
        owner: NDArray[np.intp],
        polar: Points,
        away: Points,
        heading: Points,
        length: Points,
        *,
        bend: float,
        area: float,
        low: float | None,
        high: float,
    ) -> FloatArray:
        """Walk from each start; `low` None walks along the substrate at height `high`."""
        if not len(owner):
            return np.zeros((SLICES, *self.grid.shape), np.float32)
        steps = int(np.ceil(length.max() / _STEP_UM))
        level = (
            rng.uniform(low, high, len(owner)) if low is not None else np.full(len(owner), -high)
        )
        curve = np.cumsum(rng.normal(0.0, bend, (len(owner), steps)), axis=1)
        sway = 0.25 * np.sin(0.6 * self.time + np.arange(len(owner)))
        sway -= 0.25 * np.sin(np.arange(len(owner)))
        turn = (heading + self.angle[owner] + sway * (low is not None))[:, None] + curve
        y, x = self._place(owner, polar, away)
        ys = y[:, None] + np.cumsum(np.sin(turn) * _STEP_UM, axis=1)
        xs = x[:, None] + np.cumsum(np.cos(turn) * _STEP_UM, axis=1)
        used = np.arange(steps) * _STEP_UM < length[:, None]
        return self._spread(
            np.repeat(owner, steps)[used.ravel()],
            ys[used],
            xs[used],
            np.repeat(level, steps)[used.ravel()],
            np.full(int(used.sum()), area * _STEP_UM),
            bare=low is not None,
        )

    def _spread(
        self,
        owner: NDArray[np.intp],
        y_um: Points,
        x_um: Points,
        level: Points,
        volume_um3: Points,
        *,
        bare: bool,
    ) -> FloatArray:
        """Spread points onto their eight nearest voxels, within their own cell only.

        `level` is the height as a fraction of the cell's height there, or minus
        a height in micrometres; `bare` keeps the points out of the nucleus.
        """
        ny, nx = self.grid.shape
        y, x = y_um / self.grid.pixel_um[0], x_um / self.grid.pixel_um[1]
        near_y, near_x = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
        keep = (y >= 0) & (x >= 0) & (y < ny - 1) & (x < nx - 1)
        near_y, near_x = np.clip(near_y, 0, ny - 1), np.clip(near_x, 0, nx - 1)
        keep &= self.maps.owner[near_y, near_x] == owner
        keep &= self.maps.depth[near_y, near_x] > 0.6
        if bare:
            keep &= self.maps.nucleus[near_y, near_x] > 1.03
        y, x, level, volume = y[keep], x[keep], level[keep], volume_um3[keep]
        height = self.maps.height[near_y[keep], near_x[keep]]
        z = np.where(level >= 0, level * height, -level) / SLICE_UM - 0.5
        z = np.clip(z, 0.0, SLICES - 1.001)
        voxel = SLICE_UM * self.grid.pixel_um[0] * self.grid.pixel_um[1]
        weight = volume / voxel
        base = [a.astype(np.intp) for a in (z, y, x)]
        part = [a - b for a, b in zip((z, y, x), base, strict=True)]
        where, amount = [], []
        for dz in (0, 1):
            for dy in (0, 1):
                for dx in (0, 1):
                    where.append(((base[0] + dz) * ny + base[1] + dy) * nx + base[2] + dx)
                    share = [p if d else 1.0 - p for p, d in zip(part, (dz, dy, dx), strict=True)]
                    amount.append(weight * share[0] * share[1] * share[2])
        total = np.bincount(
            np.concatenate(where), np.concatenate(amount), minlength=SLICES * ny * nx
        )
        volume_px = total.reshape(SLICES, ny, nx).astype(np.float32)
        if min(self.grid.pixel_um) < 0.45:
            # Pixels finer than the organelle: give it its thickness back.
            sigma = [0.0, *(0.2 / pixel for pixel in self.grid.pixel_um)]
            volume_px = ndimage.gaussian_filter(volume_px, sigma)
        return volume_px
