"""How the files of one field become one image, whatever is missing of them.

A place that no readable file fills is missing data: it is listed, said among
the guesses, and reads as NaN or 0. Files of another size than the others, and
files that hold more than a plane, are errors: nobody can tell what they are.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import AXES, PixelSize
from napari_virtualstain.errors import AxesError, ImageFileError, MissingInputError
from napari_virtualstain.io.fingerprint import fingerprint
from napari_virtualstain.io.image import Channel, LazyImage, Source
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.pixels import SeveralPlanesError, arrange, lazy, name_channels
from napari_virtualstain.io.plane_file import PlaneGrid, plane_header
from napari_virtualstain.io.plane_grid import Group, groups_of
from napari_virtualstain.io.plate import place_of_name
from napari_virtualstain.io.scene import Scene, unique_channels
from napari_virtualstain.io.tiff_metadata import TiffFacts

__all__ = ["scenes_of"]

_NAMED = 3
"""Missing planes that are named; the others are counted."""


def scenes_of(
    path: Path, plan: FolderPlan, planes: Sequence[Plane], kind: str, *, keep_name: bool
) -> list[Scene]:
    """Return one scene for each field, and for each depth that its channels have.

    Parameters
    ----------
    path
        What was opened.
    plan
        What is known of it.
    planes
        Those of the scenes that are shown.
    kind
        Name of the layout.
    keep_name
        Whether a scene that is alone keeps its name.
    """
    groups = groups_of(plan, planes)
    if len(groups) == 1 and not keep_name:
        groups = [replace(groups[0], name="")]
    elif not all(group.name for group in groups):
        groups = [replace(group, name=group.name or "image") for group in groups]
    return [
        Scene(
            name=group.name,
            kind=kind,
            load=partial(_load, path, plan, group, kind),
            place=plan.places.get(group.scene) or place_of_name(group.scene),
            announced=group.channels,
        )
        for group in groups
    ]


def _load(path: Path, plan: FolderPlan, group: Group, kind: str) -> LazyImage:
    """Check the files of one scene by their headers and put them together."""
    table = group.files()
    looked = _look(table, group)
    files = looked.files
    grid = PlaneGrid(files, looked.shape, looked.dtype)
    guesses = [*plan.guesses, *looked.notes]
    letters = "tczyxs"[: 3 + len(looked.shape)]
    data, _, samples = arrange(
        lazy(grid, (1, 1, 1, *looked.shape), where=str(path), part=_part(files, path)),
        letters,
        where=path.name,
    )
    first = group.planes[0]
    true_axes = "".join(
        letter
        for letter in AXES
        if letter in "yx"
        or (letter == "t" and first.has_t and len(group.times) > 1)
        or (letter == "c" and data.shape[1] > 1)
        or (letter == "z" and first.has_z and len(group.depths) > 1)
    )
    heights = _heights(plan, group)
    known = [_with_offset(channel, heights) for channel in group.channels]
    data, channels = name_channels(data, samples, known, "", guesses)
    reference = heights.get(group.channels[0].name)
    there = [file for file in files.flat if file is not None]
    stated = _stated_in(there[0], plan)
    size = plan.pixel_size_um
    if not size.yx:
        size = replace(stated.pixel_size_um, z=size.z)
        guesses += stated.guesses
    per_channel = data.shape[1] // len(group.channels)  # the samples of colour pictures
    return LazyImage(
        data=data,
        channels=unique_channels(channels),
        pixel_size_um=_with_step(size, reference),
        axes=true_axes,
        time_interval_s=plan.time_interval_s if len(group.times) > 1 else None,
        z_positions_um=reference,
        na=plan.na or stated.na,
        source=Source(
            path=str(path),
            kind=kind,
            scene=group.name,
            # Files that could not be read are watched too: they may be copied again.
            identify=partial(fingerprint, [f for f in table.flat if f is not None], root=path),
        ),
        guesses=tuple(guesses),
        missing=tuple(
            (t, c * per_channel + sample, z)
            for t, c, z in looked.missing
            for sample in range(per_channel)
        ),
    )


def _part(files: NDArray[Any], path: Path) -> str:
    """Tell one set of planes of a folder from another."""
    there: list[Path | None] = files.ravel().tolist()
    return "|".join("" if file is None else os.path.relpath(file, path) for file in there)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What the headers say: files that can be read, their shape and type, places without one."""

    files: NDArray[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    missing: tuple[tuple[int, int, int], ...]
    notes: tuple[str, ...]


def _look(table: NDArray[Any], group: Group) -> _Looked:
    """Read the header of every file of a scene.

    Raises
    ------
    ImageFileError
        If a file has another size than the others or is no plane, or if none can be read.
    """
    files = table.copy()
    headers: dict[Path, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    unread: list[tuple[tuple[int, int, int], str]] = []
    for place in np.ndindex(table.shape):
        file: Any = table[place]  # a path, or None
        why = "no file"
        if file is not None:
            try:
                headers[file] = plane_header(file)
                continue
            except MissingInputError:
                why = f"{file.name!r} is not there"
            except SeveralPlanesError:
                raise
            except ImageFileError:
                why = f"{file.name!r} is empty or damaged"
        files[place] = None
        t, c, z = place
        unread.append(((t, c, z), why))
    if not headers:
        raise ImageFileError(
            f"None of the {table.size} planes of {group.name or 'the image'!r} can be read: "
            f"{group.words(unread[0][0])}: {unread[0][1]}. Copy the files again from their source."
        )
    shapes = Counter(shape for shape, _ in headers.values())
    usual, _ = shapes.most_common(1)[0]
    for odd, (shape, dtype) in headers.items():
        if shape != usual:
            raise ImageFileError(
                f"{str(odd)!r} is {_size(shape)} {dtype}, but the other planes are "
                f"{_size(usual)}. Take it out of the folder or save it again."
            )
    if len(usual) > 3:
        raise AxesError(f"{str(next(iter(headers)))!r} is not a plane. Open it as a file.")
    dtypes = sorted({dtype for _, dtype in headers.values()}, key=str)
    dtype = np.result_type(*dtypes)
    return _Looked(
        files=files,
        shape=usual,
        dtype=dtype,
        missing=tuple(place for place, _ in unread),
        notes=_notes(group, unread, table.size, dtypes, dtype),
    )


def _notes(
    group: Group,
    unread: Sequence[tuple[tuple[int, int, int], str]],
    total: int,
    dtypes: Sequence[np.dtype[Any]],
    dtype: np.dtype[Any],
) -> tuple[str, ...]:
    notes = []
    if unread:
        named = "; ".join(f"{group.words(place)}: {why}" for place, why in unread[:_NAMED])
        more = f"; and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        are = "plane is" if len(unread) == 1 else "planes are"
        notes.append(
            f"{len(unread)} of {total} {are} missing, not dark ({named}{more}). "
            "Put the files into the folder to have them."
        )
    if len(dtypes) > 1:
        notes.append(
            f"The planes are of several types ({', '.join(map(str, dtypes))}); grey values are "
            f"kept as they are, as {dtype}."
        )
    notes += [
        f"The {letter} numbers of the files are not evenly spaced; what lies between them is "
        "not counted as missing."
        for letter in group.uneven
    ]
    return tuple(notes)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _stated_in(file: Path, plan: FolderPlan) -> TiffFacts:
    """Return what a TIFF states of size and objective, where the layout does not know the size.

    Resolution tags are not words: Harmony, for one, writes the size of the camera's pixels there.
    """
    if plan.pixel_size_um.yx or file.suffix.lower() not in (".tif", ".tiff"):
        return TiffFacts()
    from napari_virtualstain.io.tiff import facts_of

    facts = facts_of(file)
    if facts.guesses and not plan.believes_tags:
        return replace(facts, pixel_size_um=PixelSize(), guesses=())
    return facts


def _heights(plan: FolderPlan, group: Group) -> dict[str, tuple[float, ...]]:
    """Return the height of each plane of each channel for which all are known."""
    found = {}
    for channel in group.channels:
        heights = [plan.z_um.get((group.scene, channel.name, z)) for z in group.depths]
        if None not in heights:
            found[channel.name] = tuple(h for h in heights if h is not None)
    return found


def _with_offset(channel: Channel, heights: dict[str, tuple[float, ...]]) -> Channel:
    mine, first = heights.get(channel.name), next(iter(heights.values()), None)
    if mine is None or first is None:
        return channel
    offset = float(np.mean(np.subtract(mine, first)))
    return replace(channel, z_offset_um=round(offset, 6))


def _with_step(size: PixelSize, heights: tuple[float, ...] | None) -> PixelSize:
    """Add the distance of the planes, where their heights tell one."""
    steps = np.abs(np.diff(heights or ()))
    if size.z is None and steps.size and steps.min() > 0 and np.ptp(steps) < 0.05 * steps.mean():
        return replace(size, z=float(steps.mean()))
    return size
