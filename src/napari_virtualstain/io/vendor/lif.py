"""Leica LIF: pixels mapped into memory, in whatever order of axes the file has.

The file is a tree of images with one block of pixels each; the tiles of a
mosaic become scenes, since they overlap and nothing has put them together.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.pixels import TAKEN_APART, WANTED_CHUNK
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.safe_xml import refuse_document_type
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.io.tiff_file import damaged, overheard
from napari_virtualstain.io.tiff_metadata import aperture, positive
from napari_virtualstain.io.vendor.base import (
    Facts,
    PlaneReader,
    check_beginning,
    check_room,
    image_of,
    library,
    one_sentence,
    unique_names,
)
from napari_virtualstain.io.vendor.lif_channels import SETTING, channels_of

__all__ = ["scenes"]

MAGIC = b"\x70\0\0\0"
AXES = {1: "x", 2: "y", 3: "z", 4: "t", 5: "l", 6: "r", 7: "a", 8: "b", 9: "e", 10: "m"}
"""Leica's numbers of axes; l and e are emission and excitation of a spectrum."""

MOST_XML = 2**30
"""Bytes of metadata above which a header is not believed."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for its tree of images."""
    check_beginning(path, (MAGIC,), "Leica (LIF)")
    liffile = library("liffile", path=path, extra="lif")
    with one_sentence(path), overheard("liffile"):
        with path.open("rb") as file:
            *_, n_letters = struct.unpack("<IIBI", file.read(13))
            if 2 * n_letters + 13 > min(path.stat().st_size, MOST_XML):
                raise damaged(path, "its metadata reach beyond its end")
            refuse_document_type(file.read(2 * n_letters).decode("utf-16-le"))
        with liffile.LifFile(path, squeeze=False) as opened:
            yield opened


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a file, and each tile of a mosaic.

    Raises
    ------
    MissingExtraError
        If the package liffile is not installed.
    ImageFileError
        If the file is damaged or cut short.
    """
    found: list[tuple[int, int, str]] = []
    with _opened(path) as file:
        for index, image in enumerate(file.images):
            if image.xml_element.find("./Data/Image") is None:
                continue  # photon counts, not a picture
            tiles = next((n for a, n, *_ in _dimensions(image.xml_element) if a == "m"), 1)
            if tiles > 100_000:
                raise damaged(path, f"it states {tiles} tiles")
            name = image.path
            found += [(index, tile, f"{name}/tile {tile + 1}" if tiles > 1 else name)
                      for tile in range(tiles)]  # fmt: skip
    if not found:
        raise ImageFileError(f"{str(path)!r} holds no image. Choose another file.")
    names = [""] if len(found) == 1 else unique_names([name for *_, name in found], "image")
    return [
        Scene(
            name=name,
            kind="lif",
            load=partial(_load, path, index, tile, name, axes),
            place=_place(name),
        )
        for (index, tile, _), name in zip(found, names, strict=True)
    ]


def _place(name: str) -> Place | None:
    """Return the well that the last folders of a name tell: "TileScan 1/B/2/tile 3"."""
    found = re.fullmatch(r"(?:(.*)/)?([A-P])/(\d{1,2})(?:/(?:Position ?|R)?(\w+|tile \d+))?", name)
    if found is None:
        return None
    plate, row, column, site = found.groups(default="")
    return Place(plate=plate, well=row + column, site=site)


def _dimensions(element: ET.Element) -> list[tuple[str, int, int, float | None, str]]:
    """Return letter, length, bytes from one to the next, whole length and unit of each axis."""
    return [
        (
            AXES.get(int(d.attrib["DimID"]), "q"),
            int(d.attrib["NumberOfElements"]),
            int(d.attrib["BytesInc"]),
            positive(abs(float(d.get("Length", 0)))),
            d.get("Unit", ""),
        )
        for d in element.iterfind("./Data/Image/ImageDescription/Dimensions/DimensionDescription")
    ]


def _dtype(element: ET.Element) -> np.dtype[Any]:
    bits, is_float = int(element.attrib["Resolution"]), element.get("DataType") == "1"
    if not 0 < bits <= 64:
        raise ValueError(f"it states {bits} bits a pixel")
    size = next(n for n in (1, 2, 4, 8) if bits <= 8 * n)
    return np.dtype(f"<{'f' if is_float else 'u'}{size}")


class _Block(PlaneReader):
    """The pixels of one image, or of one tile of it."""

    def __init__(self, path: Path, index: int, tile: int) -> None:
        with _opened(path) as file:
            image = file.images[index]
            self._start(path, index, tile, image.xml_element, image.memory_block)

    def _start(self, path: Path, index: int, tile: int, element: ET.Element, block: Any) -> None:
        described = element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
        types = {_dtype(channel) for channel in described}
        if len(types) != 1:
            raise ImageFileError(
                f"{str(path)!r} has channels of the types {', '.join(sorted(map(str, types)))}. "
                "Export it as OME-TIFF from LAS X."
            )
        (dtype,) = types
        dimensions = sorted(_dimensions(element), key=lambda d: -d[2])
        if any(n < 1 or step < 1 for _, n, step, *_ in dimensions):
            raise ValueError("an axis has no length")
        starts = [int(channel.get("BytesInc", 0)) for channel in described]
        reach = sum((n - 1) * step for _, n, step, *_ in dimensions) + dtype.itemsize
        check_room(path, reach + max(starts), block.size)
        n_pixels = math.prod(n for _, n, *_ in dimensions) * len(starts)
        check_room(path, n_pixels * dtype.itemsize, block.size)
        check_room(path, block.offset + block.size, path.stat().st_size)
        mapped = np.memmap(path, np.uint8, "r", offset=block.offset, shape=(block.size,))
        letters = "".join(a for a, *_ in dimensions)
        shape = tuple(n for _, n, *_ in dimensions)
        steps = tuple(step for _, _, step, *_ in dimensions)
        views = [np.ndarray(shape, dtype, mapped, start, steps) for start in starts]
        if "m" in letters:
            views = [np.moveaxis(view, letters.index("m"), 0)[tile] for view in views]
            letters = letters.replace("m", "")
        # Planes are y and x, whatever lies between them in the file.
        order = [letters.index(a) for a in letters if a not in "yx"]
        order += [letters.index(a) for a in "yx" if a in letters]
        self._views = [v.transpose(order) for v in views]
        plane = sum(a in "yx" for a in letters)
        whole = self._views[0].shape
        self._outer = (len(views), *whole[: len(whole) - plane])
        self.letters = "c" + "".join(letters[i] for i in order)
        inner = whole[len(whole) - plane :]
        self.chunks = (*(1,) * len(self._outer), *(WANTED_CHUNK for _ in inner))
        self.facts = _facts(element, dimensions)
        numbers = np.arange(math.prod(self._outer), dtype=np.intp).reshape(self._outer)
        super().__init__(path, (path, index, tile), numbers, inner, dtype)

    def _read(self, number: int, region: tuple[Any, ...]) -> NDArray[Any]:
        channel, *where = np.unravel_index(number, self._outer)
        return np.array(self._views[int(channel)][tuple(int(i) for i in where)][region])


def _facts(element: ET.Element, dimensions: list[tuple[str, int, int, float | None, str]]) -> Facts:
    # The length is that from the first to the last.
    steps = {
        axis: (length / (n - 1), unit)
        for axis, n, _, length, unit in dimensions
        if length is not None and n > 1
    }
    channels = channels_of(element)
    colour = [channel.name for channel in channels] == ["red", "green", "blue"]
    sizes = {axis: to_micrometres(*steps[axis]) for axis in "zyx" if axis in steps}
    interval = steps.get("t")
    return Facts(
        channels=channels,
        pixel_size_um=PixelSize(**sizes),
        time_interval_s=interval[0] if interval and interval[1] == "s" else None,
        na=_aperture(element),
        guesses=(TAKEN_APART,) if colour else (),
    )


def _aperture(element: ET.Element) -> float | None:
    """Return the aperture that the settings of the microscope state."""
    settings = element.find(SETTING)
    found = (e.get("NumericalAperture") for e in (() if settings is None else settings.iter()))
    return next((na for text in found if (na := aperture(text)) is not None), None)


def _load(path: Path, index: int, tile: int, name: str, axes: str | None) -> LazyImage:
    """Open one image, or one tile of it."""
    block = _Block(path, index, tile)
    return image_of(
        block, block.letters, block.chunks, block.facts, path=path, kind="lif", scene=name,
        axes=axes,
    )  # fmt: skip
