"""How any region of an image is predicted: read, resample if asked, normalise, predict, restore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.inference.network import Network
from napari_virtualstain.inference.resample import (
    resample_region,
    resampled_length,
    source_region,
)
from napari_virtualstain.inference.source import PlanesSource, Source, clipped, padded
from napari_virtualstain.inference.transfer import Grey, Stains, arrived, to_host_tensor
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.metrics.intervals import SpreadInterval, ends
from napari_virtualstain.tiling.plan import Tile, tile_around

__all__ = ["Pixels", "Stainer"]

Pixels = NDArray[np.float32] | Grey
"""What a tile is predicted from: normalised, or to be normalised on a graphics card."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stainer:
    """Everything needed to predict any region of an image.

    Parameters
    ----------
    network
        By time point: what predicts normalised stains. The same for all of a network that is
        exact; its own for one that has the statistics of its image.
    source
        What it is given.
    outputs
        Normalisation of each stain, inverted after prediction.
    ratios
        Pixel size of the model over that of the image (y, x), `None` to take
        pixels as they are.
    planned
        Stands for the networks of all time points where nothing is computed: it looks as far, on
        the same device. That of the first time point if `None`.
    intervals
        Of each stain: what is predicted are stains and spreads, and what is given back are stains
        and the ends of their intervals. Empty to give back what is predicted.
    """

    network: Callable[[int], Network]
    source: Source
    outputs: tuple[Normalisation, ...]
    ratios: tuple[float, ...] | None = None
    planned: Network | None = None
    intervals: tuple[SpreadInterval, ...] = ()

    @property
    def typical(self) -> Network:
        """A network that looks as far, and computes where, all of them do."""
        return self.planned or self.network(0)

    @property
    def on_card(self) -> bool:
        """Whether tiles are computed on a graphics card that has double precision."""
        return self.typical.device.type == "cuda"

    def read(self, t: int, tile: Tile) -> Pixels:
        """Read what a tile is predicted from: (C, *S)."""
        if self.ratios is None and self.on_card and isinstance(self.source, PlanesSource):
            pixels, norms = self.source.raw(t, clipped(tile.read, self.source.shape))
            lengths = tuple(part.stop - part.start for part in tile.read)
            shape = (1 if self.source.volume else len(pixels), *lengths)
            return Grey(pixels=to_host_tensor(pixels), norms=tuple(norms), shape=shape)
        return self.planes(t, self._own(t, tile).read)

    def planes(self, t: int, region: Region) -> NDArray[np.float32]:
        """Read normalised planes (C, *S) of a region of the model's grid, zero beyond the image."""
        if self.ratios is None:
            return padded(self.source, t, region)
        inside = clipped(region, self.grid)
        read = source_region(inside, self.ratios, self.source.shape)
        pixels = resample_region(self.source.read(t, read), read, inside, self.ratios)
        missing = [(0, a.stop - b.stop) for a, b in zip(region, inside, strict=True)]
        return np.pad(pixels, [(0, 0), *missing])

    def predict(self, pieces: Sequence[tuple[int, Tile, Pixels]]) -> list[Stains]:
        """Predict the normalised stains (stains, *S) of cores, on the model's grid.

        Parameters
        ----------
        pieces
            Time point, tile and what `read` gave for it; all of one time point and size.
        """
        network = self.network(pieces[0][0])
        keeps = [self._own(t, tile).keep for t, tile, _ in pieces]
        given = [pixels for *_, pixels in pieces]
        greys = [pixels for pixels in given if isinstance(pixels, Grey)]
        # (C, *S) of each -> (B, C, *S)
        normal = [pixels for pixels in given if not isinstance(pixels, Grey)]
        return network.predict(greys or np.stack(normal), keeps)

    def on_processor(self) -> Stainer:
        """Return the same, computed on the processor."""
        network = self.network

        @cache
        def moved(t: int) -> Network:
            return network(t).on_processor()

        return replace(self, network=moved, planned=self.planned and self.planned.on_processor())

    def _own(self, t: int, tile: Tile) -> Tile:
        return tile if self.ratios is None else self._on_model_grid(t, tile)[0]

    def finish(self, t: int, tile: Tile, stains: Stains) -> NDArray[np.float32]:
        """Return the grey values of a tile's core on the grid of the image: (stains, *S).

        They take the place of ``stains`` where they can. Several threads may call it at once.
        """
        stains = arrived(stains)
        grey = stains if stains.flags.writeable else np.empty(stains.shape, np.float32)
        for index, norm in enumerate(self.outputs):
            grey[index] = norm.invert(stains[index])
        if self.intervals:
            grey = ends(grey, self.intervals)
        if self.ratios is None:
            return grey
        _, needed = self._on_model_grid(t, tile)
        return resample_region(grey, needed, tile.write, tuple(1 / r for r in self.ratios))

    @property
    def grid(self) -> tuple[int, ...]:
        """Edges of the image on the model's grid."""
        if self.ratios is None:
            return self.source.shape
        return tuple(
            resampled_length(n, ratio)
            for n, ratio in zip(self.source.shape, self.ratios, strict=True)
        )

    def _on_model_grid(self, t: int, tile: Tile) -> tuple[Tile, Region]:
        """Return the tile that the network is given, and what of it the core is made from."""
        ratios = self.ratios or (1.0,) * len(self.source.shape)
        shape, reach = self.grid, self.typical.reach
        needed = source_region(tile.write, tuple(1 / ratio for ratio in ratios), shape)
        inner = tile_around(needed, shape=shape, halo=reach.halo, multiple_of=reach.multiple_of)
        return inner, needed
