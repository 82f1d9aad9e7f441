"""How any path or array becomes a `LazyImage`: which reader it is for, which image is meant.

The readers are registered by description and imported when they are needed,
so that importing this module loads neither tifffile nor zarr.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, parse_axes
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    PixelDataError,
    SettingsError,
    did_you_mean,
)
from napari_virtualstain.io.claims import (
    TIFF_SUFFIXES,
    is_cv8000,
    is_file_of,
    is_harmony,
    is_imagexpress,
    is_picture,
    is_planes,
    is_table,
    is_zarr,
)
from napari_virtualstain.io.image import LazyImage, Source
from napari_virtualstain.io.pixels import arrange, ask_for_axes, name_channels
from napari_virtualstain.io.remote import is_remote, located
from napari_virtualstain.io.scene import Scene, choose_scene

__all__ = ["OPENERS", "Opener", "find_opener", "list_scenes", "open_image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """What is known of a reader before it is imported."""

    name: str  # shown in messages, start of `Source.kind`
    description: str  # one line for `--help` and the docs
    target: str  # "module:function", (path, axes) -> list[Scene]
    claims: Callable[[Path], bool]  # looks at names and first bytes only

    def scenes(self, path: Path, axes: str | None = None) -> list[Scene]:
        """Import the reader and return the images of a path."""
        module, _, function = self.target.partition(":")
        found: list[Scene] = getattr(import_module(module), function)(path, axes)
        return found


OPENERS: dict[str, Opener] = {
    opener.name: opener
    for opener in (
        Opener(
            name="ome-zarr",
            description="OME-Zarr 0.4 and 0.5: images, wells, plates; bare zarr arrays with --axes",
            target="napari_virtualstain.io.ome_zarr:scenes",
            claims=is_zarr,
        ),
        Opener(
            name="harmony",
            description="Opera Phenix and Operetta: a folder with Index.idx.xml, fields are scenes",
            target="napari_virtualstain.io.plate_files:harmony_scenes",
            claims=is_harmony,
        ),
        Opener(
            name="cv8000",
            description="Yokogawa CV7000 and CV8000: a folder with MeasurementData.mlf",
            target="napari_virtualstain.io.plate_files:cv8000_scenes",
            claims=is_cv8000,
        ),
        Opener(
            name="imagexpress",
            description="ImageXpress: a folder with an .HTD or TimePoint folders, sites are scenes",
            target="napari_virtualstain.io.plate_files:imagexpress_scenes",
            claims=is_imagexpress,
        ),
        Opener(
            name="table",
            description="a table of images (.csv, .tsv): manifest, LoadData, BBBC021, Allen hiPSC",
            target="napari_virtualstain.io.plate_files:table_scenes",
            claims=is_table,
        ),
        Opener(
            name="tiff",
            description="TIFF, BigTIFF, OME-TIFF and sets of it, ImageJ hyperstacks, LSM",
            target="napari_virtualstain.io.tiff:scenes",
            claims=partial(is_file_of, "tiff", (*TIFF_SUFFIXES, ".lsm", ".ome")),
        ),
        Opener(
            name="nd2",
            description="Nikon ND2, positions are scenes",
            target="napari_virtualstain.io.vendor.nd2:scenes",
            claims=partial(is_file_of, "nd2", (".nd2",)),
        ),
        Opener(
            name="czi",
            description="Zeiss CZI, mosaics put together",
            target="napari_virtualstain.io.vendor.czi:scenes",
            claims=partial(is_file_of, "czi", (".czi",)),
        ),
        Opener(
            name="lif",
            description="Leica LIF, images and tiles are scenes",
            target="napari_virtualstain.io.vendor.lif:scenes",
            claims=partial(is_file_of, "lif", (".lif",)),
        ),
        Opener(
            name="ics",
            description="ICS 1.0 and 2.0 (.ics, .ids)",
            target="napari_virtualstain.io.vendor.ics:scenes",
            claims=partial(is_file_of, "ics", (".ics", ".ids")),
        ),
        Opener(
            name="picture",
            description="one PNG, JPEG or BMP",
            target="napari_virtualstain.io.planes:picture_scenes",
            claims=is_picture,
        ),
        Opener(
            name="planes",
            description="a folder with one file a plane, told apart by their names",
            target="napari_virtualstain.io.planes:folder_scenes",
            claims=is_planes,
        ),
        Opener(
            name="folder",
            description="any other folder: the images in it and in the folders below are scenes",
            target="napari_virtualstain.io.folder:scenes",
            claims=Path.is_dir,
        ),
    )
}
"""The readers, the most specific first: the first that claims a path reads it."""


def find_opener(path: Path) -> Opener:
    """Return the reader of an existing path.

    Raises
    ------
    ImageFileError
        If no reader is for it.
    """
    if is_remote(path):
        return OPENERS["ome-zarr"]
    for opener in OPENERS.values():
        if opener.claims(path):
            return opener
    raise ImageFileError(
        f"{str(path)!r} is of a kind that is not read ({', '.join(OPENERS)} are). "
        "Save or convert the image as OME-TIFF or OME-Zarr first."
    )


def _existing(source: str | os.PathLike[str]) -> Path:
    """Return a path that exists, or say which one was perhaps meant."""
    path = located(source)
    # A URL is asked for once, by its reader.
    if is_remote(path) or path.exists():
        return path
    parent = path.parent
    if not parent.is_dir():
        raise MissingInputError(
            f"{str(path)!r} does not exist, nor does the folder {str(parent)!r}. Check the path."
        )
    siblings = sorted(entry.name for entry in parent.iterdir())
    raise MissingInputError(
        f"{str(path)!r} does not exist.{did_you_mean(path.name, siblings)} Check the path."
    )


def _scenes_in(path: Path, axes: str | None, pattern: str | None) -> list[Scene]:
    if pattern is None:
        return find_opener(path).scenes(path, axes)
    from napari_virtualstain.io.plate_files import pattern_scenes

    return pattern_scenes(path, pattern)


def list_scenes(
    path: str | os.PathLike[str], *, axes: str | None = None, pattern: str | None = None
) -> tuple[Scene, ...]:
    """Return the images inside a path, none of them read yet.

    Parameters
    ----------
    path
        A file or folder.
    axes
        Axes for files which do not say, for example ``"zyx"``.
    pattern
        How the files of a folder are named, for example ``"{well}_{site}_z{z}_{channel}.tif"``.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ImageFileError
        If it is damaged or not an image.
    SettingsError
        If the pattern is not understood or no file fits it.
    """
    return tuple(_scenes_in(_existing(path), axes, pattern))


def open_image(
    source: str | os.PathLike[str] | NDArray[Any] | da.Array | LazyImage,
    *,
    scene: str | int | None = None,
    channels: Sequence[str] | None = None,
    axes: str | None = None,
    pixel_size_um: float | PixelSize | None = None,
    pattern: str | None = None,
) -> LazyImage:
    """Return a picture whose pixels are read when somebody looks at them.

    Parameters
    ----------
    source
        A path, an array of numpy or dask, or an image that is already open.
    scene
        Name or position of the image inside the path. Without it: the only
        image, else the only one that holds `channels`, else the only one with
        transmitted light (which is then listed among the guesses).
    channels
        Names of the channels to keep, in this order; all if `None`.
    axes
        One letter of ``tczyx`` an axis; needed where the file does not say.
    pixel_size_um
        Size in micrometres that replaces what the file says; one number is
        that along y and x.
    pattern
        How the files of a folder are named; see `list_scenes`.

    Raises
    ------
    MissingInputError, ImageFileError
        If the path does not exist, is damaged, or is not an image.
    AxesError
        If nothing says what the axes are.
    SettingsError, UnknownNameError
        If several images could be meant, or none has that name.
    ChannelError
        If a channel is not there.

    Examples
    --------
    >>> image = open_image(np.zeros((3, 8, 8)), axes="zyx", pixel_size_um=0.65)
    >>> image.shape, image.axes, image.channel_names, image.pixel_size_um.x
    ((1, 1, 3, 8, 8), 'zyx', ('channel 0',), 0.65)
    """
    if isinstance(source, LazyImage):
        if scene is not None and scene not in (source.source.scene, 0):
            raise SettingsError(
                f"Scene {scene!r} of an image that is already open. Open its path with scene=."
            )
        image = source
    elif isinstance(source, (str, os.PathLike)):
        path = _existing(source)
        image = choose_scene(
            _scenes_in(path, axes, pattern), where=str(path), scene=scene, channels=channels
        )
    else:
        image = _from_array(source, axes)
    if image.dtype.kind not in "buif":
        raise PixelDataError(
            f"Pixels of type {image.dtype} are not intensities. Convert them to numbers first, "
            "for example to float32."
        )
    if 0 in image.shape:
        raise PixelDataError(
            f"The image has no pixels: shape {image.shape} (t, c, z, y, x). Choose another file."
        )
    if pixel_size_um is not None:
        if not isinstance(pixel_size_um, PixelSize):
            size = float(pixel_size_um)
            pixel_size_um = PixelSize(z=image.pixel_size_um.z, y=size, x=size)
        kept = tuple(g for g in image.guesses if not g.startswith("The pixel size"))
        image = replace(image, pixel_size_um=pixel_size_um, guesses=kept)
    return image if channels is None else image.select(list(channels))


def _dask(array: NDArray[Any]) -> da.Array:
    wrapped: da.Array = da.from_array(array, name=False)
    return wrapped


def _from_array(array: NDArray[Any] | da.Array, axes: str | None) -> LazyImage:
    """Wrap an array in memory, or a dask array that somebody else made."""
    where = "array"
    shape = tuple(np.shape(array))
    if len(shape) < 2:
        raise PixelDataError(
            f"An image has at least the axes y and x, got an array of shape {shape}. "
            "Give a two-dimensional array."
        )
    if axes is None and len(shape) > 2:
        raise ask_for_axes(where, shape)
    letters = "yx" if axes is None else parse_axes(axes, ndim=len(shape))
    data = array if isinstance(array, da.Array) else _dask(np.asarray(array))
    data, true_axes, samples = arrange(data, letters, where=where)
    guesses: list[str] = []
    data, channels = name_channels(data, samples, (), "", guesses)
    return LazyImage(
        data=data, channels=channels, axes=true_axes, source=Source(), guesses=tuple(guesses)
    )
