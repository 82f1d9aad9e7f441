"""Where the images of a zarr store lie, on this computer or behind a URL.

Metadata are read as text rather than through zarr: a damaged file gets its own
sentence, and an odd codec of an array that nobody opens does no harm. Behind a
URL nothing is listed, since many servers cannot: what is announced is there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import ImageFileError, parse_json
from napari_virtualstain.io.fingerprint import files_below, fingerprint
from napari_virtualstain.io.ngff_metadata import multiscales_of, ome_block
from napari_virtualstain.io.pixels import DAMAGE, one_line
from napari_virtualstain.io.remote import is_remote, read_text, remote_store

__all__ = [
    "attributes_of",
    "identify",
    "is_array",
    "open_array",
    "places_in",
    "undescribed",
]

_DEEPEST = 4
"""How many groups below the root are searched for images that nothing announces."""
_LARGE = 2**24
"""Pixels up to which a chunk may be much larger than the array that it belongs to."""
_AT_ONCE = 16
"""Wells that are asked for at the same time behind a URL."""


def attributes_of(group: Path) -> dict[str, Any] | None:
    """Return the attributes of a group or array, `None` where there is neither.

    Raises
    ------
    ImageFileError
        If they are damaged, cannot be read, or the place does not answer.
    """
    for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"):
        file = group / name
        text = read_text(file)
        if text is None:
            continue
        try:
            content = parse_json(text)
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
            held = content.get("attributes") or {}
            if not isinstance(held, dict):
                raise ImageFileError(
                    f"{str(file)!r} is damaged: its attributes are none. Copy the store again."
                )
            return held
        return content if name == ".zattrs" else {}  # asked no further: behind a URL it costs
    return None


def is_array(node: Path) -> bool:
    """Return whether a folder is an array, and not a group."""
    if (text := read_text(node / "zarr.json")) is not None:
        return '"array"' in text and parse_json(text).get("node_type") == "array"
    return (node / ".zarray").is_file()


def open_array(store: Path, inner: str) -> Any:
    """Return the zarr array at a path below a store.

    Raises
    ------
    ImageFileError
        If it is not there, or cannot be opened.
    """
    import zarr

    where = store / inner if inner else store
    try:
        array = zarr.open_array(store=remote_store(where), mode="r")
        piece, whole = math.prod(array.chunks), math.prod(array.shape)
        if not all((*array.chunks, *(array.shards or ()))) or piece > max(_LARGE, 4 * whole):
            raise ValueError(f"its chunks have the shape {array.chunks}, it has {array.shape}")
        return array
    except (*DAMAGE, AttributeError) as error:
        there = is_remote(where) or where.is_dir()
        why = f"cannot be opened: {one_line(error)}" if there else "is missing"
        raise ImageFileError(
            f"The array {str(where)!r} that the metadata name {why}. "
            "Copy the store again from its source, or write it again."
        ) from error


def places_in(root: Path, attributes: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return where each scene lies: its group and the number of its multiscales there.

    Parameters
    ----------
    root
        The store.
    attributes
        Of its root group.

    Raises
    ------
    ImageFileError
        If the metadata of a plate or image are damaged.
    """
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
            for fields in _each(root, [str(well["path"]) for well in block["plate"]["wells"]]):
                for place in fields:
                    yield place, 0, place
            return
        if "well" in block:
            for image in block["well"]["images"]:
                yield str(image["path"]), 0, str(image["path"])
            return
    except (KeyError, TypeError) as error:
        raise ImageFileError(
            f"The plate metadata of {str(root)!r} are damaged ({error!r}). Write the store again."
        ) from error
    search = _count if is_remote(root) else _search
    yield from search(root, "", _DEEPEST)


def _each(root: Path, wells: Sequence[str]) -> Iterator[list[str]]:
    """Yield the fields of each well, many at once where each question takes its time."""
    ask = partial(_fields, root)
    if not is_remote(root):
        yield from map(ask, wells)
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="virtualstain-wells") as pool:
        yield from pool.map(ask, wells)


def _fields(root: Path, well: str) -> list[str]:
    """Return the fields of one well; a well that was announced but not written has none."""
    attributes = attributes_of(root / well)
    images = (ome_block(attributes or {}).get("well") or {}).get("images", ())
    places = [f"{well}/{image['path']}" for image in images]
    return [place for place in places if is_remote(root) or (root / place).is_dir()]


def _count(root: Path, below: str, depth: int) -> Iterator[tuple[str, int, str]]:
    """Yield the images 0, 1, 2, ... that bioformats2raw writes, until one is not there."""
    number = 0
    while depth and (found := attributes_of(root / str(number))) is not None:
        if ome_block(found).get("multiscales"):
            yield str(number), 0, str(number)
        number += 1


def _search(root: Path, below: str, depth: int) -> Iterator[tuple[str, int, str]]:
    """Yield images in groups that no metadata announce (bioformats2raw, plain groups)."""
    for folder in sorted((root / below).iterdir() if depth else (), key=_natural):
        if not folder.is_dir() or folder.name in ("labels", "OME") or is_array(folder):
            continue
        place = f"{below}/{folder.name}".lstrip("/")
        attributes = attributes_of(folder)
        if attributes is None:
            continue
        if ome_block(attributes).get("multiscales"):
            yield place, 0, place
        else:
            yield from _search(root, place, depth - 1)


def _natural(path: Path) -> tuple[int, int, str]:
    name = path.name
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def undescribed(root: Path) -> str:
    """Return the sentence for a group in which no image was found."""
    listed = [] if is_remote(root) else sorted(root.iterdir())
    arrays = [folder.name for folder in listed if folder.is_dir() and is_array(folder)]
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


def identify(root: Path, place: str) -> str:
    """Return a fingerprint that changes with the files of an image; see `Source`.

    Behind a URL it is that of the metadata alone, as the chunks cannot be listed: a store that is
    written again in place with other pixels and the same metadata is taken for the same.
    """
    if not is_remote(root):
        return fingerprint(files_below(root / place), root=root)
    text = json.dumps([str(root), place, attributes_of(root / place)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
