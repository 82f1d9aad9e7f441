"""How results become an OME-Zarr 0.5 plate that others open: the groups above its fields.

The fields themselves are stores of their own, written where `field_path` says; a
field is listed once it is there, so that no program opens what does not exist.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.ngff_write import VERSION
from napari_virtualstain.io.plate import well_name

__all__ = ["PlateStore", "field_path"]


def field_path(row: int, column: int, field: int) -> str:
    """Return where in a plate a field lies; all numbers from 0.

    Examples
    --------
    >>> field_path(1, 2, 0)
    'B/3/0'
    """
    letters = well_name(row, 0).rstrip("0123456789")
    return f"{letters}/{column + 1}/{field}"


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
        self._fields: dict[tuple[int, int], set[int]] = {}

    def add(self, row: int, column: int, field: int) -> None:
        """List a field whose store is there.

        Raises
        ------
        DiskError
            If the groups cannot be written.
        """
        self._fields.setdefault((row, column), set()).add(field)
        well = self.path / field_path(row, column, 0).rpartition("/")[0]
        with disk_errors(self.path):
            well.mkdir(parents=True, exist_ok=True)
            _write_group(well, {"ome": {"version": VERSION, "well": self._well(row, column)}})
            _write_group(well.parent, {})
            _write_group(self.path, {"ome": {"version": VERSION, "plate": self._plate()}})

    def _well(self, row: int, column: int) -> dict[str, Any]:
        fields = sorted(self._fields[row, column])
        return {"images": [{"path": str(field)} for field in fields]}

    def _plate(self) -> dict[str, Any]:
        rows = [field_path(row, 0, 0).split("/")[0] for row in range(self._rows)]
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
