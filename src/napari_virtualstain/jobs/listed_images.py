"""Which images are there to look at? Those of a plate, file or folder, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.scene import Scene, is_like
from napari_virtualstain.jobs.batch_items import find_images

__all__ = ["ListedImage", "listed_images"]


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
        for place in scenes:
            one = ListedImage(path, place, (inner, place.name))
            if scene is None or any(
                is_like(name, scene) for name in (place.name or path.name, one.name)
            ):
                images.append(one)
    if not images:
        raise SettingsError(
            f"No image in {source!r} is named like {scene!r}. See the names with "
            "`virtualstain info`, and choose others with --scene."
        )
    return images
