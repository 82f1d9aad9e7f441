"""How a picture becomes a file of its own: OME-Zarr here, OME-TIFF and PNG beside it.

Anything that is read plane by plane and part by part can be saved: an image on
disk, or the layers of a viewer. Blocks are read and written one after the other,
and a file stands under its own name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.pyramid import level_shapes, mean_2x2
from napari_virtualstain.io.sink import OmeZarrSink

__all__ = ["ImagePicture", "Picture", "blocks_of", "coarse_block", "write_ome_zarr"]

CHUNK = 512
"""Edge in pixels of a chunk or tile of what is written."""
BLOCK = 2048
"""Edge in pixels of what is read and written at once: 16 MB of float32."""

Told = Callable[[int, int], None]
"""Called with parts done and parts in all."""


class Picture(Protocol):
    """What is saved."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of T, C, Z, Y and X."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One entry along C."""

    @property
    def pixel_size_um(self) -> PixelSize:
        """Size of a pixel in micrometres."""

    @property
    def origin_um(self) -> tuple[float, float, float]:
        """Position of the centre of the first pixel (z, y, x) in micrometres."""

    @property
    def time_interval_s(self) -> float | None:
        """Seconds between time points, if known."""

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[Any]:
        """Read a part of one plane (Y, X) into memory, in this thread."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePicture:
    """An opened image, as what is saved.

    Parameters
    ----------
    image
        Whose channels, planes and time points are saved as they are.
    """

    image: LazyImage

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of T, C, Z, Y and X."""
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel; half precision is written in single, which more programs read."""
        return np.dtype(np.float32) if self.image.dtype == np.float16 else self.image.dtype

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One entry along C."""
        return self.image.channels

    @property
    def pixel_size_um(self) -> PixelSize:
        """Size of a pixel in micrometres."""
        return self.image.pixel_size_um

    @property
    def origin_um(self) -> tuple[float, float, float]:
        """Position of the centre of the first pixel (z, y, x) in micrometres."""
        return self.image.origin_um

    @property
    def time_interval_s(self) -> float | None:
        """Seconds between time points, if known."""
        return self.image.time_interval_s

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[Any]:
        """Read a part of one plane (Y, X) into memory, in this thread."""
        region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), y, x)
        plane: NDArray[Any] = self.image.read(region)[0, 0, 0].astype(self.dtype, copy=False)
        return plane


def blocks_of(height: int, width: int, edge: int = BLOCK) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks of a plane, row by row.

    Examples
    --------
    >>> [(y.stop, x.stop) for y, x in blocks_of(3, 5, edge=4)]
    [(3, 4), (3, 5)]
    """
    for y, x in product(range(0, height, edge), range(0, width, edge)):
        yield slice(y, min(y + edge, height)), slice(x, min(x + edge, width))


def coarse_block(
    picture: Picture, plane: tuple[int, int, int], level: int, y: slice, x: slice
) -> NDArray[Any]:
    """Return a part of a coarser copy of a plane, each pixel the mean of 2 x 2 of the finer one.

    Parameters
    ----------
    picture, plane
        What is read, and which t, c and z.
    level
        0 for the picture itself.
    y, x
        In pixels of the level; they start on even pixels.

    Notes
    -----
    Memory is that of the part, whatever the level: it is put together from its four quarters.
    """
    if level == 0:
        part = picture.read(*plane, y, x)
        return part.astype(np.uint8) if part.dtype == np.bool_ else part
    height, width = level_shapes(picture.shape[3:], level)[-1]
    if y.stop - y.start > CHUNK // 2 or x.stop - x.start > CHUNK // 2:
        rows = list(_halves(y))
        return np.concatenate(
            [
                np.concatenate(
                    [coarse_block(picture, plane, level, row, column) for column in _halves(x)],
                    axis=1,
                )
                for row in rows
            ]
        )
    fine_y = slice(2 * y.start, min(2 * y.stop, height))
    fine_x = slice(2 * x.start, min(2 * x.stop, width))
    return mean_2x2(coarse_block(picture, plane, level - 1, fine_y, fine_x))


def _halves(part: slice) -> Iterator[slice]:
    half = CHUNK // 2
    for start in range(part.start, part.stop, half):
        yield slice(start, min(start + half, part.stop))


def write_ome_zarr(
    path: str, picture: Picture, *, overwrite: bool = False, on_block: Told | None = None
) -> None:
    """Write a picture as one OME-Zarr 0.5 with a pyramid.

    Parameters
    ----------
    path
        Where.
    picture
        What.
    overwrite
        Whether an OME-Zarr that is there is replaced, once the new one is whole.
    on_block
        Told how far it is; what it raises ends the writing, and leaves a store that says so.

    Raises
    ------
    VirtualStainError
        If the disk or the output cannot be written.
    """
    n_t, n_c, n_z, height, width = picture.shape
    blocks = list(blocks_of(height, width))
    total = n_t * n_c * n_z * len(blocks)
    tell = on_block or (lambda _done, _total: None)
    sink = OmeZarrSink.create(
        path,
        shape=picture.shape,
        channels=picture.channels,
        n_tiles=total,
        pixel_size_um=picture.pixel_size_um,
        origin_um=picture.origin_um,
        time_interval_s=picture.time_interval_s,
        dtype=str(np.dtype("uint8") if picture.dtype == np.bool_ else picture.dtype),
        chunks_yx=CHUNK,
        overwrite=overwrite,
    )
    with sink:
        places = product(range(n_t), range(n_c), range(n_z), blocks)
        for tile, (t, c, z, (y, x)) in enumerate(places):
            tell(tile, total)
            pixels = picture.read(t, c, z, y, x)
            region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), y, x)
            sink.write(region, pixels.astype(sink.dtype, copy=False)[None, None, None], tile=tile)
        tell(total, total)
