"""What a network is given of an image: regions, normalised with the numbers of the whole field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.intensity import Normalisation

__all__ = ["PlanesSource", "Source", "clipped", "padded"]


class Source(Protocol):
    """An image as a network takes it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial axes in pixels: (Y, X), or (Z, Y, X) for a network over volumes."""

    @property
    def times(self) -> int:
        """Number of time points."""

    @property
    def blocks(self) -> tuple[int, ...]:
        """Lengths in pixels in which it is best read, by axis."""

    def read(self, t: int, region: Region) -> NDArray[np.float32]:
        """Return normalised pixels (C, *S) of a region inside the image."""


@dataclass(frozen=True, slots=True, eq=False)
class PlanesSource:
    """Planes of a stack as channels of a 2-D network, or as the z axis of a 3-D one.

    Parameters
    ----------
    planes
        What the network is given.
    inputs
        Normalisation by time point, then plane; nothing for a time point that is not stained.
    volume
        Whether z is an axis of the network.
    """

    planes: InputPlanes
    inputs: tuple[tuple[Normalisation, ...], ...]
    volume: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial axes in pixels."""
        return self.planes.image.shape[2 if self.volume else 3 :]

    @property
    def times(self) -> int:
        """Number of time points."""
        return self.planes.image.shape[0]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Lengths of the chunks of the file, as far as it has any."""
        lengths = self.planes.image.data.chunksize[2 if self.volume else 3 :]
        return tuple(int(n) for n in lengths)

    def read(self, t: int, region: Region) -> NDArray[np.float32]:
        """Return normalised pixels of a region."""
        pixels, norms = self.raw(t, region)
        normal = np.empty(pixels.shape, np.float32)
        for plane, norm in enumerate(norms):
            normal[plane] = norm.apply(pixels[plane])
        return normal[None] if self.volume else normal

    def raw(self, t: int, region: Region) -> tuple[NDArray[Any], tuple[Normalisation, ...]]:
        """Return pixels of a region as the file has them: (P, *S), and what normalises each."""
        *z, y, x = region
        pixels, norms = self.planes.read(t, (y, x)), self.inputs[t]
        return (pixels[z[0]], norms[z[0]]) if z else (pixels, norms)


def padded(source: Source, t: int, region: Region) -> NDArray[np.float32]:
    """Read a region that may end beyond the image; zeros stand for what is outside.

    Parameters
    ----------
    source, t
        See `Source.read`.
    region
        Starts inside the image.
    """
    inside = clipped(region, source.shape)
    pixels = source.read(t, inside)
    missing = [(0, part.stop - own.stop) for part, own in zip(region, inside, strict=True)]
    if not any(after for _, after in missing):
        return pixels
    return np.pad(pixels, [(0, 0), *missing])


def clipped(region: Region, shape: Sequence[int]) -> Region:
    """Return the part of a region that lies in an image of a shape."""
    return tuple(
        slice(part.start, min(part.stop, n)) for part, n in zip(region, shape, strict=True)
    )
