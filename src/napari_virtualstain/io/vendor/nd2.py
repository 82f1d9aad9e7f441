"""Nikon ND2, read frame by frame.

A frame holds all channels of one place. Uncompressed frames are mapped into
memory, so that a region costs what it holds; compressed ones are decoded as a
whole, and the last ones are kept.
"""

from __future__ import annotations

import math
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.pixels import WANTED_CHUNK, one_line
from napari_virtualstain.io.plate import Place, place_of_name
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.io.tiff_file import damaged
from napari_virtualstain.io.tiff_metadata import aperture, positive
from napari_virtualstain.io.vendor.base import (
    BROKEN,
    Facts,
    PlaneReader,
    check_beginning,
    check_room,
    image_of,
    library,
    one_sentence,
    unique_names,
)

__all__ = ["scenes"]

MAGIC = b"\xda\xce\xbe\x0a"
LEGACY = b"\0\0\0\x0cjP  "
"""Files of before 2010 are JPEG 2000."""

KEPT_BYTES = 128 * 2**20
"""Decoded frames that are kept."""

HEAD = 4096
"""Bytes between the start of a frame's chunk and its pixels, less those of its header."""

MOST_SHRUNK = 1100
"""zlib makes nothing smaller than that, so that a file cannot hold more pixels."""

LOOPS = {"T": "t", "Z": "z", "P": "p", "C": "c"}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for its metadata."""
    check_beginning(path, (MAGIC, LEGACY), "Nikon (ND2)")
    _check_end(path)
    nd2 = library("nd2", path=path, extra="nd2")
    with one_sentence(path), nd2.ND2File(path) as file:
        yield file


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a file: one a stage position.

    Raises
    ------
    MissingExtraError
        If the package nd2 is not installed.
    ImageFileError
        If the file is damaged or cut short.
    """
    with _opened(path) as file:
        named = _positions(file)
    return [
        Scene(name=name, kind="nd2", load=partial(_load, path, position, name, axes), place=place)
        for position, (name, place) in enumerate(named)
    ]


def _positions(file: Any) -> list[tuple[str, Place | None]]:
    """Return name and place of each position."""
    count = int(file.sizes.get("P", 1))
    if count == 1:
        return [("", None)]
    points = [
        point for loop in file.experiment if loop.type == "XYPosLoop"
        for point in loop.parameters.points
    ]  # fmt: skip
    if len(points) != count:
        return [(name, None) for name in unique_names([None] * count, "position")]
    places: list[Place | None] = []
    for point in points:
        place, stage = place_of_name(point.name or ""), point.stagePositionUm
        places.append(place and replace(place, position_um=(float(stage.y), float(stage.x))))
    return list(zip(unique_names([p.name for p in points], "position"), places, strict=True))


class _Frames(PlaneReader):
    """The frames of one position."""

    def __init__(self, path: Path, position: int) -> None:
        nd2 = library("nd2", path=path, extra="nd2")
        with one_sentence(path):
            self._file = nd2.ND2File(path)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        with one_sentence(path):
            self._start(path, position)

    def _start(self, path: Path, position: int) -> None:
        file, what = self._file, self._file.attributes
        loops = [a for a in (file.loop_indices or ({},))[0] if file.sizes.get(a, 1) > 1]
        shape = tuple(int(file.sizes[axis]) for axis in loops)
        numbers = np.arange(math.prod(shape), dtype=np.intp).reshape(shape)
        if "P" in loops:
            numbers = np.take(numbers, position, axis=loops.index("P"))
            loops.remove("P")
        n_channels = int(what.channelCount or 1)
        inner = (n_channels, int(what.heightPx), int(what.widthPx),
                 int(what.componentCount) // n_channels)  # fmt: skip
        self.compressed = file.is_legacy or what.compressionType is not None
        self._places: dict[int, int] | None = None
        if what.compressionType == "lossy":
            raise ImageFileError(
                f"{str(path)!r} is packed with loss, in a way that only Nikon reads. "
                "Save it without compression from NIS-Elements."
            )
        n_bytes = math.prod(inner) * file.dtype.itemsize
        length = path.stat().st_size
        if file.is_legacy:
            check_room(path, math.prod(shape) * n_bytes, length * MOST_SHRUNK)
        else:
            _check_end(path)
            self._places = _places(path)
            check_room(path, math.prod(shape) * n_bytes, length * MOST_SHRUNK)
            self._check(path, numbers, 0 if self.compressed else n_bytes, length)
        # A spectral loop takes the place of the channels of a frame.
        middle = "q" if "C" in loops and n_channels == 1 else "c"
        self.letters = "".join(LOOPS.get(axis, axis.lower()) for axis in loops) + middle + "yxs"
        whole = self.compressed
        self.chunks = (
            *(1,) * numbers.ndim,
            n_channels if whole else 1,
            *(n if whole else WANTED_CHUNK for n in inner[1:3]),
            inner[3],
        )
        super().__init__(path, (path, position), numbers, inner, file.dtype)
        lengths = dict(zip(self.letters, self.shape, strict=True))
        self.facts = replace(_facts(file, lengths), missing=self._never_written(numbers, loops))

    def _check(self, path: Path, numbers: NDArray[np.intp], n_bytes: int, length: int) -> None:
        """Refuse frames that lie beyond the end; the library would make zeros of them."""
        places = self._places or {}
        lost = [int(n) for n in numbers.ravel() if int(n) not in places]
        if len(lost) == numbers.size:
            raise damaged(path, "none of its frames is listed")
        end = max(places[int(n)] for n in numbers.ravel() if int(n) in places) + HEAD + n_bytes
        if end > length:
            raise damaged(path, f"its pixels end at byte {end}, the file at {length}")

    def _never_written(
        self, numbers: NDArray[np.intp], loops: list[str]
    ) -> tuple[tuple[int, int, int], ...]:
        """Return the planes of frames that are not there, as when a recording is stopped early."""
        if self._places is None or set(loops) - set("TZ"):
            return ()
        lost = ~np.isin(numbers, list(self._places))
        return tuple(
            sorted(
                (at.get("T", 0), channel, at.get("Z", 0))
                for where in np.argwhere(lost).tolist()
                for at in [dict(zip(loops, where, strict=True))]
                for channel in range(self._inner[0])
            )
        )

    def _read(self, number: int, region: tuple[Any, ...]) -> NDArray[Any]:
        if self.compressed:
            return np.array(self._decoded(number)[region])
        if self._places is not None and number in self._places:
            self._check_header(number)
        # A view of the mapped file: only the pages of the region are read.
        view = np.asarray(self._file.read_frame(number)).reshape(self._inner)
        return np.array(view[region])

    def _check_header(self, number: int) -> None:
        """Refuse a frame whose place in the file holds something else."""
        place = (self._places or {})[number]
        with self._path.open("rb", buffering=0) as file:
            file.seek(place)
            if file.read(4) != MAGIC:
                raise damaged(self._path, f"frame {number} is not where the file says")

    def _decoded(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            frame = np.array(self._file.read_frame(number)).reshape(self._inner)
            self._kept[number] = frame
            while len(self._kept) > 1 and sum(f.nbytes for f in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
            return frame


MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"
"""Begins and ends the list of chunks at the end of a file."""


def _check_end(path: Path) -> None:
    """Refuse a file without the list at its end, of which the library says it in bytes."""
    with path.open("rb") as file:
        legacy = file.read(len(LEGACY)) == LEGACY
        file.seek(-min(40, path.stat().st_size), 2)
        if not legacy and file.read(len(MAP)) != MAP:
            raise damaged(path, "the map of its chunks at the end is missing")


def _places(path: Path) -> dict[int, int]:
    """Return at which byte the chunk of each frame begins, from the map at the end of the file."""
    entry = struct.Struct("<QQ")
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-8, 2)
        file.seek(struct.unpack("<Q", file.read(8))[0])
        magic, n_name, n_data = struct.unpack("<4sIQ", file.read(16))
        if magic != MAGIC or n_name + n_data > length:
            raise damaged(path, "the map of its chunks is not where the file says")
        file.seek(n_name, 1)
        listed = file.read(n_data)
    places: dict[int, int] = {}
    at = 0
    while True:
        end = listed.index(b"!", at) + 1
        name = listed[at:end]
        if name == MAP:
            return places
        offset, _ = entry.unpack_from(listed, end)
        if name.startswith(b"ImageDataSeq|"):
            places[int(name[13:-1])] = offset
        at = end + entry.size


def _facts(file: Any, shown: dict[str, int]) -> Facts:
    """Return what the metadata say; `shown` are the lengths of the axes."""
    guesses: list[str] = []
    try:
        channels = list(getattr(file.metadata, "channels", None) or ())
    except (*BROKEN, NameError) as error:  # the library stumbles over planes without a dye
        channels = []
        guesses.append(f"Channels and pixel size could not be read: {one_line(error)}.")
    waves = [positive(c.channel.emissionLambdaNm) for c in channels]
    if len(waves) > 1 and len(set(waves)) == 1:
        # One wavelength for all, the transmitted light too, is a default of the program.
        waves = [None] * len(waves)
    named = tuple(_channel(c, wave) for c, wave in zip(channels, waves, strict=True))
    # What was never calibrated is given as 1.
    calibrated = bool(channels) and all(channels[0].volume.axesCalibrated[:2])
    x, y, _ = channels[0].volume.axesCalibration if calibrated else (None, None, None)
    heights: tuple[float, ...] | None = None
    step, interval = None, None
    for loop in file.experiment:
        settings = loop.parameters
        if loop.type == "ZStackLoop" and shown.get("z", 1) > 1:
            step = positive(abs(settings.stepUm))
            if step:
                up = [step * (i - settings.homeIndex) for i in range(loop.count)]
                heights = tuple(up if settings.bottomToTop else reversed(up))
                guesses.append(
                    "Heights of the planes are counted from the home plane of the z stack, "
                    "which need not be in focus."
                )
        elif loop.type == "TimeLoop":
            interval = _seconds(settings)
        elif loop.type == "NETimeLoop" and settings.periods:
            interval = _seconds(settings.periods[0])
            if len(settings.periods) > 1:
                guesses.append(
                    f"The recording has {len(settings.periods)} phases; the time interval is that "
                    "of the first."
                )
    return Facts(
        channels=named,
        pixel_size_um=PixelSize(
            z=step,
            y=positive(y),
            x=positive(x),
        ),
        time_interval_s=interval if shown.get("t", 1) > 1 else None,
        z_positions_um=heights,
        na=aperture(channels[0].microscope.objectiveNumericalAperture) if channels else None,
        guesses=tuple(guesses),
    )


def _seconds(period: Any) -> float | None:
    """Return what was asked for between two times, else what it took on average."""
    took = period.periodDiff.avg if period.periodDiff is not None else None
    ms = positive(period.periodMs) or positive(took)
    return None if ms is None else ms / 1000


def _channel(found: Any, emission: float | None) -> Channel:
    name = found.channel.name or ""
    flags = tuple(found.microscope.modalityFlags or ())
    excitation = positive(found.channel.excitationLambdaNm)
    modality = modality_of(name, contrasts=flags, wavelengths=bool(emission or excitation))
    lit = modality != "transmitted"
    colour = found.channel.color
    return Channel(
        name,
        modality,
        f"{colour.r:02X}{colour.g:02X}{colour.b:02X}" if colour is not None else None,
        emission_nm=emission if lit else None,
        excitation_nm=excitation if lit else None,
    )


def _load(path: Path, position: int, name: str, axes: str | None) -> LazyImage:
    """Open one position as an image."""
    check_beginning(path, (MAGIC, LEGACY), "Nikon (ND2)")
    frames = _Frames(path, position)
    return image_of(
        frames,
        frames.letters,
        frames.chunks,
        frames.facts,
        path=path,
        kind="nd2",
        scene=name,
        axes=axes,
    )
