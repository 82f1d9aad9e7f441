"""Which images are there to look at? Those of a plate, file or folder, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import PixelSizeError, SettingsError, VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.plate import Place, parse_well, place_of_name, well_of
from napari_virtualstain.io.record import read_record, record_of_scene
from napari_virtualstain.io.scene import Scene, is_like
from napari_virtualstain.jobs.batch_items import find_images

__all__ = ["ListedImage", "listed_images", "pixel_of", "place_of_run", "record_of"]


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image that is looked at, and what is known of it.

    Parameters
    ----------
    path, scene
        Of its file.
    key
        Its path below the input, and the name of its scene.
    """

    path: Path
    scene: Scene
    key: tuple[str, str]

    @property
    def place(self) -> Place:
        """Where it lies; nowhere, if nothing says so."""
        return self.scene.place or Place()

    @property
    def name(self) -> str:
        """For people."""
        return "/".join(part for part in self.key if part)


def record_of(image: LazyImage) -> dict[str, Any]:
    """Return the record of the stain that wrote an image, an empty one if there is none.

    Parameters
    ----------
    image
        Opened, also if it is one of several of a store.
    """
    if image.source.path is None:
        return {}
    record = record_of_scene(image.source.path, image.source.scene)
    return record if record.get("job") == "stain" else {}


def pixel_of(
    image: LazyImage, record: dict[str, Any], stated: float | None, notes: list[str]
) -> float:
    """Return the edge of a pixel in µm: as stated, as the file says, or as its stain took it.

    Parameters
    ----------
    image
        A prediction, or any other.
    record
        Of the stain that wrote it, empty if there is none.
    stated
        By the user; `None` if nothing was.
    notes
        Where it is said that the model's was taken.

    Raises
    ------
    PixelSizeError
        If nothing says how large a pixel is.
    """
    known = stated or image.pixel_size_um.y
    if known is not None:
        return known
    sizes = (record.get("plan") or {}).get("pixel_sizes_yx_um") or {}
    taken = (sizes.get("network") or [None])[0]
    if not taken:
        raise PixelSizeError(
            "Nothing says how large a pixel is, and without it a nucleus cannot be told from dirt. "
            "Give it in µm with --pixel-size."
        )
    notes.append(
        f"the image does not state its pixel size; taken as the model's {taken:g} µm, as the "
        "stain did, state another with --pixel-size"
    )
    return float(taken)


def listed_images(
    source: str,
    *,
    scene: str | None,
    axes: str | None,
    pattern: str | None,
    out: str,
) -> list[ListedImage]:
    """Return the images below a path that are named like what is asked for.

    Parameters
    ----------
    source
        Plate, file with images, or folder of either.
    scene
        How names are, ``*`` and ``?`` for any letters; several by commas; `None` for all.
    axes, pattern
        Of files that do not say.
    out
        Folder that is written, whose images are none of them.

    Raises
    ------
    SettingsError
        If there is none of such a name.
    """
    root = Path(source)
    found = find_images(root, axes=axes, pattern=pattern)
    images = []
    for path, scenes in found.outside(Path(out)).images:
        inner = path.name if path == root else path.relative_to(root).as_posix()
        for inside in scenes:
            where = inside.place or place_of_run(path)
            own = inside if where is inside.place else replace(inside, place=where)
            one = ListedImage(path, own, (inner, inside.name))
            if scene is None or any(
                is_like(name, scene) for name in (inside.name or path.name, one.name)
            ):
                images.append(one)
    if not images:
        raise SettingsError(
            f"No image in {source!r} is named like {scene!r}. See the names with "
            "`virtualstain info`, and choose others with --scene."
        )
    return images


def place_of_run(path: Path) -> Place | None:
    """Return where the image lies that a stain was predicted from; `None` if nothing says so.

    A batch of several plates writes each field into a store of its own, which belongs to no plate;
    its record knows the image that it came from.

    Parameters
    ----------
    path
        Of the store.
    """
    try:
        source = read_record(path)["record"]["input"]
        scene, name = str(source["scene"] or ""), Path(source["path"]).name
    except (VirtualStainError, OSError, KeyError, TypeError):
        return None
    plate, parts = name.partition(".")[0], scene.split("/")
    if len(parts) == 3 and parts[1].isdecimal():  # row, column and field of an OME-Zarr
        return Place(plate=plate, well=well_of(*parts[:2]), site=parts[2])
    if len(parts) == 3 and parse_well(parts[1]) is not None:
        return Place(plate=parts[0], well=parts[1], site=parts[2])
    found = place_of_name(scene)
    return None if found is None else replace(found, plate=plate)
