"""How sharp are the planes of a stack? Read one by one, of large ones the middle; remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError, parse_json
from napari_virtualstain.io.cache import cache_folder, keep_file
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.preprocessing.focus import MEASURES, FocusProfile, focus_profile

__all__ = ["LARGEST", "stack_profile"]

_VERSION = 1
LARGEST = 2048
"""Edge in pixels of the middle of a plane that is measured; measures of focus need no more."""


def stack_profile(
    image: LazyImage,
    *,
    t: int = 0,
    measures: Iterable[str] = tuple(MEASURES),
    on_plane: Callable[[int, int], None] | None = None,
) -> FocusProfile:
    """Measure the z planes of an image with one channel.

    Parameters
    ----------
    image
        (T, 1, Z, Y, X).
    t
        Time point.
    measures
        Names of `preprocessing.focus.MEASURES`.
    on_plane
        Called with planes done and planes in all; not at all if the profile is remembered.

    Raises
    ------
    PixelDataError
        If a plane is missing, has no finite pixel, or is smaller than 32 px.
    """
    lost = [z for when, _, z in image.missing if when == t]
    if lost:
        raise PixelDataError(
            f"Focus cannot be searched: z plane {lost[0]} of channel {image.channel_names[0]!r} is "
            "missing. Put its file back, or choose planes with --z."
        )
    chosen = tuple(measures)
    file = _file(image, t, chosen)
    known = _remembered(file, chosen, image.shape[2])
    if known is not None:
        return known
    middle = [_middle(n) for n in image.shape[3:]]
    depth = image.shape[2]

    def planes() -> Iterator[NDArray[Any]]:
        for z in range(depth):
            if on_plane is not None:
                on_plane(z, depth)
            yield image.read((slice(t, t + 1), slice(0, 1), slice(z, z + 1), *middle))[0, 0, 0]
        if on_plane is not None:
            on_plane(depth, depth)

    profile = focus_profile(planes(), chosen)
    if file is not None:
        keep_file(file, json.dumps(profile.values).encode())
    return profile


def _file(image: LazyImage, t: int, measures: tuple[str, ...]) -> Path | None:
    """Return where the profile of an image is kept, `None` for an array in memory."""
    identity = image.source.identity()
    if identity is None:
        return None
    # The dask name tells a channel from the others.
    parts = [_VERSION, identity, image.data.name, image.shape, t, measures, LARGEST]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return cache_folder() / "focus" / f"{key}.json"


def _remembered(file: Path | None, measures: tuple[str, ...], depth: int) -> FocusProfile | None:
    if file is None:
        return None
    try:
        values = parse_json(file.read_bytes())
        lines = {name: tuple(float(value) for value in values[name]) for name in measures}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    complete = all(len(line) == depth for line in lines.values())
    return FocusProfile(lines) if complete else None


def _middle(length: int) -> slice:
    start = max(0, (length - LARGEST) // 2)
    return slice(start, min(length, start + LARGEST))
