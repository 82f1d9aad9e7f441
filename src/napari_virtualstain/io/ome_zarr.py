"""OME-Zarr 0.4 (zarr v2) and 0.5 (zarr v3): images, wells and plates, chunk by chunk.

Where arrays lie is read from the metadata, never assumed. A missing chunk is
missing data and reads as the fill value of the array, NaN in our own stores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da

from napari_virtualstain.axes import parse_axes
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.disk import waiting
from napari_virtualstain.io.fingerprint import files_below, fingerprint
from napari_virtualstain.io.image import LazyImage, Source
from napari_virtualstain.io.ngff_metadata import (
    Multiscales,
    channels_of,
    multiscales_of,
    ome_block,
    places_of,
)
from napari_virtualstain.io.pixels import (
    DAMAGE,
    arrange,
    ask_for_axes,
    lazy,
    name_channels,
    one_line,
)
from napari_virtualstain.io.record import state_of
from napari_virtualstain.io.scale import Scale, scales_of, stored_pixels
from napari_virtualstain.io.scene import Scene, choose_scene

__all__ = ["open_levels", "scenes"]

KIND = "ome-zarr"
DEEPEST = 4
"""How many groups below the root are searched for images that nothing announces."""


def _attributes(group: Path) -> dict[str, Any] | None:
    """Return the attributes of a group or array, `None` where there is neither.

    Read as text rather than through zarr: a damaged file gets its own sentence, and an odd
    codec of an array that nobody opens does no harm.
    """
    found: dict[str, Any] | None = None
    for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"):
        file = group / name
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ImageFileError(
                f"{str(file)!r} cannot be read: {error.strerror or one_line(error)}. "
                "Check that you may read it."
            ) from error
        except ValueError as error:
            raise ImageFileError(
                f"{str(file)!r} is damaged: {one_line(error)}. Copy the store again from its "
                "source, or write it again."
            ) from error
        if not isinstance(content, dict):
            raise ImageFileError(
                f"{str(file)!r} is damaged: it holds no metadata. Copy the store again."
            )
        if name == "zarr.json":
            return dict(content.get("attributes") or {})
        found = content if name == ".zattrs" else found or {}
    return found


def _is_array(node: Path) -> bool:
    if (node / ".zarray").is_file():
        return True
    file = node / "zarr.json"
    return (
        file.is_file()
        and '"array"' in file.read_text(encoding="utf-8", errors="replace")
        and (json.loads(file.read_text(encoding="utf-8")).get("node_type") == "array")
    )


def _open_array(store: Path, inner: str) -> Any:
    """Return the zarr array at a path below a store."""
    import zarr

    where = store / inner if inner else store
    try:
        return zarr.open_array(store=where, mode="r")
    except (*DAMAGE, AttributeError) as error:
        why = "is missing" if not where.is_dir() else f"cannot be opened: {one_line(error)}"
        raise ImageFileError(
            f"The array {str(where)!r} that the metadata name {why}. "
            "Copy the store again from its source, or write it again."
        ) from error


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a store: of a plate its fields, by the name ``"A/1/0"``.

    Raises
    ------
    ImageFileError
        If the store is damaged, or holds arrays that nothing describes.
    """
    root = path.parent if path.is_file() else path
    attributes = _attributes(root)
    if attributes is None:
        raise ImageFileError(
            f"{str(root)!r} is not a zarr store: it has neither zarr.json nor .zgroup. "
            "Choose the folder that holds one of them."
        )
    if _is_array(root):
        return [Scene(name="", kind=KIND, load=partial(_load_bare, root, axes))]
    inner = _places(root, attributes)
    if not inner:
        raise ImageFileError(_undescribed(root))
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


def _places(root: Path, attributes: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return where each scene lies: its group and the number of its multiscales there."""
    inner = list(_images(root, attributes))
    if len(inner) == 1 and not inner[0][0]:
        return {"": ("", 0)}  # the path is the image; only fields keep their name when alone
    return {name: (place, number) for place, number, name in inner}


def _images(root: Path, attributes: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield (group below the root, number of its multiscales, name) for each image."""
    block = ome_block(attributes)
    if block.get("multiscales"):
        entries = multiscales_of(attributes, where=str(root))
        for number, entry in enumerate(entries):
            yield "", number, entry.name or str(number)
        return
    try:
        if "plate" in block:
            for well in block["plate"]["wells"]:
                yield from _well(root, str(well["path"]))
            return
        if "well" in block:
            for image in block["well"]["images"]:
                yield str(image["path"]), 0, str(image["path"])
            return
    except (KeyError, TypeError) as error:
        raise ImageFileError(
            f"The plate metadata of {str(root)!r} are damaged ({error!r}). Write the store again."
        ) from error
    yield from _search(root, "", DEEPEST)


def _well(root: Path, well: str) -> Iterator[tuple[str, int, str]]:
    """Yield the fields of one well; a well that was announced but not written has none."""
    attributes = _attributes(root / well)
    if attributes is None:
        return
    for image in (ome_block(attributes).get("well") or {}).get("images", ()):
        place = f"{well}/{image['path']}"
        if (root / place).is_dir():
            yield place, 0, place


def _search(root: Path, below: str, depth: int) -> Iterator[tuple[str, int, str]]:
    """Yield images in groups that no metadata announce (bioformats2raw, plain groups)."""
    for folder in sorted((root / below).iterdir() if depth else (), key=_natural):
        if not folder.is_dir() or folder.name in ("labels", "OME") or _is_array(folder):
            continue
        place = f"{below}/{folder.name}".lstrip("/")
        attributes = _attributes(folder)
        if attributes is None:
            continue
        if ome_block(attributes).get("multiscales"):
            yield place, 0, place
        else:
            yield from _search(root, place, depth - 1)


def _natural(path: Path) -> tuple[int, int, str]:
    name = path.name
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _undescribed(root: Path) -> str:
    arrays = [
        folder.name for folder in sorted(root.iterdir()) if folder.is_dir() and _is_array(folder)
    ]
    if arrays:
        return (
            f"{str(root)!r} is a bare zarr group without OME-Zarr metadata; it holds the arrays "
            f"{', '.join(arrays[:8])}. Open one of them with its axes, for example "
            f"{str(root / arrays[0])!r} --axes zyx, or convert the group to OME-Zarr."
        )
    return (
        f"{str(root)!r} is a zarr group without OME-Zarr metadata, and holds no image. "
        "Choose another folder, or convert the image to OME-Zarr."
    )


def _identify(root: Path, place: str) -> str:
    return fingerprint(files_below(root / place), root=root)


def _load_bare(root: Path, axes: str | None) -> LazyImage:
    """Open a zarr array that no metadata describe."""
    array = _open_array(root, "")
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
    source = Source(path=str(root), kind="zarr", identify=partial(_identify, root, ""))
    return LazyImage(
        data=data, channels=channels, axes=true_axes, source=source, guesses=tuple(guesses)
    )


def _dask(array: Any, where: str, scales: Sequence[Scale] | None = None) -> da.Array:
    pixels = stored_pixels(array, scales)
    # By name statistics are remembered: those of other scales are others.
    part = str(array.name) if scales is None else f"{array.name} {scales}"
    return lazy(pixels, array.shards or array.chunks, where=where, part=part)


def _level(
    root: Path,
    place: str,
    entry: Multiscales,
    level: int,
    axes: str | None,
    scales: Sequence[Scale] | None,
) -> tuple[da.Array, str, int]:
    """Open one resolution of an image, in the order ``tczyx``, as grey values."""
    group = root / place if place else root
    array = _open_array(group, entry.paths[level])
    if len(entry.axes) != array.ndim:
        raise ImageFileError(
            f"{str(group)!r} names {len(entry.axes)} axes ({', '.join(entry.axes)}), but its array "
            f"has {array.ndim}. Write the store again with the program that made it."
        )
    letters = "".join(name if len(name) == 1 else "?" for name in entry.axes)
    return arrange(_dask(array, str(group), scales), letters, where=group.name, stated=axes)


def _described(root: Path, place: str, number: int) -> tuple[dict[str, Any], Multiscales]:
    group = root / place if place else root
    attributes = _attributes(group) or {}
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
    data, true_axes, samples = _level(root, place, entry, 0, axes, scales_of(state))
    guesses = list(entry.guesses)
    if state is not None and state["status"] != "complete":
        asked = str(state.get("reason", "")).endswith("were asked for")
        why = "no more were asked for" if asked else "the run that wrote the store did not finish"
        guesses.append(
            f"Only {state['tiles_done']} of {state['tiles_total']} tiles are there: {why}. "
            "The rest is missing, not dark."
        )
        if (before := waiting(root)) is not None:
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
            path=str(root), kind=KIND, scene=name, identify=partial(_identify, root, place)
        ),
        guesses=tuple(guesses),
    )


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
    root = Path(path)
    image = choose_scene(scenes(root), where=str(root), scene=scene)
    if image.source.kind != KIND:
        return [image.data]
    place, number = _places(root, _attributes(root) or {})[image.source.scene]
    attributes, entry = _described(root, place, number)
    scales = scales_of(state_of(attributes, root / place))
    coarser = [
        _level(root, place, entry, level, None, scales)[0] for level in range(1, len(entry.paths))
    ]
    return [image.data, *coarser]
