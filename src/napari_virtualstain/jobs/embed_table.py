"""Features in a file: one row a field, well or treatment, as pycytominer reads them.

Columns that begin with ``Metadata_`` say what a row is about, all others are features. A table is
written row by row: what is on disk is whole but for the last line, which a kill may have cut.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ImageFileError, OutputExistsError
from napari_virtualstain.io.disk import disk_errors

__all__ = ["FIELDS", "METADATA", "FeatureFile", "Features", "read_features", "write_features"]

FIELDS = "fields.csv"
"""One row a field."""
METADATA = "Metadata_"
_KEYS = ("Path", "Scene")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """A table of features.

    Parameters
    ----------
    metadata
        By name without ``Metadata_``: one value a row, ``""`` where nothing is known.
    names
        Of the features.
    values
        (rows, features); NaN is missing.
    """

    metadata: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def blocks(self) -> list[slice]:
        """Return the columns of each channel: those whose names differ in the number alone."""
        channels = [name.rpartition("_")[0] for name in self.names]
        starts = [n for n, one in enumerate(channels) if n == 0 or one != channels[n - 1]]
        return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(channels)], strict=True)]

    def rows(self, chosen: Sequence[bool]) -> Features:
        """Return some of the rows."""
        kept = np.asarray(chosen, bool)
        return Features(
            metadata={
                name: tuple(v for v, k in zip(values, kept, strict=True) if k)
                for name, values in self.metadata.items()
            },
            names=self.names,
            values=self.values[kept],
        )


class FeatureFile:
    """A table that is written row by row, and gone on with.

    Attributes
    ----------
    done
        (path, scene) of the rows that were there.
    rows
        How many there are now.

    Parameters
    ----------
    path
        Of the file.
    metadata, names
        Its columns; ``Path`` and ``Scene`` tell rows apart.
    resume
        Keep the rows that are there, of the same columns.

    Raises
    ------
    OutputExistsError
        If the rows that are there have other columns.
    DiskError
        If the file cannot be written.
    """

    def __init__(
        self, path: Path, *, metadata: Sequence[str], names: Sequence[str], resume: bool
    ) -> None:
        self._path = path
        header = [f"{METADATA}{name}" for name in metadata] + list(names)
        self.done: set[tuple[str, ...]] = set()
        self.rows = 0
        with disk_errors(path):
            whole = _whole_lines(path) if resume else b""
            if whole:
                there = list(csv.reader(io.StringIO(whole.decode("utf-8"), newline="")))
                if there[0] != header:
                    raise OutputExistsError(
                        f"'{path}' has other columns than this run would write, for other channels "
                        "or labels. Run it with those of before, or replace it with --overwrite."
                    )
                at = [metadata.index(key) for key in _KEYS]
                self.done = {tuple(row[n] for n in at) for row in there[1:]}
                self.rows = len(there) - 1
                # Cut off what is left of a line, so that the next one is whole.
                with path.open("r+b") as file:
                    file.truncate(len(whole))
            self._file: IO[str] = path.open("a" if whole else "w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            if not whole:
                self._writer.writerow(header)
                self._file.flush()

    def add(self, metadata: Sequence[str], values: Iterable[float]) -> None:
        """Write one row, which is on its way to the disk afterwards."""
        with disk_errors(self._path):
            self._writer.writerow([*metadata, *map(_number, values)])
            self._file.flush()
        self.rows += 1

    def close(self) -> None:
        """Close the file."""
        with disk_errors(self._path):
            self._file.close()


def _whole_lines(path: Path) -> bytes:
    """Return a table up to its last end of a line, nothing if there is none.

    No value of ours holds the end of a line, so that each line is a row.
    """
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def _number(value: float) -> str:
    """Return a number that is read back as the same float32, ``""`` for NaN."""
    return "" if np.isnan(value) else f"{value:.9g}"


def read_features(path: Path) -> Features:
    """Read a table of features.

    Raises
    ------
    ImageFileError
        If it is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            header = next(rows)
            about = [n for n, name in enumerate(header) if name.startswith(METADATA)]
            there = [n for n, name in enumerate(header) if not name.startswith(METADATA)]
            said: list[list[str]] = []
            values: list[NDArray[Any]] = []
            for row in rows:
                said.append([row[n] for n in about])
                values.append(np.array([float(row[n] or "nan") for n in there]))
    except (OSError, StopIteration, ValueError, IndexError) as error:
        raise ImageFileError(
            f"'{path}' is no table of features: {error}. Write it again with `virtualstain embed`."
        ) from error
    columns = zip(*said, strict=True) if said else [()] * len(about)
    return Features(
        metadata={
            header[n].removeprefix(METADATA): tuple(column)
            for n, column in zip(about, columns, strict=True)
        },
        names=tuple(header[n] for n in there),
        values=np.array(values).reshape(len(values), len(there)),
    )


def write_features(path: Path, features: Features) -> None:
    """Write a table in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    scratch = path.with_name(f"{path.name}.partial")
    with disk_errors(path):
        with scratch.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*(f"{METADATA}{name}" for name in features.metadata), *features.names])
            for number, row in enumerate(features.values):
                said = [column[number] for column in features.metadata.values()]
                writer.writerow([*said, *map(_number, row)])
        scratch.replace(path)
