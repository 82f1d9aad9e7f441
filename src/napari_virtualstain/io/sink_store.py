"""The parts of a store that is being written: its arrays, its attributes, its rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.axes import PixelSize, Region
from napari_virtualstain.errors import ImageFileError, RunCancelled, SettingsError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.ngff_write import VERSION, multiscales
from napari_virtualstain.io.pyramid import level_shapes
from napari_virtualstain.io.record import KEY, read_record

__all__ = [
    "check_region",
    "check_settings",
    "describe",
    "jsonable",
    "levels_of",
    "new_array",
    "new_group",
    "reason",
    "unfinished",
]


def check_region(
    region: Region, given: tuple[int, ...], *, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    """Refuse a region that is not aligned to chunks, or pixels that do not fit it.

    Parameters
    ----------
    region
        One slice an axis.
    given
        Shape of the pixels.
    shape, chunks
        Those of the store.

    Raises
    ------
    SettingsError
        If so.
    """
    if len(region) != len(shape):
        raise SettingsError(f"A region has 5 slices, got {len(region)}. Give one an axis.")
    for axis, one, length, chunk in zip("tczyx", region, shape, chunks, strict=True):
        start, stop = one.start, one.stop
        if start is None or stop is None or not 0 <= start < stop <= length:
            raise SettingsError(
                f"The region {start}:{stop} along {axis} is not inside 0:{length}. "
                "Give start and stop of every axis."
            )
        if start % chunk or (stop % chunk and stop != length):
            raise SettingsError(
                f"The region {start}:{stop} along {axis} is not aligned to chunks of {chunk} "
                "px; tiles that share a chunk would overwrite each other. "
                f"Use a tile core that is a multiple of {chunk}."
            )
    if given != tuple(one.stop - one.start for one in region):
        raise SettingsError(
            f"Pixels of shape {given} were given for the region "
            f"{tuple(one.stop - one.start for one in region)}. Give one pixel a place."
        )


def reason(error: BaseException) -> str:
    """Return why a run ended, in the words of its error."""
    if isinstance(error, KeyboardInterrupt | RunCancelled):
        return "cancelled"
    return str(error) or type(error).__name__


def unfinished(path: Path) -> bool:
    """Return whether a store is there that a run of this package left unfinished."""
    try:
        return bool(read_record(path)["status"] != "complete")
    except (ImageFileError, FileNotFoundError):
        return False


def jsonable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy as JSON holds it, or say what does not fit."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(record), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"The run record cannot be written as JSON: {error}. Use text, numbers, lists, dicts."
        ) from error
    return copy


def check_settings(
    shape: tuple[int, ...],
    channels: Sequence[Channel],
    chunk: int,
    n_tiles: int,
    levels: int | None,
) -> None:
    """Refuse settings that contradict each other."""
    if len(shape) != 5 or min(shape) < 1:
        raise SettingsError(f"A result has the shape (T, C, Z, Y, X), got {shape}. Give all five.")
    if len(channels) != shape[1]:
        raise SettingsError(
            f"{len(channels)} channels were named for {shape[1]}. Give one name a channel."
        )
    if chunk < 1 or n_tiles < 1 or (levels is not None and levels < 1):
        raise SettingsError(
            f"Chunk edge, tiles and levels must be 1 or more, got {chunk}, {n_tiles}, {levels}."
        )


def compressor() -> tuple[Any, ...]:
    """Return how chunks are compressed."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    # Blosc reads beyond the end of a chunk that was cut off; with a checksum it never sees one.
    return (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec())


def new_array(group: Any, name: str, shape: tuple[int, ...], dtype: Any, chunk: int) -> Any:
    """Add one level to a store."""
    return group.create_array(
        name,
        shape=shape,
        chunks=(1, 1, 1, min(chunk, shape[-2]), min(chunk, shape[-1])),
        dtype=dtype,
        fill_value=np.nan if np.issubdtype(dtype, np.floating) else 0,
        compressors=compressor(),
        dimension_names=list("tczyx"),
        # The finest holds our lock.
        overwrite=name != "0",
    )


def new_group(
    path: Path, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any], chunk: int
) -> Any:
    """Create the group and its levels in a folder that holds nothing but the lock."""
    import zarr

    group = zarr.create_group(store=path, zarr_format=3)
    for level, shape in enumerate(shapes):
        new_array(group, str(level), shape, dtype, chunk)
    return group


def levels_of(group: Any, count: int, *, make: bool) -> list[Any]:
    """Return the arrays of a store that is not complete, the finest first.

    Parameters
    ----------
    group
        Its zarr group.
    count
        How many levels it will have.
    make
        Whether to make those that are missing or of another form, as a run of an earlier
        version left them.
    """
    arrays = [group["0"]]
    finest = arrays[0]
    for level, shape in enumerate(level_shapes(tuple(finest.shape), count)[1:], 1):
        array = group.get(str(level))
        if array is None or (tuple(array.shape), array.dtype) != (shape, finest.dtype):
            if not make:
                break
            array = new_array(group, str(level), shape, finest.dtype, int(finest.chunks[-1]))
        arrays.append(array)
    return arrays


def describe(
    group: Any,
    layout: Mapping[str, Any],
    *,
    levels: int,
    omero_block: dict[str, Any],
    state: dict[str, Any],
    suffix: str = "",
) -> None:
    """Write all attributes at once; zarr replaces the file in one step."""
    z, y, x = layout["pixel_size_um"]
    scales = multiscales(
        name=layout["name"] + suffix,
        levels=levels,
        pixel_size_um=PixelSize(z=z, y=y, x=x),
        origin_um=tuple(layout["origin_um"]),
        time_interval_s=layout["time_interval_s"],
    )
    group.update_attributes(
        {"ome": {"version": VERSION, "multiscales": scales, "omero": omero_block}, KEY: state}
    )
