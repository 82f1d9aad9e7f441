"""How layers become a file that others, and this package, can open again.

All layers of one call become the channels of one image, by their names. Pixels are written block
by block, also those of lazy and multiscale layers, of which the finest level is saved. A file
stands under its own name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    AxesError,
    PixelDataError,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.disk import check_output
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.save import write_ome_zarr
from napari_virtualstain.io.save_png import write_png
from napari_virtualstain.io.save_tiff import check_tiff_output, write_ome_tiff
from napari_virtualstain.io.scene import unique_channels
from napari_virtualstain.napari_io.layer_axes import colour_of_layer, placed
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.source import source_of

__all__ = ["LayersAsImage", "as_image", "save_ome_tiff", "save_ome_zarr", "save_png"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayersAsImage:
    """Layers that are channels of one image, none of their pixels read.

    Parameters
    ----------
    arrays
        One a channel, with the axes `letters`.
    letters
        Letters of ``tzyx``.
    channels
        Names and colours.
    dtype
        That holds the pixels of all.
    pixel_size_um, origin_um, time_interval_s
        As in `LazyImage`.
    paths
        Files that the layers are read from.
    """

    arrays: tuple[Any, ...]
    letters: str
    channels: tuple[Channel, ...]
    dtype: np.dtype[Any]
    pixel_size_um: PixelSize
    origin_um: tuple[float, float, float]
    time_interval_s: float | None
    paths: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of T, C, Z, Y and X."""
        n = dict(zip(self.letters, self.arrays[0].shape, strict=True))
        return (n.get("t", 1), len(self.arrays), n.get("z", 1), int(n["y"]), int(n["x"]))

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[Any]:
        """Read a part of one plane (Y, X) into memory, in this thread."""
        place = {"t": t, "z": z, "y": y, "x": x}
        part = self.arrays[c][tuple(place[letter] for letter in self.letters)]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")
        return np.asarray(part).astype(self.dtype, copy=False)


def as_image(layers: Sequence[LayerData]) -> LayersAsImage:
    """Return layers as the channels of one image.

    Parameters
    ----------
    layers
        (data, keywords, ``"image"``) each, as napari hands them to a writer.

    Raises
    ------
    PixelDataError
        If shapes differ, or a layer is a colour picture or holds no numbers.
    AxesError
        If layers lie at different places, or have axes that files do not have.
    """
    data = [_finest(pixels, given) for pixels, given, _ in layers]
    names = [str(given.get("name") or "image") for _, given, _ in layers]
    for name, array, (_, given, _) in zip(names, data, layers, strict=True):
        if given.get("rgb"):
            raise PixelDataError(
                f"The layer {name!r} is a colour picture. Split it into its channels first "
                "(right click on the layer: Split RGB)."
            )
        if np.dtype(array.dtype).kind not in "buif":
            raise PixelDataError(
                f"The layer {name!r} holds {array.dtype}, which are not intensities. "
                "Convert it to numbers, for example to float32."
            )
    _same_shape(names, data)
    places = [placed(array.ndim, given) for array, (_, given, _) in zip(data, layers, strict=True)]
    for name, place in zip(names, places, strict=True):
        if not place.matches(places[0]):
            raise AxesError(
                f"The layers {names[0]!r} and {name!r} do not lie on the same pixels: their axes, "
                "scale or translation differ. Save them one by one."
            )
    dtype = np.dtype(np.result_type(*(array.dtype for array in data)))
    sources = (source_of(given.get("metadata") or {}) for _, given, _ in layers)
    channels = [
        Channel(name, colour=colour_of_layer(given))
        for name, (_, given, _) in zip(names, layers, strict=True)
    ]
    return LayersAsImage(
        arrays=tuple(data),
        letters=places[0].letters,
        channels=unique_channels(channels),
        dtype=np.dtype("float32") if dtype == np.float16 else dtype,
        pixel_size_um=places[0].pixel_size_um,
        origin_um=places[0].origin_um,
        time_interval_s=places[0].time_interval_s,
        paths=tuple(source.path for source in sources if source is not None and source.path),
    )


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Let errors through to the user: napari takes a `ValueError` for "no writer" and hides it."""
    try:
        yield
    except VirtualStainError as error:
        if isinstance(error, ValueError):
            raise VirtualStainError(str(error)) from error
        raise


def _finest(pixels: Any, given: Mapping[str, Any]) -> Any:
    """Return the array of a layer; of a multiscale one the finest."""
    several = given.get("multiscale") or isinstance(pixels, (list, tuple))
    return pixels[0] if several else pixels


def _same_shape(names: Sequence[str], data: Sequence[Any]) -> None:
    shapes = [tuple(int(n) for n in array.shape) for array in data]
    for name, shape in zip(names, shapes, strict=True):
        if shape != shapes[0]:
            raise PixelDataError(
                f"The layers {names[0]!r} and {name!r} have the shapes {_by(shapes[0])} and "
                f"{_by(shape)}, but the channels of one file have one shape. "
                "Select layers of one shape, or save them one by one."
            )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)


def save_ome_zarr(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save image layers as one OME-Zarr with a pyramid; an OME-Zarr that is there is replaced.

    Parameters
    ----------
    path
        Where.
    layers
        See `as_image`.

    Returns
    -------
    list
        The path, as napari wants it.

    Raises
    ------
    VirtualStainError
        If the layers do not fit together or the disk cannot be written; never a `ValueError`,
        which napari takes for "no writer found" and hides.
    """
    with _errors_shown():
        image = as_image(layers)
        check_output(path, image.paths)
        write_ome_zarr(path, image, overwrite=True)
    return [path]


def save_ome_tiff(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save image layers as one OME-TIFF; a file that is there is replaced when the new is whole.

    The place of the layers (their translation) has no agreed home in OME-TIFF and is not kept;
    save as OME-Zarr where it matters. Parameters, result and errors are those of
    `save_ome_zarr`.
    """
    with _errors_shown():
        image = as_image(layers)
        check_tiff_output(Path(path), image.dtype)
        _refuse_source(Path(path), image)
        write_ome_tiff(Path(path), image)
    return [path]


def save_png(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save image layers as one picture as they are shown: colours, contrast limits, a scale bar.

    Hidden layers are left out, and of stacks and time-lapses the plane is taken that the viewer
    shows. Parameters, result and errors are those of `save_ome_zarr`.
    """
    with _errors_shown():
        seen = [layer for layer in layers if layer[1].get("visible", True)]
        if not seen:
            raise SettingsError("All layers are hidden, so there is nothing to show. Show one.")
        image = as_image(seen)
        _refuse_source(Path(path), image)
        limits = {
            channel.name: tuple(float(v) for v in given["contrast_limits"])
            for channel, (_, given, _) in zip(image.channels, seen, strict=True)
            if given.get("contrast_limits") is not None
        }
        step = _shown_step(image, seen[0][1])
        write_png(Path(path), image, t=step["t"], z=step["z"], limits=limits)  # type: ignore[arg-type]
    return [path]


def _shown_step(image: LayersAsImage, given: Mapping[str, Any]) -> dict[str, int]:
    """Return the time point and the z plane that the viewer shows, 0 where there is none."""
    from napari import current_viewer

    step, viewer, n = {"t": 0, "z": 0}, current_viewer(), len(image.letters)
    if viewer is None:
        return step
    point = viewer.dims.point[-n:]
    scale = given.get("scale", (1.0,) * n)
    start = given.get("translate", (0.0,) * n)
    lengths = dict(zip("tczyx", image.shape, strict=True))
    for axis, letter in enumerate(image.letters[: len(point)]):
        if letter in step:
            place = round((point[axis] - start[axis]) / scale[axis])
            step[letter] = min(max(0, place), lengths[letter] - 1)
    return step


def _refuse_source(path: Path, image: LayersAsImage) -> None:
    for source in image.paths:
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise SettingsError(
                f"{str(path)!r} is the file that the layers are read from. Choose another name."
            )
