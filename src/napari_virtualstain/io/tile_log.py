"""Which tiles of a store are done, and what was seen while they were written.

Two files grow by a line a tile: the numbers of the tiles that are done, which
others read while the run goes on, and notes for whoever finishes the store:
smallest and largest values, pixels clipped or missing, and chunks of coarser levels that
are complete. So no pixel is read again that somebody has seen, however often
the run was cut off, and by however many processes it was written.

A line is appended in one step after the pixels were written, the notes first.
When a process is killed, every tile that is listed is there. When the computer
loses power, the last seconds of that may be lost in any order; therefore files
are handed to the disk every few seconds, the notes then say which tiles are
safe, and whoever goes on after a new start of the computer believes only those.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil

from napari_virtualstain.errors import parse_json
from napari_virtualstain.io.coarser import Place
from napari_virtualstain.io.record import COMMITS, read_commits
from napari_virtualstain.io.windows import Extent

__all__ = ["NOTES", "SYNC_S", "Notes", "TileLog", "read_notes"]

NOTES = "0/notes"
"""Below the finest array, for the reason that `io.record.COMMITS` is."""
SYNC_S = 5.0
"""Between two times that what was written is handed to the disk."""


@dataclass(slots=True)
class Notes:
    """What is known of a store that is not complete.

    Parameters
    ----------
    tiles
        The last entry of each tile.
    built
        Chunks of coarser levels that are complete on disk.
    rewritten
        Whether pixels were written again that had been seen.
    safe
        Tiles that the disk has.
    """

    tiles: dict[int, dict[str, Any]] = field(default_factory=dict)
    built: set[Place] = field(default_factory=set)
    rewritten: bool = False
    safe: set[int] = field(default_factory=set)

    def doubtful(self, tiles: Iterable[int]) -> set[int]:
        """Return the tiles that were listed before the computer started anew, and are not safe."""
        now = _started()
        return {
            tile
            for tile in tiles
            if tile not in self.safe and self.tiles.get(tile, {}).get("start", now) != now
        }

    def covers(self, tiles: Iterable[int]) -> bool:
        """Return whether the values of every tile are known."""
        return not self.rewritten and self.tiles.keys() >= set(tiles)

    def extent(self, tiles: Iterable[int], n_channels: int, missing: int | None) -> Extent:
        """Return what the values of some tiles lie between."""
        seen = Extent(n_channels, missing)
        for tile in tiles:
            entry = self.tiles.get(tile) or {}
            for channel, (low, high) in enumerate(entry.get("seen", ())):
                if low is not None:
                    seen.include(channel, low, high)
        return seen

    def counted(
        self, what: Literal["clipped", "gaps"], tiles: Iterable[int], n_channels: int
    ) -> list[int]:
        """Return how many pixels of each channel were clipped, or missing, in some tiles."""
        total = [0] * n_channels
        for tile in tiles:
            for channel, count in enumerate((self.tiles.get(tile) or {}).get(what, ())):
                total[channel] += count
        return total


def read_notes(store: Path) -> Notes:
    """Return what was noted of a store; lines that were cut off do not count."""
    try:
        text = (store / NOTES).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return Notes()
    notes = Notes()
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        if "tile" in entry:
            notes.tiles[entry["tile"]] = entry
            notes.safe.discard(entry["tile"])
        notes.safe.update(entry.get("safe", ()))
        notes.built.update(tuple(place) for place in entry.get("built", ()))
        notes.built.difference_update(tuple(place) for place in entry.get("gone", ()))
        notes.rewritten |= "gone" in entry
    return notes


class TileLog:
    """The two files of a store, as one process appends to them.

    Parameters
    ----------
    store
        Its path.
    send
        Takes each line, and the name of its file, in place of the disk: on a network disk lines
        that several computers append at the same time may be lost, so one process appends all.
    """

    def __init__(self, store: Path, send: Callable[[str, str], None] | None = None) -> None:
        self._store = store
        self._send = send
        self._synced = time.monotonic()
        self._unsynced: list[Path] = []
        self._unsafe: list[int] = []

    def committed(self) -> set[int]:
        """Return the tiles that are listed, by whichever process."""
        return read_commits(self._store)

    def written(self, files: Iterable[Path]) -> None:
        """Remember files that the disk may not have yet."""
        self._unsynced.extend(files)

    def note(self, **entry: Any) -> None:
        """Append a line for whoever finishes the store."""
        self.append(NOTES, json.dumps(entry, allow_nan=False))

    def commit(
        self, tile: int, seen: Extent, clipped: Sequence[int], built: Sequence[Place]
    ) -> None:
        """List a tile, and note what was seen since the one before.

        Parameters
        ----------
        tile
            Its number.
        seen, clipped
            By channel.
        built
            Chunks of coarser levels that became complete.
        """
        entry: dict[str, Any] = {
            "tile": tile,
            "start": _started(),
            "seen": [
                (low, high) if low <= high else (None, None)
                for low, high in zip(seen.low, seen.high, strict=True)
            ],
        }
        if any(clipped):
            entry["clipped"] = list(clipped)
        if any(seen.gaps):
            entry["gaps"] = seen.gaps
        if built:
            entry["built"] = list(built)
        self.note(**entry)
        if time.monotonic() - self._synced > SYNC_S:
            self.sync()
        self.append(COMMITS, str(tile))
        self._unsafe.append(tile)

    def append(self, name: str, line: str) -> None:
        """Append a line to `NOTES` or `io.record.COMMITS`, also one that another process sent."""
        if self._send is not None:
            self._send(name, line)
            return
        with (self._store / name).open("ab", buffering=0) as file:
            # Begins with a line end too: half a line left by a crash must not join the next.
            file.write(f"\n{line}\n".encode("ascii"))

    def sync(self) -> None:
        """Hand to the disk what was written, and note which tiles are safe."""
        for path in self._unsynced:
            with suppress(FileNotFoundError):  # a chunk of nothing but missing pixels has no file
                _to_disk(path)
        self._unsynced.clear()
        if self._unsafe:
            self.note(safe=self._unsafe)
            self._unsafe = []
            if self._send is None:
                _to_disk(self._store / NOTES)
                _to_disk(self._store / COMMITS)
        self._synced = time.monotonic()

    def strike(self, tiles: Collection[int]) -> None:
        """Take tiles off the list: they have to be written again."""
        if not tiles:
            return
        left = sorted(self.committed() - set(tiles))
        scratch = self._store / f"{COMMITS}.new"
        scratch.write_text("".join(f"\n{tile}\n" for tile in left), encoding="ascii")
        scratch.replace(self._store / COMMITS)


@cache
def _started() -> str:
    """Return what is another one after each start of the computer."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()} {psutil.boot_time():.0f}"


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(number)
    finally:
        os.close(number)
