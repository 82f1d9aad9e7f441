"""Where images of a list come from: what the viewer shows, or a path; and which are meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.plate import Plate, Site, Well, plates_of
from napari_virtualstain.io.remote import located
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.jobs.batch_item import ITEM_SETTINGS
from napari_virtualstain.jobs.batch_items import Chosen, Found, chosen_images, find_images
from napari_virtualstain.napari_io.fields import Field, path_name
from napari_virtualstain.napari_io.source import source_of

__all__ = ["Source", "SourceKey", "images_of", "numbers", "open_sources"]

SourceKey = tuple[str, str | None, str | None]
"""Path, axes and pattern."""

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Images that may be put on the list.

    Parameters
    ----------
    path
        File or folder.
    axes, pattern, channel, pixel_size, z_step
        What is stated of its images.
    found
        The images below it, `None` until somebody has looked.
    """

    path: str
    axes: str | None = None
    pattern: str | None = None
    channel: str | None = None
    pixel_size: float | None = None
    z_step: float | None = None
    found: Found | None = None

    @property
    def name(self) -> str:
        """For people."""
        return path_name(self.path)

    @property
    def key(self) -> SourceKey:
        """By which it is found again."""
        return (self.path, self.axes, self.pattern)

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """All images, as far as they can be opened."""
        images = () if self.found is None else self.found.images
        return tuple(scene for _, scenes in images for scene in scenes)

    @property
    def plates(self) -> tuple[Plate, ...]:
        """The plates on which images lie."""
        return plates_of(self.scenes)

    def own(self) -> dict[str, Any]:
        """Return what is stated of its images."""
        return {name: getattr(self, name) for name in ITEM_SETTINGS}

    def look(self) -> Found:
        """Find the images; for a thread, since a folder may be large or far away."""
        return find_images(located(self.path), axes=self.axes, pattern=self.pattern)


def open_sources(fields: Iterable[Field]) -> tuple[Source, ...]:
    """Return the paths that a viewer shows, as the user has stated them on the page Load."""
    found: dict[SourceKey, Source] = {}
    for field in fields:
        layer = field.brightfield
        if field.path is None or field.predicted or layer is None:
            continue
        source, known = source_of(layer), field.with_role("brightfield")
        stated = source is not None and source.pixel_size_stated
        one = Source(
            path=field.path,
            axes=field.axes,
            pattern=field.pattern,
            channel=known[0][1].channel if len(known) == 1 else None,
            pixel_size=source.pixel_size_um[1] if source is not None and stated else None,
        )
        found.setdefault(one.key, one)
    return tuple(found.values())


def images_of(
    source: Source,
    *,
    plate: Plate | None,
    wells: Collection[Well],
    sites: str,
    names: str,
    channel: str | None = None,
) -> tuple[tuple[Chosen, ...], int]:
    """Return the images that are meant, and how many have no transmitted light.

    Parameters
    ----------
    source
        Somebody has looked at.
    plate
        That is shown, `None` if the images lie in no wells.
    wells
        Of the plate, that are picked.
    sites
        Names or numbers of sites by commas, with ``*`` and ``?``; all if empty.
    names
        Of scenes, likewise, where there is no plate.
    channel
        That is stated for all images that state none: then every image counts.

    Raises
    ------
    SettingsError
        If none is left.
    """
    assert source.found is not None
    found = source.found
    if plate is not None:
        meant = {
            scene for well in wells for site in well.sites if _is_meant(site, sites)
            for scene in site.scenes
        }  # fmt: skip
        if not meant:
            raise SettingsError(
                "No image is chosen. Pick wells on the plate, and sites that they have."
            )
        found = _only(found, meant)
    elif names.strip() and source.scenes:
        meant = {scene.name for scene in source.scenes if _fits(scene.name, names)}
        if not meant:
            raise SettingsError(
                f"No image is named like {names.strip()!r}. Leave the line empty for all of them."
            )
        found = _only(found, meant)
    channel = source.channel or channel
    return chosen_images(found, scenes=None, channel=channel, plate=False)


def _only(found: Found, names: Collection[str]) -> Found:
    images = tuple(
        (path, kept)
        for path, scenes in found.images
        if (kept := tuple(scene for scene in scenes if scene.name in names))
    )
    return Found(images=images)


def _is_meant(site: Site, wanted: str) -> bool:
    number = _NUMBER.findall(site.name)
    return not wanted.strip() or _fits(site.name, wanted) or (
        bool(number) and int(number[-1]) in [int(p) for p in _parts(wanted) if p.isdecimal()]
    )  # fmt: skip


def _fits(name: str, wanted: str) -> bool:
    return any(fnmatchcase(name.casefold(), part.casefold()) for part in _parts(wanted))


def _parts(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``"0, 4-6"``; none for an empty one.

    Raises
    ------
    SettingsError
        If something else stands there.

    Examples
    --------
    >>> numbers("0, 4-6"), numbers(" ")
    ((0, 4, 5, 6), ())
    """
    found: set[int] = set()
    for part in _parts(text):
        span = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", part)
        if span is None or len(part) > 20:
            raise SettingsError(
                f"{part!r} is no time point. Write numbers from 0, for example 0,4-6, or nothing "
                "for all."
            )
        first, last = int(span[1]), int(span[2] or span[1])
        if last - first > 100_000:
            raise SettingsError(f"{part!r} are too many time points. Write a shorter list.")
        found |= set(range(first, last + 1))
    return tuple(sorted(found))
