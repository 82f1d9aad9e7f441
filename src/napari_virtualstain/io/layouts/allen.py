"""The Allen hiPSC single-cell images: a table, and a 3-D OME-TIFF with several channels a row.

Every cell line has one tagged structure, so that a file shows DNA, membrane
and one of 25 structures; the others are not in it. The column of the table
names that structure, and the channel is named after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari_virtualstain.errors import ImageFileError, parse_json
from napari_virtualstain.io.layouts.manifest import WholeFile
from napari_virtualstain.io.layouts.tables import Finder, Row, Table, key_of
from napari_virtualstain.io.plate import Place

__all__ = ["is_allen", "read_allen"]

PATHS = ("crop_raw", "fov_path", "path_fov", "save_reg_path")
"""Columns with an image, the first that the table has."""
STRUCTURE = ("structure_name", "structureProteinName", "ProteinDisplayName")
GENERIC = ("structure", "struct", "gfp", "egfp")
"""How files name the channel of the tagged structure."""
NUMBERS = {
    "ChannelNumberBrightfield": "Brightfield",
    "ChannelNumber405": "dna",
    "ChannelNumber638": "membrane",
}
KEPT = ("cell_stage", "CellLine", "WorkflowId", "InstrumentId", "Gene")


def is_allen(columns: Sequence[str]) -> bool:
    """Return whether a table is one of these."""
    return any(c in columns for c in PATHS) and any(c in columns for c in STRUCTURE)


def read_allen(table: Table) -> list[WholeFile]:
    """Return the images of a table, each once: a field is in the rows of all its cells.

    Raises
    ------
    ImageFileError
        If none of the files is there.
    """
    path_column = next(column for column in PATHS if column in table.columns)
    structure = next(column for column in STRUCTURE if column in table.columns)
    finder = Finder(table.path.parent)
    seen: dict[str, WholeFile] = {}
    asked = 0
    for row in table.rows:
        name = row[path_column]
        if not name or name in seen:
            continue
        asked += 1
        path, there = finder.find(name)
        if not there:
            continue
        label = next((row[c] for c in _labels(path_column) if row.get(c)), path.stem)
        facts = [("structure", row[structure])] if row[structure] else []
        facts += [(key, row[key]) for key in KEPT if row.get(key)]
        keys = {key_of(column): column for column in table.columns}
        well = next((row[keys[k]] for k in ("well", "wellname", "wellposition") if k in keys), "")
        seen[name] = WholeFile(
            scene="/".join(part for part in (row[structure], label) if part),
            path=path,
            place=Place(plate=row.get("PlateId", ""), well=well, site=label, facts=tuple(facts)),
            names=_names(row, row[structure], path_column),
        )
    if not seen:
        raise ImageFileError(
            f"{str(table.path)!r} names {asked} images, of which none is there, for example "
            f"{table.rows[0][path_column]!r}. Put the table beside the folders of images."
        )
    return list(seen.values())


def _labels(path_column: str) -> tuple[str, ...]:
    return ("CellId", "cell_id") if path_column == "crop_raw" else ("FOVId", "fov_id")


def _names(row: Row, structure: str, path_column: str) -> tuple[tuple[str, str], ...]:
    """Return what to call the channels: by the numbers of the table, else by their names."""
    names = [
        (str(int(float(row[column]))), name)
        for column, name in NUMBERS.items()
        if path_column != "crop_raw" and _is_number(row.get(column, ""))
    ]
    if path_column != "crop_raw" and _is_number(row.get("ChannelNumberStruct", "")) and structure:
        names.append((str(int(float(row["ChannelNumberStruct"]))), structure))
    if path_column == "crop_raw":
        names += [(str(n), name) for n, name in enumerate(_listed(row.get("name_dict", "")))]
    if structure:
        names = [(key, structure if name in GENERIC else name) for key, name in names]
        names += [(generic, structure) for generic in GENERIC]
    return tuple(names)


def _listed(text: str) -> list[str]:
    """Return the channels of ``crop_raw`` in a ``name_dict``, a Python dictionary as text."""
    try:
        found = parse_json(re.sub(r"'", '"', text)).get("crop_raw", [])
        return [str(name) for name in found]
    except (ValueError, AttributeError, TypeError):
        return []


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.0*)?", text))
