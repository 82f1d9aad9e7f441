"""Where the tiles of a CZI lie: in the picture, and in the file.

libCZI trusts the lengths at the head of each tile and dies of wrong ones.
They are looked at here before it reads a tile for the first time. The
directory also tells which planes have no tile at all.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.tiff_file import damaged

__all__ = ["TileDirectory"]

SEGMENT = struct.Struct("<16sqq")  # name, bytes allocated, bytes used
DIMENSION = np.dtype([("name", "S4"), ("at", "<i4"), ("n", "<i4"), ("_", "<f4"), ("held", "<i4")])
HEAD = struct.Struct("<6xq14xi")
ENTRY = HEAD.size
"""Bytes of an entry of the directory before its axes: where the tile is, how many axes it has."""

MOST_AXES = 40


class TileDirectory:
    """The tiles of a file, pyramids left out.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ImageFileError
        If there is no directory, or it points out of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._length = path.stat().st_size
        self._checked: set[int] = set()
        self._lock = threading.Lock()
        with path.open("rb") as file:
            place = struct.unpack("<q", _part(path, file, 32 + 52, 8))[0]
            data, used = self._segment(file, place, b"ZISRAWDIRECTORY")
            count = struct.unpack("<i", _part(path, file, data, 4))[0]
            listed = _part(path, file, data + 128, max(0, used - 128))
        self.position, self._at, self._n = _entries(path, listed, count)

    def _segment(self, file: Any, place: int, name: bytes) -> tuple[int, int]:
        """Return where the content of a segment begins, and how long it is."""
        if not 0 < place < self._length:
            raise damaged(self._path, f"it has no {name.decode()} where it says")
        found, allocated, used = SEGMENT.unpack(_part(self._path, file, place, SEGMENT.size))
        n = used or allocated  # 0: all of it
        begins = place + SEGMENT.size
        if found.rstrip(b"\0") != name or n < 0 or begins + n > self._length:
            raise damaged(self._path, f"its {name.decode()} is not whole")
        return begins, n

    def area(self, scene: int | None) -> int:
        """Return the pixels of all tiles of a scene."""
        return int((self._n["Y"] * self._n["X"])[self.of_plane({}, scene)].sum())

    def largest(self) -> tuple[int, int]:
        """Return the longest edges of a tile along y and x."""
        return int(self._n["Y"].max(initial=0)), int(self._n["X"].max(initial=0))

    def of_plane(self, plane: Mapping[str, int], scene: int | None) -> NDArray[np.bool_]:
        """Return which tiles belong to a plane of a scene."""
        mine = np.ones(len(self.position), bool)
        for axis, at in [*plane.items(), *([("S", scene)] if scene is not None else [])]:
            if axis in self._at:
                mine &= self._at[axis] == at
        return mine

    def without_tiles(self, lengths: list[int], scene: int | None) -> NDArray[np.intp]:
        """Return t, c, z of the planes that no tile belongs to; `lengths` are those of T, C, Z."""
        empty = np.ones(lengths, bool)
        mine = self.of_plane({}, scene)
        nowhere = np.zeros(len(self.position), np.int64)
        places = [self._at.get(axis, nowhere)[mine] for axis in "TCZ"]
        inside = np.all([(p >= 0) & (p < n) for p, n in zip(places, lengths, strict=True)], axis=0)
        empty[tuple(p[inside] for p in places)] = False
        return np.argwhere(empty)

    def check(
        self, plane: Mapping[str, int], scene: int | None, rectangle: tuple[int, int, int, int]
    ) -> None:
        """Refuse tiles whose lengths cannot be, among those that a region needs.

        Parameters
        ----------
        plane, scene
            As in `of_plane`.
        rectangle
            First row and column, last row and column + 1.
        """
        top, left, bottom, right = rectangle
        y, x = self._at["Y"], self._at["X"]
        needed = self.of_plane(plane, scene)
        needed &= (y < bottom) & (x < right)
        needed &= (y + self._n["Y"] > top) & (x + self._n["X"] > left)
        with self._lock:
            new = [int(p) for p in self.position[needed] if int(p) not in self._checked]
            if not new:
                return
            with self._path.open("rb", buffering=0) as file:
                for place in new:
                    self._check_tile(file, place)
            self._checked.update(new)

    def _check_tile(self, file: Any, place: int) -> None:
        data, held = self._segment(file, place, b"ZISRAWSUBBLOCK")
        head = _part(self._path, file, data, 16 + ENTRY)
        words, attached, pixels = struct.unpack_from("<iiq", head)
        _, n_axes = HEAD.unpack_from(head, 16)
        if head[16:18] != b"DV" or not 0 < n_axes <= MOST_AXES:
            raise damaged(self._path, f"the tile at byte {place} does not say where it belongs")
        if min(words, attached, pixels) < 0 or words + attached + pixels > held:
            raise damaged(
                self._path,
                f"the tile at byte {place} states {words + attached + pixels} bytes and has {held}",
            )


def _part(path: Path, file: Any, at: int, n: int) -> bytes:
    file.seek(at)
    part: bytes = file.read(n)
    if len(part) != n:
        raise damaged(path, f"it ends at byte {at + len(part)}, inside its directory")
    return part


def _entries(
    path: Path, listed: bytes, count: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
    """Return place in the file, and start and length along each axis, of the finest tiles."""
    places: list[int] = []
    counts: list[int] = []
    parts: list[bytes] = []
    at = 0
    for _ in range(count):
        if listed[at : at + 2] != b"DV" or at + ENTRY > len(listed):
            raise damaged(path, f"its directory ends after {len(places)} of {count} tiles")
        place, n = HEAD.unpack_from(listed, at)
        end = at + ENTRY + n * DIMENSION.itemsize
        if not 0 < n <= MOST_AXES or end > len(listed):
            raise damaged(path, f"a tile of its directory has {n} axes")
        places.append(place)
        counts.append(n)
        parts.append(listed[at + ENTRY : end])
        at = end
    if not places:
        raise damaged(path, "its directory is empty")
    axes = np.frombuffer(b"".join(parts), DIMENSION)
    tile = np.repeat(np.arange(len(places)), counts)
    names = [name.decode("latin-1") for name in np.unique(axes["name"]).tolist()]
    if not {"X", "Y"} <= set(names):
        raise damaged(path, "its tiles have no place in the picture")
    starts = {name: np.zeros(len(places), np.int64) for name in names}
    lengths = {name: np.ones(len(places), np.int64) for name in names}
    for name in names:
        mine = axes["name"] == name.encode("latin-1")
        starts[name][tile[mine]], lengths[name][tile[mine]] = axes["at"][mine], axes["n"][mine]
    # A tile of a pyramid is stored smaller than it is shown.
    smaller = np.isin(axes["name"], (b"X", b"Y")) & (axes["n"] != axes["held"])
    finest = np.ones(len(places), bool)
    finest[tile[smaller]] = False
    return (
        np.array(places, np.int64)[finest],
        {name: values[finest] for name, values in starts.items()},
        {name: values[finest] for name, values in lengths.items()},
    )
