"""Single pictures, and folders in which every plane is a file of its own.

Names alone say here where each file belongs; measurements that come with an
index or a table are opened by `plate_files`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.claims import plane_files
from napari_virtualstain.io.fingerprint import fingerprint
from napari_virtualstain.io.image import LazyImage, Source
from napari_virtualstain.io.layouts import LAYOUTS
from napari_virtualstain.io.layouts.base import natural
from napari_virtualstain.io.pixels import arrange, lazy, name_channels
from napari_virtualstain.io.plane_file import PlaneGrid, plane_header
from napari_virtualstain.io.plane_image import scenes_of
from napari_virtualstain.io.scene import Scene, listed

__all__ = ["folder_scenes", "picture_scenes"]


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


def folder_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a folder of planes.

    Raises
    ------
    ImageFileError
        If their names follow no known layout.
    """
    files = sorted(plane_files(path), key=lambda file: natural(file.name))
    for name, layout in LAYOUTS.items():
        mine = layout.claims(files)
        if mine:
            plan = layout.plan(mine)
            placed = {plane.path for plane in plan.planes}
            skipped = [file.name for file in files if file not in placed]
            skipped = [file for file in skipped if not layout.ignores(file)]
            if skipped:
                plan = plan.with_guess(
                    f"Files whose names fit no place were left out: {listed(skipped, 5)}."
                )
            return scenes_of(path, plan, plan.planes, name, keep_name=False)
    raise ImageFileError(
        f"The names of the files in {str(path)!r} do not tell channel, z or time any more. "
        "Open it again."
    )
