"""OME-Zarr 0.4 (zarr v2) and 0.5 (zarr v3): images, wells and plates, chunk by chunk.

Where arrays lie is read from the metadata, never assumed. A missing chunk is
missing data and reads as the fill value of the array, NaN in our own stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_virtualstain.axes import parse_axes
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.disk import waiting
from napari_virtualstain.io.image import LazyImage, Source
from napari_virtualstain.io.ngff_metadata import (
    Multiscales,
    channels_of,
    multiscales_of,
    places_of,
)
from napari_virtualstain.io.pixels import (
    arrange,
    ask_for_axes,
    lazy,
    name_channels,
)
from napari_virtualstain.io.record import state_of
from napari_virtualstain.io.remote import is_remote, located
from napari_virtualstain.io.scale import Scale, scales_of, stored_pixels
from napari_virtualstain.io.scene import Scene, choose_scene
from napari_virtualstain.io.zarr_gaps import gaps_of
from napari_virtualstain.io.zarr_tree import (
    attributes_of,
    identify,
    is_array,
    open_array,
    places_in,
    undescribed,
)

__all__ = ["open_levels", "scenes"]

KIND = "ome-zarr"


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a store: of a plate its fields, by the name ``"A/1/0"``.

    Raises
    ------
    ImageFileError
        If the store is damaged, or holds arrays that nothing describes.
    """
    root = path.parent if not is_remote(path) and path.is_file() else path
    attributes = attributes_of(root)
    if attributes is None:
        raise ImageFileError(
            f"{str(root)!r} is not a zarr store: it has neither zarr.json nor .zgroup. "
            + (
                "Check the address: behind a URL only OME-Zarr is read."
                if is_remote(root)
                else "Choose the folder that holds one of them."
            )
        )
    if is_array(root):
        return [Scene(name="", kind=KIND, load=partial(_load_bare, root, axes))]
    inner = places_in(root, attributes)
    if not inner:
        raise ImageFileError(undescribed(root))
    wells = places_of(attributes)
    return [
        Scene(
            name=name,
            kind=KIND,
            load=partial(_load, root, place, number, name, axes),
            place=wells(place),
        )
        for name, (place, number) in inner.items()
    ]


def _load_bare(root: Path, axes: str | None) -> LazyImage:
    """Open a zarr array that no metadata describe."""
    array = open_array(root, "")
    named = getattr(array.metadata, "dimension_names", None) or ()  # zarr v3 may say
    if axes is not None:
        letters = parse_axes(axes, ndim=array.ndim)
    elif named and all(len(name or "") == 1 for name in named):
        letters = "".join(named)
    elif array.ndim == 2:
        letters = "yx"
    else:
        raise ask_for_axes(root.name, array.shape)
    data, true_axes, samples = arrange(_dask(array, str(root)), letters, where=root.name)
    guesses: list[str] = []
    data, channels = name_channels(data, samples, (), root.stem, guesses)
    source = Source(path=str(root), kind="zarr", identify=partial(identify, root, ""))
    return LazyImage(
        data=data, channels=channels, axes=true_axes, source=source, guesses=tuple(guesses)
    )


def _dask(array: Any, where: str, scales: Sequence[Scale] | None = None) -> da.Array:
    pixels = stored_pixels(array, scales)
    # By name statistics are remembered: those of other scales are others.
    part = str(array.name) if scales is None else f"{array.name} {scales}"
    anchor = None if is_remote(where) else Path(where)
    return lazy(pixels, array.shards or array.chunks, where=where, part=part, anchor=anchor)


def _level(
    root: Path,
    place: str,
    entry: Multiscales,
    level: int,
    axes: str | None,
    scales: Sequence[Scale] | None,
    array: Any = None,
) -> tuple[da.Array, str, int]:
    """Open one resolution of an image, in the order ``tczyx``, as grey values."""
    group = root / place if place else root
    array = open_array(group, entry.paths[level]) if array is None else array
    if len(entry.axes) != array.ndim:
        raise ImageFileError(
            f"{str(group)!r} names {len(entry.axes)} axes ({', '.join(entry.axes)}), but its array "
            f"has {array.ndim}. Write the store again with the program that made it."
        )
    letters = "".join(name if len(name) == 1 else "?" for name in entry.axes)
    return arrange(_dask(array, str(group), scales), letters, where=group.name, stated=axes)


def _described(root: Path, place: str, number: int) -> tuple[dict[str, Any], Multiscales]:
    group = root / place if place else root
    attributes = attributes_of(group) or {}
    entries = multiscales_of(attributes, where=str(group))
    if number >= len(entries):
        raise ImageFileError(
            f"{str(group)!r} is announced as an image, but has no multiscales metadata. "
            "Write the store again with the program that made it."
        )
    return attributes, entries[number]


def _load(root: Path, place: str, number: int, name: str, axes: str | None) -> LazyImage:
    """Open one image of a store."""
    attributes, entry = _described(root, place, number)
    state = state_of(attributes, root / place)
    array = open_array(root / place, entry.paths[0])
    data, true_axes, samples = _level(root, place, entry, 0, axes, scales_of(state), array)
    guesses = list(entry.guesses)
    missing: tuple[tuple[int, int, int], ...] = ()
    said: str | None = None
    if state is None and samples == 1:  # of our own stores it is known which tiles are there
        missing, said = _missing(array, root / place / entry.paths[0], entry, axes)
    if said:
        guesses.append(said)
    if state is not None and state["status"] != "complete":
        asked = str(state.get("reason", "")).endswith("were asked for")
        why = "no more were asked for" if asked else "the run that wrote the store did not finish"
        guesses.append(
            f"Only {state['tiles_done']} of {state['tiles_total']} tiles are there: {why}. "
            "The rest is missing, not dark."
        )
        if not is_remote(root) and (before := waiting(root)) is not None:
            guesses.append(f"The result that was there before lies in {str(before)!r}.")
    data, channels = name_channels(data, samples, channels_of(attributes), entry.name, guesses)
    return LazyImage(
        data=data,
        channels=channels,
        pixel_size_um=entry.pixel_size_um,
        origin_um=entry.origin_um,
        axes=true_axes,
        time_interval_s=entry.time_interval_s,
        z_positions_um=_z_positions(state, data.shape[2]),
        source=Source(
            path=str(root), kind=KIND, scene=name, identify=partial(identify, root, place)
        ),
        guesses=tuple(guesses),
        missing=missing,
    )


def _missing(
    array: Any, folder: Path, entry: Multiscales, axes: str | None
) -> tuple[tuple[tuple[int, int, int], ...], str | None]:
    """Return the planes (t, c, z) that were never written, and what to say of what lacks."""
    if is_remote(folder) or entry.axes[-2:] != ("y", "x"):
        return (), None
    gaps = gaps_of(array, folder)
    if gaps is None:
        return (), None
    letters = "".join(name if len(name) == 1 else "?" for name in entry.axes)
    known, _, _ = arrange(da.from_array(gaps.planes), letters, where=folder.name, stated=axes)
    lost = np.argwhere(known[..., 0, 0].compute())
    said = []
    if len(lost):
        total = known.size
        said.append(f"{len(lost)} of {total} planes are not in the store: missing, not dark")
    if gaps.chunks:
        said.append(
            f"{gaps.chunks} of {gaps.total} chunks are not in the store: missing, or all "
            f"{array.fill_value}"
        )
    return tuple((int(t), int(c), int(z)) for t, c, z in lost), f"{'; '.join(said)}."


def _z_positions(state: dict[str, Any] | None, depth: int) -> tuple[float, ...] | None:
    """Return the heights that a store of ours notes; others do not say where focus is."""
    noted = (state or {}).get("layout", {}).get("z_positions_um")
    return tuple(noted) if noted and len(noted) == depth else None


def open_levels(path: Path | str, scene: str | int | None = None) -> list[da.Array]:
    """Return the resolutions of an image, the finest first, for a viewer.

    Parameters
    ----------
    path
        An OME-Zarr store.
    scene
        As in `open_image`.

    Returns
    -------
    list of dask.array.Array
        Each (T, C, Z, Y, X); the first is that of `open_image`.
    """
    root = located(path)
    image = choose_scene(scenes(root), where=str(root), scene=scene)
    if image.source.kind != KIND:
        return [image.data]
    place, number = places_in(root, attributes_of(root) or {})[image.source.scene]
    attributes, entry = _described(root, place, number)
    scales = scales_of(state_of(attributes, root / place))
    coarser = [
        _level(root, place, entry, level, None, scales)[0] for level in range(1, len(entry.paths))
    ]
    return [image.data, *coarser]
