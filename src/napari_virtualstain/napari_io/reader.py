"""How a path dropped on the viewer becomes layers.

The reader and the Load widget open a path in the same way: lazily, with axes, channel names and
pixel size. Where a path holds several images and nothing says which, the viewer shows the first
and says so, since nobody can be asked before something is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import dask.array as da

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.colours import UNNAMED
from napari_virtualstain.io.folder import holds_images
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import find_opener, list_scenes, open_image
from napari_virtualstain.io.remote import is_remote, located
from napari_virtualstain.io.scene import Scene, listed
from napari_virtualstain.napari_io.layers import (
    BELOW,
    STAINED,
    LayerData,
    colormap_of,
    dimmed,
    image_layers,
)
from napari_virtualstain.napari_io.source import Role, job_of, source_of

__all__ = ["PathOrPaths", "get_reader", "open_for_viewer", "open_layers"]

_TOGETHER = 3
"""Stains that are told apart when they are shown together."""

_TRIED = 16
"""Scenes that are opened to find one that can be shown."""

PathOrPaths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Return the function that reads a path, `None` if it is for somebody else.

    Looks at names and first bytes, in a folder and those right below it. Several paths at once
    (files stacked by the user) are for napari's own reader; the folder that they lie in is ours.

    Parameters
    ----------
    path
        As napari hands it over: a path, or a list of paths to be stacked.
    """
    one = _single(path)
    if one is None:
        return None
    if is_remote(one):
        return _read
    if not one.exists():
        return None
    try:
        opener = find_opener(one)
        return None if opener.name == "folder" and not holds_images(one) else _read
    except (VirtualStainError, OSError):
        return None


def _single(path: PathOrPaths) -> Path | None:
    if isinstance(path, (str, os.PathLike)):
        return located(path)
    return located(path[0]) if len(path) == 1 else None


def _read(path: PathOrPaths) -> list[LayerData]:
    one = _single(path)
    if one is None:
        raise SettingsError(
            "Several files were given to be stacked, which only napari's own reader does. "
            "Open their folder instead, or each file alone."
        )
    return open_layers(str(one))


def open_layers(
    path: str | os.PathLike[str],
    *,
    scene: str | int | None = None,
    axes: str | None = None,
    pattern: str | None = None,
    pixel_size_um: float | PixelSize | None = None,
    roles: Mapping[str, Role] | None = None,
    opened: LazyImage | None = None,
) -> list[LayerData]:
    """Open a path as layers, one a channel; no more pixels are read than contrast limits need.

    Parameters
    ----------
    path
        A file or folder.
    scene, axes, pattern, pixel_size_um
        As in `open_image`; without a scene the first is taken where none stands out.
    roles
        What channels are, by name; see `image_layers`.
    opened
        The image, if it is open already: the next field of a plate need not look for it again.

    Raises
    ------
    VirtualStainError
        If the path cannot be opened; see `open_image`.
    """
    image = opened or open_for_viewer(
        path, scene=scene, axes=axes, pattern=pattern, pixel_size_um=pixel_size_um
    )
    job, model = job_of(image.source.path, image.source.kind, image.source.scene)
    layers = image_layers(
        image,
        # Beside the truth of the same name it must be clear which is which.
        suffix=f" ({model})" if job == "stain" and model else "",
        levels=_levels(image) if axes is None else None,
        roles=roles,
        axes=axes,
        pattern=pattern,
        pixel_size_stated=pixel_size_um is not None,
    )
    return _to_look_at(layers)


def _to_look_at(layers: Sequence[LayerData]) -> list[LayerData]:
    """Return layers that show something together.

    Several grey pictures added up are white: of bright fields and of channels that nobody knows
    one is visible, and stains that have no colour of their own get one. Of more than three stains
    the first is visible, since their colours add up to white too.
    """
    roles = [source.role if (source := source_of(k["metadata"])) else "other" for _, k, _ in layers]
    stained = [role in ("truth", "prediction") for role in roles]
    colours = cycle(UNNAMED)
    arranged: list[LayerData] = []
    for (data, keywords, kind), is_stain in zip(layers, stained, strict=True):
        shown: dict[str, object] = {}
        if is_stain:
            shown["visible"] = sum(stained) <= _TOGETHER or not any(stained[: len(arranged)])
            shown["opacity"] = STAINED if len(layers) > 1 else 1.0
            if keywords["colormap"] == "gray" and sum(stained) > 1:
                shown["colormap"] = colormap_of(next(colours))
        else:
            if any(stained):
                shown["contrast_limits"] = dimmed(keywords["contrast_limits"], BELOW)
            shown["visible"] = all(stained[: len(arranged)])
        arranged.append((data, {**keywords, **shown}, kind))
    return arranged


def open_for_viewer(
    path: str | os.PathLike[str],
    *,
    scene: str | int | None = None,
    axes: str | None = None,
    pattern: str | None = None,
    pixel_size_um: float | PixelSize | None = None,
) -> LazyImage:
    """Open a path as `open_image` does, but the first scene where that could not choose."""
    try:
        return open_image(
            path, scene=scene, axes=axes, pattern=pattern, pixel_size_um=pixel_size_um
        )
    except SettingsError:
        scenes = list_scenes(path, axes=axes, pattern=pattern) if scene is None else ()
        if len(scenes) < 2:
            raise
    names = [one.name for one in scenes]
    shown, opened = _first_of(scenes)
    image = open_image(opened, axes=axes, pixel_size_um=pixel_size_um)
    guess = (
        f"{os.fspath(path)!r} holds {len(names)} images ({listed(names)}), and the first"
        f"{'' if shown is scenes[0] else ' that can be opened'}, {shown.name!r}, is shown. "
        f"Choose another scene if you want one{_or_planes(path)}."
    )
    return replace(image, guesses=(guess, *image.guesses))


def _or_planes(path: str | os.PathLike[str]) -> str:
    """Return what else the files of a folder may be, when no layout knows their names."""
    if is_remote(path) or find_opener(Path(path)).name != "folder":
        return ""
    return "; if the files are planes of one image, say how they are named"


def _first_of(scenes: Sequence[Scene]) -> tuple[Scene, LazyImage]:
    """Open the first scene that can be opened; if none can, say why of the first."""
    why: VirtualStainError | None = None
    for scene in scenes[:_TRIED]:
        try:
            return scene, scene.open()
        except VirtualStainError as error:
            why = why or error
    assert why is not None
    raise why


def _levels(image: LazyImage) -> Sequence[da.Array] | None:
    """Return the pyramid of a store, `None` if there is none that fits the image."""
    if image.source.kind != "ome-zarr" or image.source.path is None:
        return None
    levels = open_levels(image.source.path, image.source.scene or None)
    # A colour picture loses its transparency on the way to an image; its coarser copies keep it.
    fits = all(level.shape[:2] == image.shape[:2] for level in levels)
    return [image.data, *levels[1:]] if fits and levels[0].shape == image.shape else None
