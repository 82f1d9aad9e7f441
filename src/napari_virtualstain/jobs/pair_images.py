"""Which images there are to be paired, and how the two halves of a pair are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import dask.array as da
import numpy as np

from napari_virtualstain.datasets.pairing import Unmatched
from napari_virtualstain.datasets.pairing_half import Half
from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    MissingInputError,
    PixelDataError,
    VirtualStainError,
)
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.modality import name_tokens
from napari_virtualstain.io.open import find_opener, list_scenes, open_image
from napari_virtualstain.io.plate import Place, place_of_name
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.io.scene import Scene, choose_scene

__all__ = ["Images", "Opening", "StainPlace", "join_stains", "light_channel", "list_halves"]

_DEEPEST = 4
"""Folders below the one that was named in which images are looked for."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is said of files that do not say it themselves."""

    axes: str | None = None
    pattern: str | None = None


class Images:
    """Opens images by path and scene; what a path holds is listed once, however many are opened."""

    def __init__(self) -> None:
        self._listed: dict[tuple[str, Opening], tuple[Scene, ...]] = {}

    def scenes(self, path: str, how: Opening) -> tuple[Scene, ...]:
        """Return the images inside a path."""
        if (path, how) not in self._listed:
            self._listed[path, how] = list_scenes(path, axes=how.axes, pattern=how.pattern)
        return self._listed[path, how]

    def open(self, path: str, scene: str, how: Opening) -> LazyImage:
        """Return one of them."""
        found = self.scenes(path, how)
        return open_image(choose_scene(found, where=path, scene=scene or None))


@dataclass(frozen=True, slots=True)
class StainPlace:
    """Where one stain of a field is, and in which plane."""

    path: str
    scene: str
    channel: str
    z: int | None = None


def list_halves(
    root: str, how: Opening, images: Images
) -> tuple[tuple[Half, ...], tuple[Unmatched, ...]]:
    """Return the images of a file, a plate or a folder with all its folders, and what is none.

    Raises
    ------
    VirtualStainError
        If there is no image at all.
    """
    halves: list[Half] = []
    lost: list[Unmatched] = []
    if is_remote(root):
        # Nothing can be searched from afar: the URL is that of one image or plate.
        found = [_half(root, "", scene) for scene in images.scenes(root, how)]
        halves += [half for half in found if isinstance(half, Half)]
        lost += [half for half in found if isinstance(half, Unmatched)]
    else:
        whole = Path(root).expanduser()
        _collect(whole, whole, how, images, halves, lost, 0)
    if not halves:
        reason = f" ({lost[0].path}: {lost[0].reason})" if lost else ""
        raise ImageFileError(f"{root!r} holds no image that can be opened{reason}. Check the path.")
    return tuple(halves), tuple(lost)


def _collect(
    path: Path,
    root: Path,
    how: Opening,
    images: Images,
    halves: list[Half],
    lost: list[Unmatched],
    depth: int,
) -> None:
    """Add the images of a path; a folder that is no image is searched."""
    if how.pattern is None and path.is_dir() and find_opener(path).name == "folder":
        for entry in _visible(path) if depth < _DEEPEST else ():
            _collect(entry, root, how, images, halves, lost, depth + 1)
        return
    try:
        scenes = images.scenes(str(path), how)
        found = [_half(str(path), _below(path, root), scene) for scene in scenes]
    except MissingInputError:
        raise
    except VirtualStainError as error:
        if how.pattern is not None and not depth:
            raise
        inner = _visible(path) if depth < _DEEPEST else []
        if not inner:
            if depth == 0:
                raise
            if path.is_file() and _is_image(path):
                lost.append(Unmatched(str(path), "", str(error)))
            return
        for entry in inner:
            _collect(entry, root, how, images, halves, lost, depth + 1)
        return
    halves += [half for half in found if isinstance(half, Half)]
    lost += [half for half in found if isinstance(half, Unmatched)]


def _visible(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def _is_image(path: Path) -> bool:
    try:
        find_opener(path)
    except ImageFileError:
        return False
    return True


def _half(path: str, below: str, scene: Scene) -> Half | Unmatched:
    """Return what is known of an image, or why it cannot be opened."""
    try:
        channels = scene.channels if scene.announced is None else scene.announced
    except VirtualStainError as error:
        return Unmatched(path, scene.name, str(error))
    return Half(
        path=path,
        scene=scene.name,
        channels=tuple(channels),
        words=(*name_tokens(below), *name_tokens(scene.name)),
        place=_place(scene, below),
    )


def _below(path: Path, root: Path) -> str:
    """Return the name of an image below the folder that is searched, without its ending."""
    below = os.path.relpath(path, root)
    if below == ".":
        return ""
    endings = (".ome.zarr", ".ome.tiff", ".ome.tif", path.suffix.lower())
    known = next((end for end in endings if end and below.lower().endswith(end)), "")
    return below[: len(below) - len(known)]


def _place(scene: Scene, below: str) -> Place | None:
    """Return where an image lies; a plate without a name is called after its folder."""
    place = scene.place or place_of_name(scene.name)
    if place is None or place.plate or not below:
        return place
    return replace(place, plate=below.replace(os.sep, "/"))


def light_channel(half: Half, *, told: str | None = None, alone: bool = False) -> str | None:
    """Return the bright-field channel of an image, `None` if it has none.

    Parameters
    ----------
    half
        The image.
    told
        Name that the user gave.
    alone
        Whether an only channel is taken even if nothing says how it was lit.

    Raises
    ------
    ChannelError
        If several could be meant.
    """
    names = [channel.name for channel in half.channels]
    if told is not None:
        return next((name for name in names if name.casefold() == told.casefold()), None)
    lit = [channel.name for channel in half.channels if channel.modality == "transmitted"]
    if len(lit) > 1:
        bright = [name for name in lit if "bright" in name.casefold()]
        lit = bright if len(bright) == 1 else lit
    if len(lit) > 1:
        raise ChannelError(
            f"{len(lit)} channels could be the bright field ({', '.join(lit)}). "
            "Choose one with --channel."
        )
    unsaid = alone and len(names) == 1 and half.channels[0].modality == "unknown"
    return lit[0] if lit else names[0] if unsaid else None


def join_stains(
    places: Mapping[str, StainPlace | None], planes: LazyImage, how: Opening, images: Images
) -> LazyImage:
    """Return the stains of a field as channels of one image, NaN where the field has none.

    Parameters
    ----------
    places
        By stain: where it is, `None` if it is missing.
    planes
        The bright field, (T, 1, P, Y, X).
    how
        How targets are opened.
    images
        Opens them.

    Returns
    -------
    LazyImage
        (T, stains, 1, Y, X).

    Raises
    ------
    VirtualStainError
        If an image cannot be opened, or is not of the same field.
    """
    n_t, _, _, height, width = planes.shape
    joined: list[da.Array] = []
    missing = []
    for number, (stain, place) in enumerate(places.items()):
        if place is None:
            empty = np.full((1, 1, 1, 1, 1), np.nan, np.float32)
            joined.append(da.broadcast_to(da.from_array(empty), (n_t, 1, 1, height, width)))
            missing += [(t, number, 0) for t in range(n_t)]
            continue
        image = images.open(place.path, place.scene, how).select([place.channel])
        image = _one_plane(image, stain, place)
        if (image.shape[0], *image.shape[3:]) != (n_t, height, width):
            raise PixelDataError(
                f"The bright field has {n_t} time point(s) of {height} x {width} px, stain {stain} "
                f"has {image.shape[0]} of {image.shape[3]} x {image.shape[4]} px. Give images of "
                "one field at one size: crop or resample one of them first."
            )
        missing += [(t, number, z) for t, _, z in image.missing]
        joined.append(image.with_gaps().data)
    return replace(
        planes,
        data=da.concatenate(joined, axis=1),
        channels=tuple(Channel(stain, "fluorescence") for stain in places),
        missing=tuple(missing),
        z_positions_um=None,
    )


def _one_plane(image: LazyImage, stain: str, place: StainPlace) -> LazyImage:
    """Return the plane of a stain: the one named, else the only one that is there."""
    if place.z is not None:
        return image.select(z=[place.z])
    n_t, depth = image.shape[0], image.shape[2]
    lost = set(image.missing)
    there = [z for z in range(depth) if not all((t, 0, z) in lost for t in range(n_t))]
    if len(there) > 1 or not there:
        raise ChannelError(
            f"Stain {stain} of '{place.path}' {place.scene} has {len(there)} planes, and a field "
            "has one. Choose it with --target-z, for example --target-z 0."
        )
    return image.select(z=there)
