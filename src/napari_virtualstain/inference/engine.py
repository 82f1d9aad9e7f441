"""Run a generator over an image tile by tile, so that tiles leave no trace.

One tile after the other: read, resample if asked, normalise with the numbers of
the whole field, pad, predict, keep the core, return to grey values, hand on.
Memory depends on the tile and not on the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.inference.resample import (
    resample_region,
    resampled_length,
    source_region,
)
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.tiling.plan import Tile, TilePlan, tile_around

__all__ = ["Stainer", "stain_tiles"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stainer:
    """Everything needed to predict any region of an image.

    Parameters
    ----------
    generator
        Maps normalised planes to normalised stains.
    planes
        What it is given.
    inputs
        Normalisation by time point, then plane; nothing for a time point that is
        not stained.
    outputs
        Normalisation of each stain, inverted after prediction.
    halo
        Of the network, in its own pixels.
    ratios
        Pixel size of the model over that of the image (y, x), `None` to take
        pixels as they are.
    seed
        For stochastic generators.
    """

    generator: Generator
    planes: InputPlanes
    inputs: tuple[tuple[Normalisation, ...], ...]
    outputs: tuple[Normalisation, ...]
    halo: int
    ratios: tuple[float, float] | None = None
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Y and X of the image in pixels."""
        return self.planes.image.shape[3:]

    def predict(self, t: int, tile: Tile) -> NDArray[np.float32]:
        """Predict a tile's core in grey values: (stains, y, x).

        Parameters
        ----------
        t
            Time point.
        tile
            Of a plan over `shape`. If pixels are resampled only ``tile.write``
            counts, since reads then lie on the model's grid.
        """
        if self.ratios is None:
            return self._restore(self._forward(tile, self._planes(t, tile.read)))
        model_shape = tuple(
            resampled_length(n, r) for n, r in zip(self.shape, self.ratios, strict=True)
        )
        back = tuple(1 / ratio for ratio in self.ratios)
        needed = source_region(tile.write, back, model_shape)
        inner = tile_around(
            needed, shape=model_shape, halo=self.halo, multiple_of=self.generator.multiple_of
        )
        inside = _clip(inner.read, model_shape)
        read = source_region(inside, self.ratios, self.shape)
        planes = resample_region(self._planes(t, read), read, inside, self.ratios)
        stains = self._restore(self._forward(inner, planes))
        return resample_region(stains, needed, tile.write, back)

    def _planes(self, t: int, region: Region) -> NDArray[np.float32]:
        """Read and normalise what of a region lies inside the image: (P, y, x)."""
        pixels = self.planes.read(t, _clip(region, self.shape))
        return np.stack(
            [norm.apply(plane) for norm, plane in zip(self.inputs[t], pixels, strict=True)]
        )

    def _forward(self, tile: Tile, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pad to what the tile reads, predict, keep the core: (stains, y, x)."""
        wanted = [part.stop - part.start for part in tile.read]
        missing = [(0, n - m) for n, m in zip(wanted, planes.shape[1:], strict=True)]
        padded = np.pad(planes, [(0, 0), *missing])
        # (P, y, x) -> (1, P, y, x) -> (stains, y, x)
        predicted = self.generator.predict(padded[None], seed=self.seed)[0]
        core: NDArray[np.float32] = predicted[(slice(None), *tile.keep)]
        return core

    def _restore(self, stains: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack(
            [norm.invert(stain) for norm, stain in zip(self.outputs, stains, strict=True)]
        )


def _clip(region: Region, shape: Sequence[int]) -> Region:
    return tuple(
        slice(part.start, min(part.stop, n)) for part, n in zip(region, shape, strict=True)
    )


def stain_tiles(
    stainer: Stainer,
    plan: TilePlan,
    write: Callable[[int, Tile, NDArray[np.float32]], None],
    *,
    numbers: Sequence[int] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> None:
    """Predict tiles and hand each on as soon as it is there.

    Parameters
    ----------
    stainer
        What to predict with.
    plan
        Over the image's Y and X.
    write
        Takes time point, tile, and (stains, y, x) grey values.
    numbers
        Which tiles, in the order in which they are predicted: the time point
        times the number of tiles of the plan, plus the tile's position in it.
        All of them, one time point after the other, if `None`.
    on_tile
        Called with tiles done and tiles in all, first of all with none done.
        What it raises ends the run between two tiles.
    """
    if numbers is None:
        numbers = range(stainer.planes.image.shape[0] * len(plan))
    report = on_tile or (lambda _done, _total: None)
    report(0, len(numbers))
    for done, number in enumerate(numbers, 1):
        t, index = divmod(number, len(plan))
        tile = plan.tile(index)
        write(t, tile, stainer.predict(t, tile))
        report(done, len(numbers))
