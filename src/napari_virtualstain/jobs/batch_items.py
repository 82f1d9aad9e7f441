"""Which images a batch stains, and where each result goes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.folder import contents, name_below
from napari_virtualstain.io.open import find_opener, list_scenes
from napari_virtualstain.io.plate import Place, Plate, parse_well, plates_of
from napari_virtualstain.io.plate_write import field_name, field_path
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.jobs.batch_item import Item, Key

__all__ = [
    "Chosen",
    "Found",
    "chosen_images",
    "find_images",
    "key_of",
    "placed",
    "plates_in",
    "safe_name",
    "scene_pattern",
    "stem_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The images below a path.

    Parameters
    ----------
    images
        (path, its scenes) each; no scenes where it cannot be opened.
    others, empty, deeper
        Of a folder of images: names of what is no image, of files without a byte, and of folders
        that were not looked into.
    folder
        In which the images lie, `None` if the path is one image or plate.
    """

    images: tuple[tuple[Path, tuple[Scene, ...]], ...]
    others: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    deeper: tuple[str, ...] = ()
    folder: Path | None = None

    def outside(self, out: Path) -> Found:
        """Return the same without what lies in the output of the batch itself."""
        own = out.absolute()

        def lies_in(path: Path) -> bool:
            return not is_remote(path) and own in (path.absolute(), *path.absolute().parents)

        return replace(self, images=tuple(one for one in self.images if not lies_in(one[0])))


def find_images(path: Path, *, axes: str | None = None, pattern: str | None = None) -> Found:
    """Return the images of a file, of a plate, or of all files and folders in a folder.

    Parameters
    ----------
    path
        That exists or not.
    axes
        For files that do not say.
    pattern
        How the files of a folder are named.

    Raises
    ------
    VirtualStainError
        If there is nothing to open.
    """
    folder = pattern is None and path.is_dir() and find_opener(path).name == "folder"
    try:
        # Also of a folder of images: raises the sentence if none of them can be opened.
        found = Found(images=((path, list_scenes(path, axes=axes, pattern=pattern)),))
    except VirtualStainError:
        if folder or pattern is not None or not path.is_dir():
            raise
    else:
        if not folder:
            return found
    inside = contents(path, axes)
    if not any(scenes for _, scenes in inside.images):
        return Found(images=((path, list_scenes(path, axes=axes)),))  # raises the sentence anew
    return Found(
        images=inside.images,
        others=inside.others,
        empty=inside.empty,
        deeper=inside.deeper,
        folder=path,
    )


Chosen = tuple[Path, Scene | None]
"""An image: its path, and its scene where it could be opened."""


def chosen_images(
    found: Found, *, scenes: str | None, channel: str | None, plate: bool
) -> tuple[tuple[Chosen, ...], int]:
    """Return what is to be stained, and how many images have no transmitted light.

    Parameters
    ----------
    found
        What is there.
    scenes
        Pattern of the names of scenes; all if `None`.
    channel
        That the user named: then every image counts.
    plate
        Whether the results are the fields of one plate.

    Raises
    ------
    SettingsError
        If no image is left.
    """
    chosen: list[Chosen] = []
    without = 0
    for path, members in found.images:
        if not members and not plate and scenes is None:
            # What it cannot be opened for is said when its turn comes.
            chosen.append((path, None))
        for scene in members:
            if scenes is not None and not _is_meant(found, path, scene, scenes):
                continue
            if channel is None and scene.announced and not _lit(scene):
                without += 1
                continue
            chosen.append((path, scene))
    if not chosen:
        why = f"{without} hold fluorescence only" if without else f"none is named like {scenes!r}"
        raise SettingsError(
            f"There is nothing to stain: of the images, {why}. Choose others with --scene, or name "
            "the bright field with --channel."
        )
    return tuple(chosen), without


def _is_meant(found: Found, path: Path, scene: Scene, pattern: str) -> bool:
    """Return whether a pattern fits the name of a scene, or that which its folder gives it."""
    if _matches(scene.name, pattern):
        return True
    return found.folder is not None and _matches(
        name_below(found.folder, path, scene.name), pattern
    )


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(name, part.strip()) for part in re.split(_COMMA, pattern))


_COMMA = re.compile(r",(?!\])")
"""Between patterns; one in a name is written ``[,]``."""


def scene_pattern(names: Iterable[str]) -> str:
    """Return what ``--scene`` has to say for these scenes and no others.

    Examples
    --------
    >>> scene_pattern(["B03/f01", "a,b*"])
    'B03/f01,a[,]b[*]'
    """
    return ",".join(re.sub(r"([\[*?,])", r"[\1]", name) for name in names)


def _lit(scene: Scene) -> bool:
    return any(c.modality != "fluorescence" for c in scene.announced or ())


def placed(
    chosen: Sequence[Chosen], known: Collection[Item], *, plate: bool, own: dict[str, Any]
) -> list[Item]:
    """Return images that wait, each with a place for its result that no other has.

    Parameters
    ----------
    chosen
        The images; those that are known keep their places.
    known
        What is in the list already.
    plate
        Whether the results are the fields of one plate.
    own
        `ITEM_SETTINGS` and ``times`` of the new ones.

    Raises
    ------
    SettingsError
        If an image of a plate lies in no well.
    """
    there = {item.key: item for item in known}
    taken = {item.out.casefold() for item in known}
    several = len({path for path, _ in chosen} | {Path(item.input) for item in known}) > 1
    items = []
    for path, scene in chosen:
        inner = "" if scene is None else scene.name
        old = there.get(key_of(path, scene))
        if old is not None:
            items.append(replace(old, **own))
            continue
        field = _field(path, scene, taken) if plate and scene is not None else None
        out = _store(path, inner, several, taken) if field is None else field_path(*field)
        taken.add(out.casefold())
        place = (scene and scene.place) or Place()
        items.append(
            Item(
                input=str(path), scene=inner, out=out, field=field, plate=place.plate,
                well=place.well, site=place.site, **own,
            )
        )  # fmt: skip
    return items


def _store(path: Path, scene: str, several: bool, taken: Collection[str]) -> str:
    """Return the name of a store, after file and scene."""
    parts = [stem_of(path)] if several or not scene else []
    name = safe_name("_".join([*parts, *([scene] if scene else [])]))
    number, unique = 2, name
    while f"{unique}.ome.zarr".casefold() in taken:
        unique, number = f"{name}_{number}", number + 1
    return f"{unique}.ome.zarr"


def _field(path: Path, scene: Scene, taken: Collection[str]) -> tuple[int, int, str]:
    """Return the field of the plate in which the stain of an image lies: that of its own site."""
    at = parse_well(scene.well)
    if at is None:
        raise SettingsError(
            f"{str(path)!r}, {scene.name or 'its only image'}, lies in no well, so it has no "
            "place in a plate. Give a folder with --out, which does not end in .zarr."
        )
    well = field_path(*at, "").casefold()
    return (
        *at,
        field_name(scene.site, {out[len(well) :] for out in taken if out.startswith(well)}),
    )


def key_of(path: Path, scene: Scene | None) -> Key:
    """Return the key that an image has on a list."""
    return (str(path), "" if scene is None else scene.name)


def plates_in(chosen: Iterable[Chosen]) -> tuple[Plate, ...]:
    """Return the plates on which images lie."""
    return plates_of(scene for _, scene in chosen if scene is not None)


def stem_of(path: Path) -> str:
    """Return the name of a file or folder without its ending."""
    name = path.name
    for ending in (".ome.zarr", ".ome.tiff", ".ome.tif"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem if path.is_file() else name


def safe_name(name: str) -> str:
    """Return a name that every system takes for a file."""
    return re.sub(r"[^\w.+\-]+", "_", name).strip("._") or "image"
