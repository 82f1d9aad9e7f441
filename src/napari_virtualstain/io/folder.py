"""Which images lie in a folder that is none itself: each file, and each folder that is one.

They may be of any kind and size. Files are looked at in the folder and in those right below it;
what lies deeper is only named, since nobody waits for the listing of a whole disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from napari_virtualstain.errors import ImageFileError, VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.layouts.base import natural
from napari_virtualstain.io.open import Opener, find_opener
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.scene import Scene, choose_scene, listed

__all__ = [
    "Contents", "contents", "holds_images", "name_below", "none_in", "review_folder", "scenes",
]  # fmt: skip

_REVIEWS = ".review"
"""Of folders with what somebody decided about a prediction: what is marked there is no image."""

_DEEPEST = 1
"""Folders between the one that is opened and a file that is looked at."""
_LOOKED_AT = 256
"""TIFFs of a folder up to which each is asked, as it is listed, how many images it holds."""
_TOLD = 3
"""Files that cannot be opened whose sentences are told; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What lies in a folder of images.

    Parameters
    ----------
    images
        (path, its scenes) each; no scenes where it cannot be opened.
    unread
        Why, by path.
    others
        Names of what is no image.
    empty
        Names of files without a byte.
    deeper
        Names of folders that were not looked into.
    folders
        Names of those that were.
    """

    images: tuple[tuple[Path, tuple[Scene, ...]], ...] = ()
    unread: dict[Path, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    deeper: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def name_below(folder: Path, path: Path, scene: str = "") -> str:
    """Return the name of an image in a folder: that of its file, and of the scene in there.

    Examples
    --------
    >>> name_below(Path("a"), Path("a/b/c.lif"), "tile 1")
    'b/c.lif/tile 1'
    """
    below = path.relative_to(folder).as_posix()
    return f"{below}/{scene}" if scene else below


def contents(folder: Path, axes: str | None = None, *, lazily: bool = False) -> Contents:
    """Return the images in a folder, files of one image together.

    Parameters
    ----------
    folder
        That is no image itself.
    axes
        For files that do not say.
    lazily
        Whether of many TIFFs none is opened: each is then taken for one image.
    """
    found = _Search(folder)
    found.look_into(folder, 0)
    # A table beside images names these, more likely than others.
    entries = [one for one in found.entries if one[1].name != "table"] or found.entries
    tables = [entry for entry, opener in found.entries if (entry, opener) not in entries]
    many = sum(opener.name == "tiff" for _, opener in entries) > _LOOKED_AT
    images: list[tuple[Path, tuple[Scene, ...]]] = []
    unread: dict[Path, str] = {}
    taken: set[Path] = set()
    for entry, opener in entries:
        try:
            if lazily and many and opener.name == "tiff":
                load = partial(_only_image, entry, opener, axes)
                inside: Sequence[Scene] = [Scene(name="", kind=opener.name, load=load)]
            else:
                inside = opener.scenes(entry, axes)
        except VirtualStainError as error:
            unread[entry] = str(error)
            inside = ()
        files = {entry, *(file for scene in inside for file in scene.files)}
        if taken.isdisjoint(files):
            images.append((entry, tuple(inside)))
        taken |= files
    return Contents(
        images=tuple(images),
        unread={path: why for path, why in unread.items() if (path, ()) in images},
        others=tuple(found.others) + tuple(name_below(folder, table) for table in tables),
        empty=tuple(found.empty),
        deeper=tuple(found.deeper),
        folders=tuple(found.folders),
    )


def holds_images(folder: Path) -> bool:
    """Return whether a folder holds files or folders that look like images; opens none."""
    found = _Search(folder)
    found.look_into(folder, 0)
    return any(opener.name != "table" for _, opener in found.entries)


def review_folder(prediction: str | Path) -> Path:
    """Return where decisions about a prediction lie: beside it.

    Parameters
    ----------
    prediction
        An image, a plate, or a folder of either.

    Examples
    --------
    >>> review_folder("/data/plate.ome.zarr").as_posix()
    '/data/plate.review'
    """
    path = Path(prediction)
    stem = path.name.removesuffix(".zarr").removesuffix(".ome")
    return path.with_name(f"{stem}{_REVIEWS}")


class _Search:
    """Looks at names and first bytes of what lies in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.entries: list[tuple[Path, Opener]] = []
        self.others: list[str] = []
        self.empty: list[str] = []
        self.deeper: list[str] = []
        self.folders: list[str] = []

    def look_into(self, folder: Path, depth: int) -> None:
        """Sort what lies in a folder into images and others."""
        visible = (
            entry for entry in folder.iterdir()
            if not entry.name.startswith(".") and not entry.name.endswith(_REVIEWS)
        )  # fmt: skip
        for entry in sorted(visible, key=lambda entry: natural(entry.name)):
            name = name_below(self._root, entry)
            try:
                if entry.is_file() and entry.stat().st_size == 0:
                    self.empty.append(name)
                opener = find_opener(entry)
            except (VirtualStainError, OSError):
                self.others.append(name)
                continue
            if opener.name != "folder":
                self.entries.append((entry, opener))
            elif depth < _DEEPEST:
                self.folders.append(name)
                try:
                    self.look_into(entry, depth + 1)
                except OSError:  # nobody may look in there
                    self.others.append(name)
            else:
                self.deeper.append(name)


def _only_image(path: Path, opener: Opener, axes: str | None) -> LazyImage:
    return choose_scene(opener.scenes(path, axes), where=str(path))


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images in a folder, each under the name of its file.

    Raises
    ------
    ImageFileError
        If none can be opened.
    """
    found = contents(path, axes, lazily=True)
    there = [(file, scene) for file, inside in found.images for scene in inside]
    if not there:
        raise none_in(path, found)
    guesses = _guesses(path, found)
    return [
        replace(
            scene,
            name=name_below(path, file, scene.name),
            load=partial(_opened, scene.open, guesses),
            place=_place(path, file, scene),
        )
        for file, scene in there
    ]


def _opened(load: Callable[[], LazyImage], guesses: Sequence[str]) -> LazyImage:
    return load().with_guesses(guesses)


def _place(folder: Path, file: Path, scene: Scene) -> Place | None:
    """Return where an image lies; a plate without a name is called after its file or folder."""
    place = scene.place
    if place is None or place.plate:
        return place
    return replace(place, plate=name_below(folder, file))


def _guesses(folder: Path, found: Contents) -> list[str]:
    """Return what is to be confirmed of a folder that is opened."""
    guesses = []
    planes = [scene for _, inside in found.images for scene in inside if scene.kind in _PLANES]
    if len(planes) > 1:
        guesses.append(
            f"Each file of {folder.name!r} was taken for an image of its own, since their names do "
            "not tell channel, z or time. If they are planes of one image, say how they are named "
            "with --pattern, for example --pattern '{well}_{site}_{channel}.tif'."
        )
    guesses += [
        f"{name_below(folder, file)!r} was left out: {why}"
        for file, why in list(found.unread.items())[:_TOLD]
    ]
    if len(found.unread) > _TOLD:
        guesses.append(f"{len(found.unread) - _TOLD} more files were left out for like reasons.")
    if found.deeper:
        guesses.append(
            f"Folders that lie deeper were not looked into ({listed(found.deeper, 5)}). Open them "
            "one by one."
        )
    return guesses


_PLANES = ("tiff", "picture", "imagej-tiff")
"""Kinds of files of which several may be one image."""


def none_in(folder: Path, found: Contents) -> ImageFileError:
    """Return the sentence for a folder in which no image can be opened."""
    if found.unread:
        count, (first, why) = len(found.unread), next(iter(found.unread.items()))
        what = "1 image, which" if count == 1 else f"{count} images, of which none"
        can = "cannot" if count == 1 else "can"
        begins = "" if count == 1 else f"the first, {name_below(folder, first)!r}: "
        return ImageFileError(f"{str(folder)!r} holds {what} {can} be opened: {begins}{why}")
    if found.deeper:
        return ImageFileError(
            f"{str(folder)!r} holds no image in its folders, and those that lie deeper were not "
            f"looked into ({listed(found.deeper, 5)}). Open one of them."
        )
    if found.others:
        return ImageFileError(
            f"{str(folder)!r} holds no image: nothing in it is of a kind that is read "
            f"({listed(found.others, 5)}). Choose a folder with images, or a file."
        )
    empty = (
        f"holds empty folders only ({listed(found.folders, 5)})" if found.folders else "is empty"
    )
    return ImageFileError(f"{str(folder)!r} {empty}. Choose a folder with images, or a file.")
