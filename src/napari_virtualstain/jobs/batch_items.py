"""Which images a batch stains, and where each result goes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.open import find_opener, list_scenes
from napari_virtualstain.io.plate import parse_well, plates_of
from napari_virtualstain.io.plate_write import field_path
from napari_virtualstain.io.scene import Scene

__all__ = ["Found", "Item", "ItemState", "find_images", "items_of"]

ItemState = Literal["waiting", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image of a batch.

    Parameters
    ----------
    input
        Its file or folder.
    scene
        Which image in there, ``""`` if it holds one.
    out
        Where its stain goes, relative to the output of the batch.
    field
        Of a plate: row, column and field, from 0.
    state
        ``"waiting"``, also if it was begun; ``"done"``; or ``"failed"``.
    sentence
        Why it failed, or what is waited for.
    seconds
        That it took.
    """

    input: str
    scene: str
    out: str
    field: tuple[int, int, int] | None = None
    state: ItemState = "waiting"
    sentence: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """By which it is found again."""
        return (self.input, self.scene)

    @property
    def name(self) -> str:
        """For people."""
        stem = Path(self.input).name
        return f"{stem} {self.scene}" if self.scene else stem

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        return values | {"field": None if self.field is None else list(self.field)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Item:
        """Return the item of `to_json`; raises `TypeError` for other values."""
        field = values.get("field")
        return cls(**{**values, "field": None if field is None else tuple(field)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The images below a path.

    Parameters
    ----------
    images
        (path, its scenes) each; no scenes where it cannot be opened.
    others
        Names of what is no image.
    """

    images: tuple[tuple[Path, tuple[Scene, ...]], ...]
    others: tuple[str, ...] = ()


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
    try:
        return Found(images=((path, list_scenes(path, axes=axes, pattern=pattern)),))
    except VirtualStainError:
        if pattern is not None:
            raise
        images: list[tuple[Path, tuple[Scene, ...]]] = []
        others = []
        for entry in _visible(path):
            try:
                find_opener(entry)
            except VirtualStainError:
                others.append(entry.name)
                continue
            try:
                images.append((entry, list_scenes(entry, axes=axes)))
            except VirtualStainError:
                images.append((entry, ()))
        if not any(scenes for _, scenes in images):
            raise
        return Found(images=tuple(images), others=tuple(others))


def _visible(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def items_of(
    found: Found, *, scenes: str | None, channel: str | None, plate: bool
) -> tuple[tuple[Item, ...], int]:
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
        If no image is left, or one of a plate lies in no well.
    """
    chosen: list[tuple[Path, Scene | None]] = []
    without = 0
    for path, members in found.images:
        if not members and not plate and scenes is None:
            # What it cannot be opened for is said when its turn comes.
            chosen.append((path, None))
        for scene in members:
            if scenes is not None and not _matches(scene.name, scenes):
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
    if plate:
        return tuple(_fields(chosen)), without
    return tuple(_stores(chosen)), without


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(name, part.strip()) for part in pattern.split(","))


def _lit(scene: Scene) -> bool:
    return any(c.modality != "fluorescence" for c in scene.announced or ())


def _stores(chosen: Sequence[tuple[Path, Scene | None]]) -> Iterable[Item]:
    """Yield items with a store each, named after file and scene."""
    taken: set[str] = set()
    several = len({path for path, _ in chosen}) > 1
    for path, scene in chosen:
        inner = "" if scene is None else scene.name
        parts = [_stem(path)] if several or not inner else []
        name = _safe("_".join([*parts, *([inner] if inner else [])]))
        number, unique = 2, name
        while unique.casefold() in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.casefold())
        yield Item(input=str(path), scene=inner, out=f"{unique}.ome.zarr")


def _fields(chosen: Sequence[tuple[Path, Scene | None]]) -> Iterable[Item]:
    """Yield items that are the fields of one plate."""
    plates = plates_of(scene for _, scene in chosen if scene is not None)
    if len(plates) > 1:
        raise SettingsError(
            f"The images lie on {len(plates)} plates. Stain one after the other, or give a folder "
            "with --out, which does not end in .zarr."
        )
    order: dict[tuple[int, int], int] = {}
    for path, scene in chosen:
        if scene is None:
            continue
        at = parse_well(scene.well)
        if at is None:
            raise SettingsError(
                f"{str(path)!r}, {scene.name or 'its only image'}, lies in no well, so it has no "
                "place in a plate. Give a folder with --out, which does not end in .zarr."
            )
        number = order.get(at, 0)
        order[at] = number + 1
        yield Item(
            input=str(path), scene=scene.name, out=field_path(*at, number), field=(*at, number)
        )


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".ome.zarr", ".ome.tiff", ".ome.tif"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem if path.is_file() else name


def _safe(name: str) -> str:
    """Return a name that every system takes for a file."""
    return re.sub(r"[^\w.+\-]+", "_", name).strip("._") or "image"


def renewed(old: Item, new: Item) -> Item:
    """Return what is known of an item at its present place."""
    return replace(new, state=old.state, sentence=old.sentence, seconds=old.seconds)
