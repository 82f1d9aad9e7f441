"""How results become an OME-Zarr 0.5 plate that others open: the groups above its fields.

The fields themselves are stores of their own, written where `field_path` says; a
field is listed once it is there, so that no program opens what does not exist.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import Any

from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.layouts.base import natural
from napari_virtualstain.io.ngff_write import VERSION
from napari_virtualstain.io.plate import well_name

__all__ = ["PlateStore", "field_name", "field_path"]


def field_path(row: int, column: int, field: str) -> str:
    """Return where in a plate a field lies; row and column from 0.

    Examples
    --------
    >>> field_path(1, 2, "f01")
    'B/3/f01'
    """
    letters = well_name(row, 0).rstrip("0123456789")
    return f"{letters}/{column + 1}/{field}"


def field_name(site: str, taken: Collection[str] = ()) -> str:
    """Return the name of a field in a well: that of its site, in letters and digits alone.

    OME-Zarr allows no others. A site that has no name is a number.

    Parameters
    ----------
    site
        As its image calls it.
    taken
        Names of fields that the well has already, in lower case.

    Examples
    --------
    >>> field_name("f01"), field_name("tile 1"), field_name(""), field_name("f01", ["f01"])
    ('f01', 'tile1', '0', 'f01x2')
    """
    base = re.sub(r"[^0-9A-Za-z]+", "", site)
    names = (f"{base}x{n}" if n > 1 else base for n in count(1)) if base else map(str, count())
    return next(name for name in names if name.casefold() not in taken)


class PlateStore:
    """The groups of a plate, rewritten whenever a field comes.

    Parameters
    ----------
    path
        Of the plate; made with its first field.
    name
        For viewers.
    rows, columns
        How many the plate has, wells without fields included.
    """

    def __init__(self, path: Path, *, name: str, rows: int, columns: int) -> None:
        self.path = path
        self._name, self._rows, self._columns = name, rows, columns
        self._fields: dict[tuple[int, int], set[str]] = {}
        self._sites: dict[str, str] = {}

    def add(self, row: int, column: int, field: str, *, site: str | None = None) -> None:
        """List a field whose store is there.

        Parameters
        ----------
        row, column
            Of its well, from 0.
        field
            Its name, see `field_name`.
        site
            What its site is called, if that is something else; ``""`` if it has no name.

        Raises
        ------
        DiskError
            If the groups cannot be written.
        """
        self._fields.setdefault((row, column), set()).add(field)
        if site is not None and site != field:
            self._sites[field_path(row, column, field)] = site
        well = self.path / field_path(row, column, field).rpartition("/")[0]
        with disk_errors(self.path):
            well.mkdir(parents=True, exist_ok=True)
            _write_group(well, {"ome": {"version": VERSION, "well": self._well(row, column)}})
            _write_group(well.parent, {})
            ours = {"napari_virtualstain": {"sites": self._sites}} if self._sites else {}
            plate = {"ome": {"version": VERSION, "plate": self._plate()}}
            _write_group(self.path, plate | ours)

    def _well(self, row: int, column: int) -> dict[str, Any]:
        fields = sorted(self._fields[row, column], key=natural)
        return {"images": [{"path": field} for field in fields]}

    def _plate(self) -> dict[str, Any]:
        rows = [field_path(row, 0, "0").split("/")[0] for row in range(self._rows)]
        return {
            "name": self._name,
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": str(column + 1)} for column in range(self._columns)],
            "wells": [
                {
                    "path": f"{rows[row]}/{column + 1}",
                    "rowIndex": row,
                    "columnIndex": column,
                }
                for row, column in sorted(self._fields)
            ],
            "field_count": max(len(fields) for fields in self._fields.values()),
        }


def _write_group(folder: Path, attributes: dict[str, Any]) -> None:
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    scratch = folder / f"zarr.{os.getpid()}.partial"
    scratch.write_text(json.dumps(content, indent=2), encoding="utf-8")
    scratch.replace(folder / "zarr.json")
