"""ICS (Image Cytometry Standard) 1.0 and 2.0, read without a library.

A header in plain text describes pixels in a file `.ids` beside it (1.0), or
behind the header or in a file that it names (2.0). Raw pixels are mapped into
memory; packed ones are unpacked once, into a file without a name.
"""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.errors import DiskError, ImageFileError, MissingInputError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.pixels import WANTED_CHUNK
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.io.tiff_file import damaged
from napari_virtualstain.io.tiff_metadata import SECONDS, positive
from napari_virtualstain.io.vendor.base import (
    Facts,
    PlaneReader,
    check_room,
    image_of,
    one_sentence,
)

__all__ = ["scenes"]

LONGEST_HEADER = 2**20
MOST_SHRUNK = 1100
"""gzip makes nothing smaller than that: a file that states more pixels is not believed."""

AXES = {"x": "x", "y": "y", "z": "z", "t": "t", "ch": "c", "c": "c", "channel": "c", "probe": "c"}
Header = dict[tuple[str, str], list[str]]


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the one image of an ``.ics``, or of the ``.ids`` that belongs to one.

    Raises
    ------
    ImageFileError
        If the header is damaged or says what is not read.
    """
    if path.suffix.lower() == ".ids":
        path = _beside(path, ".ics")
    _header(path)
    files = (path, path.with_suffix(".ids"), path.with_suffix(".IDS"))
    return [Scene(name="", kind="ics", load=partial(_load, path, axes), files=files)]


def _beside(path: Path, suffix: str) -> Path:
    for other in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if other.is_file():
            return other
    raise MissingInputError(
        f"{str(path)!r} is one of two files, of which {path.stem + suffix!r} is missing. "
        "Put both into one folder."
    )


def _header(path: Path) -> tuple[Header, int]:
    """Return category and subcategory with their values, and where the header ends."""
    found: Header = {}
    with path.open("rb") as file:
        first = file.readline(64)
        if not first:
            raise ImageFileError(
                f"{str(path)!r} is empty (0 bytes). Copy it again from its source."
            )
        if b"ics_version" not in first + file.read(64):
            raise ImageFileError(
                f"{str(path)!r} is not an ICS file: it begins with {first[:8]!r}. "
                "Check what it is, or copy it again from its source."
            )
        file.seek(0)
        # The first line holds nothing but the separators, of words and of lines.
        separator = chr(first[0])
        words = None if separator.isalnum() or separator in "\r\n" else separator
        while file.tell() < LONGEST_HEADER and (line := file.readline(LONGEST_HEADER)):
            for raw in line.splitlines():
                parts = [part.strip() for part in raw.decode("latin-1").split(words)]
                if parts == ["end"]:
                    return found, file.tell()
                if len(parts) > 3 and parts[1] == "s_params":
                    found.setdefault((parts[0].lower(), parts[2].lower()), parts[3:])
                elif len(parts) > 2:
                    found.setdefault((parts[0].lower(), parts[1].lower()), parts[2:])
                elif len(parts) == 2:
                    found.setdefault((parts[0].lower(), ""), parts[1:])
        return found, file.tell()


class _Pixels(PlaneReader):
    """The pixels of an image; packed ones are unpacked when the first is asked for."""

    def __init__(self, path: Path) -> None:
        with one_sentence(path):
            header, end = _header(path)
            self._start(path, header, end)

    def _start(self, path: Path, header: Header, end: int) -> None:
        order, sizes = _layout(path, header)
        dtype = _dtype(path, header, sizes["bits"])
        axes = [axis for axis in order if axis != "bits"]
        if any(sizes[axis] < 1 for axis in axes):
            raise damaged(path, "an axis has no length")
        # The first axis of the header is the fastest.
        letters = "".join(AXES.get(axis, "q") for axis in reversed(axes))
        stored = tuple(sizes[axis] for axis in reversed(axes))
        packing = header.get(("representation", "compression"), ["uncompressed"])[0].lower()
        if packing not in ("uncompressed", "gzip"):
            raise ImageFileError(
                f"{str(path)!r} is packed with {packing[:20]!r}; raw pixels and gzip are read. "
                "Save it again without compression."
            )
        self.place, offset = _place(path, header, end)
        self._stored = (stored, dtype, offset, packing == "gzip")
        held = max(0, self.place.stat().st_size - offset)
        held *= MOST_SHRUNK if packing == "gzip" else 1
        check_room(self.place, math.prod(stored) * dtype.itemsize, held)
        self._order = [i for i, a in enumerate(letters) if a not in "yx"]
        n_outer = len(self._order)
        self._order += [letters.index(a) for a in "yx" if a in letters]
        self.letters = "".join(letters[i] for i in self._order)
        shape = tuple(stored[i] for i in self._order)
        self._outer, inner = shape[:n_outer], shape[n_outer:]
        self.chunks = (*(1,) * n_outer, *(WANTED_CHUNK for _ in inner))
        self.facts = _facts(header, order, sizes)
        self._lock = threading.Lock()
        self._mapped: NDArray[Any] | None = None
        numbers = np.arange(math.prod(self._outer), dtype=np.intp).reshape(self._outer)
        super().__init__(path, (path,), numbers, inner, dtype.newbyteorder("="))

    def _array(self) -> NDArray[Any]:
        """Return all pixels as they lie in the file, mapped into memory."""
        shape, dtype, offset, packed = self._stored
        with self._lock:
            if self._mapped is None and not packed:
                self._mapped = np.memmap(self.place, dtype, "r", offset=offset, shape=shape)
            if self._mapped is None:
                self._mapped = _unpacked(self.place, offset, shape, dtype)
            return self._mapped

    def _read(self, number: int, region: tuple[Any, ...]) -> NDArray[Any]:
        where = np.unravel_index(number, self._outer) if self._outer else ()
        planes = self._array().transpose(self._order)
        return np.array(planes[tuple(int(i) for i in where)][region])


def _unpacked(
    place: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return unpacked pixels, not in memory: they may be more than fit."""
    n_bytes, folder = math.prod(shape) * dtype.itemsize, tempfile.gettempdir()
    if shutil.disk_usage(folder).free < n_bytes:
        raise DiskError(
            f"Unpacking {str(place)!r} takes {n_bytes} bytes, for which {folder!r} has no room. "
            "Free some, or point TMPDIR elsewhere."
        )
    with tempfile.TemporaryFile() as scratch:
        _unpack(place, offset, n_bytes, scratch)
        # The mapping keeps the pixels when the file is closed and gone.
        return np.memmap(scratch, dtype, "r", shape=shape)


def _unpack(place: Path, offset: int, n_bytes: int, out: IO[bytes]) -> None:
    """Unpack as much as the header states and no more, however much a bomb would give."""
    with place.open("rb") as packed:
        packed.seek(offset)
        with gzip.GzipFile(fileobj=packed) as file:
            left = n_bytes
            while left:
                block = file.read(min(left, 2**20))
                if not block:
                    raise damaged(place, f"its pixels end {left} bytes early")
                out.write(block)
                left -= len(block)
    out.flush()


def _layout(path: Path, header: Header) -> tuple[list[str], dict[str, int]]:
    order = [axis.lower() for axis in header.get(("layout", "order"), [])]
    lengths = header.get(("layout", "sizes"), [])
    if "bits" not in order or len(order) != len(lengths) or len(set(order)) != len(order):
        raise damaged(path, "its layout is missing or contradicts itself")
    return order, {axis: int(n) for axis, n in zip(order, lengths, strict=True)}


def _dtype(path: Path, header: Header, bits: int) -> np.dtype[Any]:
    kind = header.get(("representation", "format"), ["integer"])[0].lower()
    signed = header.get(("representation", "sign"), ["unsigned"])[0].lower() == "signed"
    letter = {"integer": "i" if signed else "u", "real": "f", "float": "f"}.get(kind)
    if letter is None or bits not in ((8, 16, 32, 64) if letter != "f" else (32, 64)):
        raise ImageFileError(
            f"{str(path)!r} has pixels of {bits} bits, {kind[:20]!r}; integers of 8 to 64 bits and "
            "reals of 32 and 64 are read. Save it again as one of these."
        )
    order = header.get(("representation", "byte_order"), ["1"])
    return np.dtype(f"{'<' if order[0] == '1' else '>'}{letter}{bits // 8}")


def _place(path: Path, header: Header, end: int) -> tuple[Path, int]:
    """Return the file that holds the pixels, and at which byte they begin."""
    named = header.get(("source", "file"))
    offset = int((header.get(("source", "offset")) or ["0"])[0])
    if offset < 0:
        raise damaged(path, "its pixels begin before the file")
    if named:
        # Beside the header, wherever the file lay on the computer that wrote it.
        name = named[0].replace("\\", "/").rpartition("/")[2]
        place = path.with_name(name) if name else path
        if not place.is_file():
            raise MissingInputError(
                f"{str(path)!r} has its pixels in {name!r}, which is missing. "
                "Put both into one folder."
            )
        return (place, offset or end) if place == path else (place, offset)
    if header.get(("ics_version", ""), ["1.0"])[0].startswith("1"):
        return _beside(path, ".ids"), 0
    return path, offset or end


def _facts(header: Header, order: list[str], sizes: dict[str, int]) -> Facts:
    scale = dict(zip(order, header.get(("parameter", "scale"), []), strict=False))
    units = dict(zip(order, header.get(("parameter", "units"), []), strict=False))
    found: dict[str, float | None] = {}
    for axis in "zyx":
        number, unit = positive(scale.get(axis)), units.get(axis, "").lower()
        if number and (axis != "z" or sizes.get("z", 1) > 1):
            found[axis] = to_micrometres(number, unit) or to_micrometres(number, unit.rstrip("s"))
    step, unit = positive(scale.get("t")), units.get("t", "").lower()
    seconds = SECONDS.get(unit) or (1.0 if unit.startswith("sec") else None)
    return Facts(
        channels=_channels(header, order, sizes),
        pixel_size_um=PixelSize(**found),
        time_interval_s=step * seconds if step and seconds and sizes.get("t", 1) > 1 else None,
    )


def _channels(header: Header, order: list[str], sizes: dict[str, int]) -> tuple[Channel, ...]:
    count = next((sizes[axis] for axis in order if AXES.get(axis) == "c"), 1)
    emission, excitation = (
        [positive(word) for word in header.get(("sensor", key), [])]
        for key in ("lambdaem", "lambdaex")
    )
    if len(emission) != count or not all(emission):
        return ()
    if len(excitation) != count:
        excitation = [None] * count
    return tuple(
        Channel(
            f"channel {c}", "fluorescence", emission_nm=emission[c], excitation_nm=excitation[c]
        )
        for c in range(count)
    )


def _load(path: Path, axes: str | None) -> LazyImage:
    """Open the image."""
    pixels = _Pixels(path)
    return image_of(
        pixels, pixels.letters, pixels.chunks, pixels.facts, path=path, kind="ics", scene="",
        axes=axes, files=sorted({path, pixels.place}),
    )  # fmt: skip
