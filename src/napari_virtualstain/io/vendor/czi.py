"""Zeiss CZI, read region by region: a mosaic costs the tiles that a region touches.

Tiles of a mosaic are put together by libCZI, which also undoes all of Zeiss's
compressions. Where a mosaic has no tile it gives 0.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.pixels import WANTED_CHUNK
from napari_virtualstain.io.plate import Place, parse_well
from napari_virtualstain.io.safe_xml import parse_xml
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.io.tiff_file import damaged
from napari_virtualstain.io.tiff_metadata import aperture, positive
from napari_virtualstain.io.vendor.base import (
    Facts,
    PlaneReader,
    check_beginning,
    check_room,
    image_of,
    library,
    one_sentence,
    span,
    unique_names,
)
from napari_virtualstain.io.vendor.czi_directory import TileDirectory

__all__ = ["scenes"]

MAGIC = b"ZISRAWFILE"
KEPT_BYTES = 128 * 2**20
"""Decoded tiles that libCZI keeps."""

LARGEST_CHUNK = 4096
"""Edge in pixels above which a tile is rather read several times than kept whole."""

MOST_EMPTY = 20
"""A file with more planes than so many for each tile is not believed."""

SPARSEST = 10_000
"""A mosaic whose tiles cover less than one part in so many of it is not believed."""

TYPES: dict[str, tuple[str, int]] = {
    "Gray8": ("u1", 1),
    "Gray16": ("u2", 1),
    "Gray32Float": ("f4", 1),
    "Bgr24": ("u1", 3),
    "Bgr48": ("u2", 3),
    "Bgr96Float": ("f4", 3),
}
"""Pixel types of Zeiss: type of a sample, samples a pixel."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for its metadata."""
    check_beginning(path, (MAGIC,), "Zeiss (CZI)")
    reader, _ = _reader(path)
    try:
        with one_sentence(path):
            yield reader
    finally:
        reader.close()


def _reader(path: Path) -> tuple[Any, TileDirectory]:
    """Open a file, once its directory was found to be whole: libCZI dies of some that are not."""
    czi = library("pylibCZIrw.czi", path=path, extra="czi")
    with one_sentence(path):
        tiles = TileDirectory(path)
    cache = czi.CacheOptions(
        type=czi.CacheType.Standard, max_memory_usage=KEPT_BYTES, max_sub_block_count=1000
    )
    with one_sentence(path):
        return czi.CziReader(str(path), cache_options=cache), tiles


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a file: one a scene.

    Raises
    ------
    MissingExtraError
        If the package pylibCZIrw is not installed.
    ImageFileError
        If the file is damaged or cut short.
    """
    with _opened(path) as reader:
        numbers = sorted(reader.scenes_bounding_rectangle_no_pyramid)
        wells: dict[int, str] = {}
        if len(numbers) < 2:
            names = [""]
        else:
            stated, wells = _scene_names(parse_xml(reader.raw_metadata))
            names = unique_names([stated.get(number) for number in numbers], "scene")
    which = numbers or [None]
    return [
        Scene(
            name=name,
            kind="czi",
            load=partial(_load, path, number, name, axes),
            place=None if number not in wells else Place(well=wells[number], site=name),
        )
        for number, name in zip(which, names, strict=True)
    ]


def _scene_names(root: ET.Element) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of scenes by number, and of their wells.

    A scene goes by its name, else by that of its region, else by that of its well.
    """
    found: dict[int, str] = {}
    wells: dict[int, str] = {}
    for scene in root.iterfind(".//Information/Image/Dimensions/S/Scenes/Scene"):
        shape = scene.find("Shape")
        name = (
            scene.get("Name")
            or (shape is not None and shape.get("Name"))
            or scene.findtext("ArrayName")
        )
        number = scene.get("Index", "")
        if name and number.isdecimal():
            found[int(number)] = name
            well = scene.findtext("ArrayName") or name
            if parse_well(well) is not None:
                wells[int(number)] = well
    return found, wells


class _Mosaic(PlaneReader):
    """One scene; a plane of it is put together from tiles for each region."""

    def __init__(self, path: Path, scene: int | None) -> None:
        self._czi, self._tiles = _reader(path)
        weakref.finalize(self, self._czi.close)
        self._lock = threading.Lock()
        self._scene = scene
        with one_sentence(path):
            self._start(path, scene)

    def _start(self, path: Path, scene: int | None) -> None:
        box = self._czi.total_bounding_box_no_pyramid
        self._axes = [axis for axis in box if axis not in "XY" and box[axis][1] > 1]
        self._rectangle = (
            self._czi.total_bounding_rectangle_no_pyramid
            if scene is None
            else self._czi.scenes_bounding_rectangle_no_pyramid[scene]
        )
        shape = tuple(int(box[axis][1]) for axis in self._axes)
        height, width = int(self._rectangle.h), int(self._rectangle.w)
        area = self._tiles.area(scene)
        if height < 1 or width < 1 or not area:
            raise damaged(path, "it holds no pixels")
        n_planes, n_tiles = math.prod(shape), int(self._tiles.of_plane({}, scene).sum())
        if n_planes > MOST_EMPTY * (n_tiles + 50):
            raise damaged(path, f"it states {n_planes} planes and has {n_tiles} tiles")
        check_room(path, math.prod(shape) * height * width, area * SPARSEST)
        guesses = []
        covered = area / (math.prod(shape) * height * width)
        if covered < 0.999:
            guesses.append(
                f"Tiles cover {covered:.0%} of the image; elsewhere pixels are 0, "
                "which is missing and not dark."
            )
        types = self._types(box)
        kinds = [TYPES.get(kind) for kind in types]
        if None in kinds or len({kind[1] for kind in kinds if kind}) != 1:
            raise ImageFileError(
                f"{str(path)!r} has pixels of the types {', '.join(sorted(set(types)))}, of which "
                f"only {', '.join(TYPES)} are read, grey and colour not together. "
                "Export it as OME-TIFF from ZEN."
            )
        samples = next(kind[1] for kind in kinds if kind)
        dtype = np.result_type(*(kind[0] for kind in kinds if kind))
        if len(set(kinds)) > 1:
            guesses.append(f"Channels have pixels of different types; all are given as {dtype}.")
        colour = (samples,) if samples > 1 else ()
        self.letters = "".join(self._axes).lower() + "yx" + ("s" if colour else "")
        # A tile is read as a whole, for however small a part of it.
        edges = (min(max(WANTED_CHUNK, edge), LARGEST_CHUNK) for edge in self._tiles.largest())
        self.chunks = (*(1,) * len(shape), *edges, *colour)
        super().__init__(
            path,
            (path, scene),
            np.arange(math.prod(shape), dtype=np.intp).reshape(shape),
            (height, width, *colour),
            dtype,
        )
        self._outer = shape
        lengths = dict(zip(self.letters, self.shape, strict=True))
        root = parse_xml(self._czi.raw_metadata)
        missing = self._without_tiles(lengths)
        self.facts = _facts(root, lengths, tuple(guesses), missing)

    def _without_tiles(self, lengths: dict[str, int]) -> tuple[tuple[int, int, int], ...]:
        """Return the planes (t, c, z) that no tile belongs to."""
        if set(self._axes) - set("TCZ") or len(self._inner) > 2:
            return ()
        lost = self._tiles.without_tiles([lengths.get(axis, 1) for axis in "tcz"], self._scene)
        return tuple((int(t), int(c), int(z)) for t, c, z in lost)

    def _types(self, box: dict[str, tuple[int, int]]) -> list[str]:
        """Return the pixel type of each channel, of a thousand at most: the file may be damaged."""
        return [str(self._czi.get_channel_pixel_type(c)) for c in range(min(box["C"][1], 1000))]

    def _read(self, number: int, region: tuple[Any, ...]) -> NDArray[Any]:
        where = np.unravel_index(number, self._outer)
        plane = {axis: int(at) for axis, at in zip(self._axes, where, strict=True)}
        top, bottom, rows = span(region[0], self._inner[0])
        left, right, columns = span(region[1], self._inner[1])
        rest = region[2:]
        if bottom <= top or right <= left:
            return np.empty((bottom - top, right - left, *self._inner[2:]), self.dtype)
        corner = self._rectangle
        edges = (corner.y + top, corner.x + left, corner.y + bottom, corner.x + right)
        self._tiles.check(plane, self._scene, edges)
        with self._lock:
            pixels = np.asarray(
                self._czi.read(
                    roi=(corner.x + left, corner.y + top, right - left, bottom - top),
                    plane=plane,
                    scene=self._scene,
                )
            )
        # Zeiss stores blue first.
        pixels = pixels[..., 0] if len(self._inner) == 2 else pixels[..., ::-1]
        if not isinstance(rows, slice):  # an axis that is taken away, one after the other
            return np.array(pixels[rows][(columns, *rest)])
        return np.array(pixels[(rows, columns, *rest)])


def _load(path: Path, scene: int | None, name: str, axes: str | None) -> LazyImage:
    """Open one scene as an image."""
    check_beginning(path, (MAGIC,), "Zeiss (CZI)")
    mosaic = _Mosaic(path, scene)
    return image_of(
        mosaic,
        mosaic.letters,
        mosaic.chunks,
        mosaic.facts,
        path=path,
        kind="czi",
        scene=name,
        axes=axes,
    )


def _facts(
    root: ET.Element,
    lengths: dict[str, int],
    guesses: tuple[str, ...],
    missing: tuple[tuple[int, int, int], ...],
) -> Facts:
    sizes = {
        distance.get("Id", "").lower(): positive(distance.findtext("Value"))
        for distance in root.iterfind(".//Scaling/Items/Distance")
    }
    # Without a z stack its step is a default. Values are in metres.
    micrometres = {
        axis: value * 1e6
        for axis in "zyx"
        if (value := sizes.get(axis)) and (axis != "z" or lengths.get("z", 1) > 1)
    }
    interval = positive(
        root.findtext(".//Information/Image/Dimensions/T/Positions/Interval/Increment")
    )
    return Facts(
        channels=_channels(root),
        pixel_size_um=PixelSize(**micrometres),
        time_interval_s=interval if lengths.get("t", 1) > 1 else None,
        na=_aperture(root),
        guesses=guesses,
        missing=missing,
    )


def _aperture(root: ET.Element) -> float | None:
    """Return the aperture of the objective that the image was taken with."""
    used = root.find(".//Information/Image/ObjectiveSettings/ObjectiveRef")
    objectives = root.findall(".//Information/Instrument/Objectives/Objective")
    named = [o for o in objectives if used is not None and o.get("Id") == used.get("Id")]
    return aperture(named[0].findtext("LensNA")) if named else None


def _channels(root: ET.Element) -> tuple[Channel, ...]:
    shown = {
        element.get("Id"): element
        for element in root.iterfind(".//DisplaySetting/Channels/Channel")
    }
    return tuple(
        _channel(element, shown.get(element.get("Id")), index)
        for index, element in enumerate(
            root.iterfind(".//Information/Image/Dimensions/Channels/Channel")
        )
    )


def _channel(element: ET.Element, shown: ET.Element | None, index: int) -> Channel:
    def of(tag: str) -> str:
        text = element.findtext(tag) or (shown.findtext(tag) if shown is not None else "")
        return (text or "").strip()

    name = element.get("Name") or of("DyeName") or of("Fluor") or f"channel {index}"
    excitation, emission = positive(of("ExcitationWavelength")), positive(of("EmissionWavelength"))
    modality = modality_of(
        name,
        contrasts=(of("ContrastMethod"), of("IlluminationType")),
        wavelengths=bool(excitation or emission),
    )
    lit = modality != "transmitted"
    colour = of("Color").lstrip("#")[-6:].upper()
    return Channel(
        name,
        modality,
        colour if len(colour) == 6 and not set(colour) - set("0123456789ABCDEF") else None,
        emission_nm=emission if lit else None,
        excitation_nm=excitation if lit else None,
    )
