"""Where each tile reads, and which pixels of it are kept.

A tile's core is written, its halo is only read. Cores partition the image;
they do not overlap, since overlapping ones would need a lock per chunk and a
rule for who wins. With a halo of at least half the receptive field, and reads
that start on the network's stride, the cores put together are the forward pass
of the whole image, bit for bit the same network seeing the same neighbourhood.

Conventions
-----------
The whole image is zero-padded (after normalisation) at its far end up to the
network's stride, and the network pads its own border with zeros. A tile at the
image border therefore reads up to that padded border and no further.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import SettingsError

__all__ = ["Tile", "TilePlan", "plan_tiles", "tile_around"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work.

    Parameters
    ----------
    index
        Position in the plan.
    read
        Core plus halo in pixels of the image; its far end may lie outside the
        image, where it is padded with zeros.
    keep
        The core inside the array that was read.
    write
        The core inside the image; no two tiles share a pixel here.
    """

    index: int
    read: Region
    keep: Region
    write: Region


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def _each_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else tuple(value)


def tile_around(
    core: Region,
    *,
    shape: tuple[int, ...],
    halo: int | Sequence[int],
    multiple_of: int | Sequence[int],
    index: int = 0,
) -> Tile:
    """Return the tile that predicts a region exactly.

    Parameters
    ----------
    core
        Region to predict, inside the image.
    shape
        Of the image, spatial axes only, in pixels.
    halo
        Pixels that a prediction depends on beyond itself, on each side; one number, or one an axis.
    multiple_of
        The network's stride: reads start and end on its multiples. As `halo`.

    Examples
    --------
    >>> tile_around((slice(64, 128),), shape=(130,), halo=10, multiple_of=16).read
    (slice(48, 144, None),)
    """
    read, keep = [], []
    n = len(shape)
    for part, length, far, stride in zip(
        core, shape, _each_axis(halo, n), _each_axis(multiple_of, n), strict=True
    ):
        padded = -(-length // stride) * stride
        start = max(0, part.start - far) // stride * stride
        stop = min(padded, -(-(part.stop + far) // stride) * stride)
        read.append(slice(start, stop))
        keep.append(slice(part.start - start, part.stop - start))
    return Tile(index=index, read=tuple(read), keep=tuple(keep), write=tuple(core))


@dataclass(frozen=True, slots=True)
class TilePlan:
    """All tiles of an image; a value that can be printed, counted and shared out.

    Parameters
    ----------
    shape
        Of the image, spatial axes only, in pixels.
    core
        Edge of a tile's core along each axis, in pixels.
    halo
        Pixels read beyond the core on each side, along each axis.
    multiple_of
        Reads start and end on its multiples, along each axis.
    """

    shape: tuple[int, ...]
    core: tuple[int, ...]
    halo: tuple[int, ...]
    multiple_of: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return prod(self.grid)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles in raster order."""
        return (self.tile(index) for index in range(len(self)))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of tiles along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.core, strict=True))

    def tile(self, index: int) -> Tile:
        """Return one tile by its position in raster order."""
        left, places = index, []
        for length in reversed(self.grid):
            left, place = divmod(left, length)
            places.append(place)
        core = tuple(
            slice(place * c, min((place + 1) * c, n))
            for place, c, n in zip(reversed(places), self.core, self.shape, strict=True)
        )
        return tile_around(
            core, shape=self.shape, halo=self.halo, multiple_of=self.multiple_of, index=index
        )

    def touching(self, region: Region) -> list[int]:
        """Return which tiles touch a region, the nearest to its middle first.

        Parameters
        ----------
        region
            One slice an axis, inside the image, not empty.

        Examples
        --------
        >>> plan = plan_tiles((64, 96), core=32, halo=4, multiple_of=8)
        >>> plan.touching((slice(0, 40), slice(30, 96)))
        [1, 2, 4, 5, 0, 3]
        """
        lines = [
            range(part.start // c, -(-part.stop // c))
            for part, c in zip(region, self.core, strict=True)
        ]
        middle = [(part.start + part.stop) / 2 for part in region]
        found = []
        for place in product(*lines):
            index = 0
            for at, length in zip(place, self.grid, strict=True):
                index = index * length + at
            apart = sum(
                ((at + 0.5) * c - m) ** 2 for at, c, m in zip(place, self.core, middle, strict=True)
            )
            found.append((apart, index))
        return [index for _, index in sorted(found)]

    @property
    def largest_read(self) -> tuple[int, ...]:
        """Edges of the largest array that the network is given."""
        return tuple(max(lengths) for lengths in self._reads())

    @property
    def overhead(self) -> float:
        """Pixels forwarded over pixels of the image, at least 1."""
        return prod(sum(lengths) for lengths in self._reads()) / prod(self.shape)

    def _reads(self) -> list[list[int]]:
        """Return how many pixels the tiles read along each axis.

        Tiles form a grid, so that a plan of a million tiles is described by its edges.
        """
        lengths = []
        for n, c, halo, stride in zip(
            self.shape, self.core, self.halo, self.multiple_of, strict=True
        ):
            line = TilePlan(shape=(n,), core=(c,), halo=(halo,), multiple_of=(stride,))
            lengths.append([_length(tile.read[0]) for tile in line])
        return lengths

    def describe(self) -> str:
        """Return the plan in words.

        Examples
        --------
        >>> plan_tiles((1000, 2000), core=1024, halo=44, multiple_of=16).describe()
        '2 tiles of up to 1024 x 1024 px, halo 44 px, 1.06 x the pixels of the image'
        """
        tiles = "1 tile" if len(self) == 1 else f"{len(self)} tiles"
        size = " x ".join(str(c) for c in self.core)
        return (
            f"{tiles} of up to {size} px, halo {_in_words(self.halo)} px, "
            f"{self.overhead:.2f} x the pixels of the image"
        )


def _in_words(lengths: tuple[int, ...]) -> str:
    return str(lengths[0]) if len(set(lengths)) == 1 else " x ".join(map(str, lengths))


def plan_tiles(
    shape: tuple[int, ...],
    *,
    core: int | Sequence[int],
    halo: int | Sequence[int],
    multiple_of: int | Sequence[int],
) -> TilePlan:
    """Partition an image into tiles.

    Parameters
    ----------
    shape
        Of the image, spatial axes only, in pixels; any size from 1 on.
    core
        Edge of the tiles' cores in pixels; one number, or one an axis.
    halo, multiple_of
        See `tile_around`.

    Raises
    ------
    SettingsError
        If a size is not positive, or a halo negative.
    """
    if min(shape) < 1:
        raise SettingsError(
            f"An image of {' x '.join(map(str, shape))} px has no pixels. Choose another image."
        )
    n = len(shape)
    plan = TilePlan(
        shape=tuple(shape),
        core=_each_axis(core, n),
        halo=_each_axis(halo, n),
        multiple_of=_each_axis(multiple_of, n),
    )
    if min(plan.core) < 1 or min(plan.halo) < 0 or min(plan.multiple_of) < 1:
        raise SettingsError(
            f"Tiles need a positive edge, got {_in_words(plan.core)} px with a halo of "
            f"{_in_words(plan.halo)} px. Choose an edge of at least 64 px with --tile."
        )
    return plan
