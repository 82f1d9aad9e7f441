"""Single pictures, and folders in which every plane is a file of its own.

Layouts say where each file belongs; here the files are put together and what
is missing, doubled or of another size is named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import AXES, PixelSize
from napari_virtualstain.errors import AxesError, ImageFileError
from napari_virtualstain.io.fingerprint import fingerprint
from napari_virtualstain.io.image import Channel, LazyImage, Source
from napari_virtualstain.io.layouts import LAYOUTS
from napari_virtualstain.io.layouts.base import FolderPlan, Plane, natural
from napari_virtualstain.io.layouts.harmony import read_index
from napari_virtualstain.io.open import PHENIX_INDEX, PICTURE_SUFFIXES, TIFF_SUFFIXES
from napari_virtualstain.io.pixels import arrange, lazy, name_channels
from napari_virtualstain.io.plane_file import PlaneGrid, plane_header
from napari_virtualstain.io.plane_grid import Group, groups_of
from napari_virtualstain.io.scene import Scene, listed, unique_channels

__all__ = ["folder_scenes", "harmony_scenes", "picture_scenes"]


def picture_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the one image of a PNG, JPEG or BMP; its header is read at once."""
    shape, _ = plane_header(path)
    return [Scene(name="", kind="picture", load=partial(_load_picture, path, shape, axes))]


def _load_picture(path: Path, shape: tuple[int, ...], axes: str | None) -> LazyImage:
    shape, dtype = plane_header(path)
    grid = PlaneGrid(np.array(path, dtype=object), shape, dtype)
    letters = "yxs"[: len(shape)]
    data, true_axes, samples = arrange(
        lazy(grid, shape, where=str(path)), letters, where=path.name, stated=axes
    )
    guesses: list[str] = []
    data, channels = name_channels(data, samples, (), path.stem, guesses)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        guesses.append("JPEG is lossy: intensities are not those of the camera.")
    return LazyImage(
        data=data,
        channels=channels,
        axes=true_axes,
        source=Source(
            path=str(path),
            kind="picture",
            identify=partial(fingerprint, [path], root=path.parent),
        ),
        guesses=tuple(guesses),
    )


def harmony_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the fields of an Opera Phenix or Operetta measurement, as ``"A01/f01"``.

    Fields of which no file is here are left out: people copy a few wells of a
    plate together with its whole index.
    """
    places = [path] if path.is_file() else []
    places += [path / sub / name for sub in ("", "images", "Images") for name in PHENIX_INDEX]
    index = next(place for place in places if place.is_file())
    plan = read_index(index)
    present = {entry.name for entry in index.parent.iterdir()}
    here = {plane.scene for plane in plan.planes if plane.path.name in present}
    if not here:
        raise ImageFileError(
            f"{str(index)!r} lists {len(plan.planes)} files, of which none is in the folder. "
            f"Put the images beside it, for example {plan.planes[0].path.name!r}."
        )
    # Planes that the index lists and that are not there stay: they are missed by name.
    planes = tuple(plane for plane in plan.planes if plane.scene in here)
    return _scenes(path, plan, planes, "harmony", keep_name=True)


def folder_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a folder of planes.

    Raises
    ------
    ImageFileError
        If the folder holds no images, or their names follow no known layout.
    """
    suffixes = PICTURE_SUFFIXES + TIFF_SUFFIXES
    entries = sorted(path.iterdir(), key=lambda entry: natural(entry.name))
    files = [
        e for e in entries if e.is_file() and e.suffix.lower() in suffixes and e.name[0] != "."
    ]
    if not files:
        folders = [entry.name for entry in entries if entry.is_dir()]
        inside = f" It has the folders {listed(folders, 5)}: open one of them." if folders else ""
        raise ImageFileError(
            f"{str(path)!r} holds no image files ({', '.join(suffixes)}).{inside}"
            + ("" if folders else " Choose a folder with images, or a file.")
        )
    for name, layout in LAYOUTS.items():
        mine = layout.claims(files)
        if mine:
            plan = layout.plan(mine)
            skipped = [file.name for file in files if file not in set(mine)]
            if skipped:
                plan = _with_guess(
                    plan, f"Files whose names fit no place were left out: {listed(skipped, 5)}."
                )
            return _scenes(path, plan, plan.planes, name, keep_name=False)
    examples = listed([repr(file.name) for file in files], 3)
    raise ImageFileError(
        f"{str(path)!r} holds {len(files)} image files whose names do not tell channel, z or time "
        f"({examples}). Open one of the files, or number them like 'name_z00_c1.tif' "
        "('t', 'z' and 'c' with a number, between underscores)."
    )


def _with_guess(plan: FolderPlan, guess: str) -> FolderPlan:
    return replace(plan, guesses=(*plan.guesses, guess))


def _scenes(
    path: Path, plan: FolderPlan, planes: Sequence[Plane], kind: str, *, keep_name: bool
) -> list[Scene]:
    """Return one scene for each field, and for each depth that its channels have."""
    groups = groups_of(planes, plan.channels)
    if len(groups) == 1 and not keep_name:
        groups = [replace(groups[0], name="")]
    elif not all(group.name for group in groups):
        groups = [replace(group, name=group.name or "image") for group in groups]
    return [
        Scene(name=group.name, kind=kind, load=partial(_load, path, plan, group, kind))
        for group in groups
    ]


def _load(path: Path, plan: FolderPlan, group: Group, kind: str) -> LazyImage:
    """Check the files of one scene by their headers and put them together."""
    files = group.files()
    shape, dtype = _common_header(files.ravel().tolist())
    guesses = list(plan.guesses)
    grid = PlaneGrid(files, shape, dtype)
    letters = "tczyxs"[: 3 + len(shape)]
    chunks = (1, 1, 1, *shape)
    data, _, samples = arrange(
        lazy(grid, chunks, where=str(path), part=_part(files, path)), letters, where=path.name
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
    return LazyImage(
        data=data,
        channels=unique_channels(channels),
        pixel_size_um=_with_step(plan.pixel_size_um, reference),
        axes=true_axes,
        z_positions_um=reference,
        source=Source(
            path=str(path),
            kind=kind,
            scene=group.name,
            identify=partial(fingerprint, files.ravel().tolist(), root=path),
        ),
        guesses=tuple(guesses),
    )


def _part(files: NDArray[np.object_], path: Path) -> str:
    """Tell one set of planes of a folder from another."""
    return "|".join(os.path.relpath(file, path) for file in files.ravel().tolist())


def _common_header(files: Sequence[Path]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Return shape and type that all planes share.

    Raises
    ------
    ImageFileError
        If one of them differs.
    """
    headers = {file: plane_header(file) for file in files}
    usual, _ = Counter(headers.values()).most_common(1)[0]
    for file, (shape, dtype) in headers.items():
        if (shape, dtype) != usual:
            raise ImageFileError(
                f"{str(file)!r} is {_size(shape)} {dtype}, but the other planes are "
                f"{_size(usual[0])} {usual[1]}. Take it out of the folder or save it again."
            )
    if len(usual[0]) > 3:
        raise AxesError(f"{str(files[0])!r} is not a plane. Open it as a file, with --axes.")
    return usual


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


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
