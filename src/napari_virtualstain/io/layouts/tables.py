"""How tables that people and programs write are read, and their paths found.

A table is comma, tab or semicolon separated text with a header. A path in it
is taken relative to the folder of the table and may not climb out of it; an
absolute path is taken if it exists.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_virtualstain.errors import ImageFileError

__all__ = ["Finder", "Row", "Table", "header_of", "key_of", "read_table"]

LARGEST = 256 * 2**20
"""Bytes of a table; that of 97,504 images has 20 million."""
SEPARATORS = ",\t;"

Row = Mapping[str, str]
"""Value by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it was written; blanks at the ends of values left out."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def key_of(column: str) -> str:
    """Return how a column is compared: without case, separators and CellProfiler's prefixes.

    Examples
    --------
    >>> key_of("Metadata_Cell Line"), key_of("Image_Metadata_Well_DAPI"), key_of("Time-Point")
    ('cellline', 'welldapi', 'timepoint')
    """
    plain = re.sub(r"[^a-z0-9]", "", column.lower())
    return re.sub(r"^(image)?metadata(?=.)", "", plain)


def _lines(path: Path, limit: int = LARGEST) -> list[str]:
    if path.stat().st_size > LARGEST:
        raise ImageFileError(
            f"{str(path)!r} is larger than {LARGEST >> 20} MB, too large for a table of images. "
            "Split it by plate."
        )
    with path.open("rb") as file:
        content = file.read(limit)
    if b"\0" in content[:4096] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ImageFileError(f"{str(path)!r} is not a text table. Save it as CSV.")
    for encoding in ("utf-16", "utf-8-sig") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else (
        "utf-8-sig",
    ):  # fmt: skip
        try:
            return content.decode(encoding).splitlines()
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").splitlines()


def header_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a table, none if it cannot be read as one."""
    try:
        lines = _lines(path, limit=1 << 16)
        return tuple(_cells(lines[:1], _separator(lines))[0])
    except (OSError, ImageFileError, IndexError, csv.Error):
        return ()


def _separator(lines: Sequence[str]) -> str:
    return max(SEPARATORS, key=lambda sign: lines[0].count(sign))


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [[cell.strip().strip('"') for cell in row] for row in rows]


def read_table(path: Path) -> Table:
    """Read a table.

    Raises
    ------
    ImageFileError
        If it is none.
    """
    lines = _lines(path)
    try:
        rows = [row for row in _cells(lines, _separator(lines)) if any(row)] if lines else []
    except csv.Error as error:
        raise ImageFileError(
            f"{str(path)!r} is damaged or not a table: {error}. Save it as CSV."
        ) from error
    if len(rows) < 2:
        raise ImageFileError(
            f"{str(path)!r} has no rows. It needs a header and one row an image file."
        )
    columns = tuple(rows[0])
    # Short rows are filled up: spreadsheets leave out empty cells at the end.
    filled = [[*row, *[""] * (len(columns) - len(row))] for row in rows[1:]]
    return Table(
        path=path,
        columns=columns,
        rows=tuple(dict(zip(columns, row, strict=False)) for row in filled),
    )


class Finder:
    """Finds the files that a table names; each folder is listed once.

    Parameters
    ----------
    root
        Folder of the table.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, frozenset[str]] = {}

    def _has(self, folder: str, name: str) -> bool:
        if folder not in self._listed:
            try:
                with os.scandir(folder) as entries:
                    self._listed[folder] = frozenset(entry.name for entry in entries)
            except OSError:
                self._listed[folder] = frozenset()
        return name in self._listed[folder]

    def find(self, name: str, folder: str = "") -> tuple[Path, bool]:
        """Return where a file is, and whether it is there.

        Parameters
        ----------
        name
            As the table has it: a name or a path.
        folder
            Of another column: perhaps one on the computer that wrote the table, of which the
            last parts are tried below the folder of the table.

        Raises
        ------
        ImageFileError
            If a relative path climbs out of the folder of the table.
        """
        path = _parts(folder) + _parts(name)
        joined = f"{folder.rstrip('/')}/{name}" if folder and not _is_absolute(name) else name
        if not _is_absolute(joined):
            depth = 0
            for part in path:
                depth += {"..": -1, ".": 0}.get(part, 1)
                if depth < 0:
                    raise ImageFileError(
                        f"{joined!r} climbs out of {str(self._root)!r}, the folder of the table. "
                        "Move the table above the images, or write whole paths."
                    )
            tries = [os.path.normpath(self._root.joinpath(*path))]
        else:
            tries = [os.path.normpath(joined)]
        # Of a folder on another computer the last parts: Week1/Week1_22123, then Week1_22123.
        kept = [part for part in path if part not in ("..", ".")]
        tries += [str(self._root.joinpath(*kept[n:])) for n in range(len(kept))]
        for one in tries:
            at, _, last = one.rpartition(os.sep)
            if last and self._has(at or os.sep, last):
                return Path(one), True
        return Path(tries[0]), False


def _parts(path: str) -> tuple[str, ...]:
    plain = path.replace("\\", "/")
    return tuple(p for p in PurePosixPath(plain).parts if p != "/" and not p.endswith(":"))


def _is_absolute(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or bool(PureWindowsPath(path).drive)
