"""How a picture becomes one OME-TIFF with a pyramid, tile by tile.

The coarser copies lie in sub-files of each plane, where bioformats, QuPath and
tifffile look for them; a program that knows nothing of them shows the picture
itself. They are computed from the picture again, level by level, since a TIFF is
written from its beginning to its end: no more than a tile is kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import OutputExistsError, PixelDataError
from napari_virtualstain.io.disk import check_free_space, disk_errors
from napari_virtualstain.io.pyramid import level_shapes, levels_needed
from napari_virtualstain.io.save import CHUNK, Picture, Told, blocks_of, coarse_block

__all__ = ["check_tiff_output", "write_ome_tiff"]

_TYPES = ("bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_BIG = 2**31
"""Bytes from which on a file is a BigTIFF: twice as many would need one."""


def check_tiff_output(path: Path, dtype: np.dtype[Any]) -> None:
    """Refuse what cannot be a file, or pixels that have no place in one.

    Raises
    ------
    PixelDataError
        If the type of the pixels is none of OME-TIFF.
    OutputExistsError
        If the path is a folder.
    """
    if dtype.name not in _TYPES:
        raise PixelDataError(
            f"Pixels of type {dtype} have no place in OME-TIFF. Convert them to int32 "
            "or float32, or save them as OME-Zarr."
        )
    if path.is_dir():
        raise OutputExistsError(f"{str(path)!r} is a folder. Choose another name.")


def write_ome_tiff(
    path: Path, picture: Picture, *, on_tile: Told | None = None, about: str = ""
) -> None:
    """Write a picture as one OME-TIFF; a file that is there is replaced when the new is whole.

    The origin of the picture has no agreed home in OME-TIFF and is not kept.

    Parameters
    ----------
    path
        Where.
    picture
        What; see `check_tiff_output` for its pixels.
    on_tile
        Told how far it is; what it raises ends the writing, and leaves nothing.
    about
        What is said of the picture in its metadata.

    Raises
    ------
    DiskError
        If the disk cannot be written.
    """
    import tifffile

    count = levels_needed(*picture.shape[3:], CHUNK)
    shapes = level_shapes(picture.shape, count)
    dtype = np.dtype("uint8") if picture.dtype == np.bool_ else picture.dtype
    needed = 1.34 * float(np.prod(picture.shape, dtype=np.float64)) * dtype.itemsize
    tell = _Teller(shapes, on_tile)
    how: dict[str, Any] = {
        "dtype": dtype,
        "tile": (CHUNK, CHUNK),
        "compression": "zlib",
        "photometric": "minisblack",
    }
    # Ends like a TIFF of nobody: what a crash leaves is not taken for the picture.
    scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with disk_errors(path, needed):
            path.parent.mkdir(parents=True, exist_ok=True)
            check_free_space(path, needed)
            with tifffile.TiffWriter(scratch, ome=True, bigtiff=needed > _BIG) as file:
                for level, shape in enumerate(shapes):
                    first = {"subifds": count - 1, "metadata": _ome(picture, about)}
                    later = {"subfiletype": 1, "metadata": None}
                    file.write(
                        _tiles(picture, level, shape, tell),
                        shape=shape,
                        **(first if level == 0 else later),
                        **how,
                    )
            scratch.replace(path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


class _Teller:
    """Counts tiles over all levels."""

    def __init__(self, shapes: list[tuple[int, ...]], told: Told | None) -> None:
        self._told, self._done = told, 0
        self._total = sum(
            int(np.prod(shape[:3])) * len(list(blocks_of(shape[3], shape[4], edge=CHUNK)))
            for shape in shapes
        )
        self()

    def __call__(self, more: int = 0) -> None:
        self._done += more
        if self._told is not None:
            self._told(self._done, self._total)


def _tiles(
    picture: Picture, level: int, shape: tuple[int, ...], tell: _Teller
) -> Iterator[NDArray[Any]]:
    """Yield all tiles of all planes, those at the far ends filled up with zeros."""
    n_t, n_c, n_z, height, width = shape
    for plane in product(range(n_t), range(n_c), range(n_z)):
        for top in range(0, height, CHUNK):
            rows = slice(top, min(top + CHUNK, height))
            # A band at a time, so that a lazy layer is not computed once a tile.
            band = coarse_block(picture, plane, level, rows, slice(0, width))
            for left in range(0, width, CHUNK):
                part = band[:, left : left + CHUNK]
                tile = np.zeros((CHUNK, CHUNK), band.dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                tell(1)
                yield tile


def _ome(picture: Picture, about: str) -> dict[str, Any]:
    """Return the metadata as tifffile turns them into OME-XML."""
    size = picture.pixel_size_um
    colours = [(int(c.colour or "FFFFFF", 16) << 8) | 0xFF for c in picture.channels]
    entries: dict[str, Any] = {
        "axes": "TCZYX",
        "Channel": {
            "Name": [channel.name for channel in picture.channels],
            # RGBA as a signed integer of 32 bit
            "Color": [c - 2**32 if c >= 2**31 else c for c in colours],
        },
    }
    for axis, length in (("Z", size.z), ("Y", size.y), ("X", size.x)):
        if length is not None:
            entries[f"PhysicalSize{axis}"] = length
            entries[f"PhysicalSize{axis}Unit"] = "µm"
    if about:
        entries["Description"] = about
    if picture.time_interval_s is not None:
        entries |= {"TimeIncrement": picture.time_interval_s, "TimeIncrementUnit": "s"}
    return entries
