"""A table with one row a file: where it belongs, and what was done to its well.

Columns are found by their names, in any case and order. A file that is named
without channel, z and time is an image of its own, whatever it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane, natural
from napari_virtualstain.io.layouts.tables import Finder, Row, Table, key_of
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place, well_of

__all__ = ["COLUMNS", "WholeFile", "columns_of", "is_manifest", "read_manifest"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "uri"),
    "folder": ("folder", "directory", "pathname", "dir"),
    "well": ("well", "wellid", "wellname", "wellposition"),
    "row": ("row", "wellrow"),
    "column": ("column", "col", "wellcolumn"),
    "site": ("site", "field", "fov", "position", "fieldid", "siteid"),
    "z": ("z", "slice", "plane", "zplane", "zindex", "zum", "depth"),
    "t": ("t", "time", "timepoint", "frame", "tindex"),
    "channel": ("channel", "channelname", "ch", "wavelength"),
    "stain": ("stain", "dye", "marker", "fluorophore"),
    "plate": ("plate", "plateid", "platename", "barcode"),
}
"""What a column is for, by the names that it may have; see `key_of`."""

FACTS: dict[str, str] = {
    "batch": "batch",
    "treatment": "treatment",
    "compound": "treatment",
    "drug": "treatment",
    "concentration": "concentration",
    "dose": "concentration",
    "cellline": "cell_line",
    "celltype": "cell_line",
    "cell": "cell_line",
    "moa": "moa",
}
"""Names under which facts are kept; columns with other names keep theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFile:
    """A file that is an image by itself.

    Parameters
    ----------
    scene
        Name of the scene.
    path
        The file.
    place
        Where it lies, if the table says so.
    names
        New names of its channels, by their old one or their number as text.
    there
        Whether the file exists.
    """

    scene: str
    path: Path
    place: Place | None = None
    names: tuple[tuple[str, str], ...] = ()
    there: bool = True


def columns_of(columns: Sequence[str]) -> dict[str, str]:
    """Return the column for each thing that a table says."""
    keys = {key_of(column): column for column in reversed(columns)}
    found = {}
    for what, names in COLUMNS.items():
        column = next((keys[name] for name in names if name in keys), None)
        if column is not None:
            found[what] = column
    return found


def is_manifest(columns: Sequence[str]) -> bool:
    """Return whether a table names files."""
    return "path" in columns_of(columns)


def facts_in(row: Row, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return what a row says beside the place: (name, value), empty values left out."""
    return tuple(
        (FACTS.get(key_of(column), column), row[column]) for column in columns if row[column]
    )


def place_in(row: Row, known: dict[str, str], facts: tuple[tuple[str, str], ...] = ()) -> Place:
    """Return where a row says that its file belongs."""
    said = {what: row[column] for what, column in known.items()}
    well = said.get("well", "")
    if not well and said.get("row"):
        well = well_of(said["row"], said.get("column", ""))
    return Place(plate=said.get("plate", ""), well=well, site=said.get("site", ""), facts=facts)


def scene_of(place: Place, plates: int) -> str:
    """Return the name of a scene: plate where there are several, well, site."""
    return "/".join(p for p in (place.plate if plates > 1 else "", place.well, place.site) if p)


def _numbers(table: Table, column: str | None) -> dict[str, int] | None:
    """Return a whole number for each value of a column, `None` if there is no such column.

    Raises
    ------
    ImageFileError
        If a value is no number.
    """
    if column is None:
        return None
    values = {row[column] for row in table.rows}
    try:
        known = {value: float(value or 0) for value in values}
    except ValueError:
        bad = next(value for value in sorted(values) if not _is_number(value or "0"))
        raise ImageFileError(
            f"{str(table.path)!r} has {bad!r} in the column {column!r}, which is no number. "
            "Number the planes, or leave the column out."
        ) from None
    if all(number.is_integer() for number in known.values()):
        return {value: int(number) for value, number in known.items()}
    order = sorted(set(known.values()))  # heights or seconds, not numbers
    return {value: order.index(number) for value, number in known.items()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_manifest(table: Table) -> tuple[FolderPlan, list[WholeFile]]:
    """Return where each file of a manifest belongs, and the files that are whole images.

    Raises
    ------
    ImageFileError
        If no column names files, or a path climbs out of the folder.
    """
    known = columns_of(table.columns)
    if "path" not in known:
        raise ImageFileError(
            f"{str(table.path)!r} has no column with the paths of the images; it has "
            f"{', '.join(table.columns[:12])}. Name one of them 'path'."
        )
    finder = Finder(table.path.parent)
    others = [column for column in table.columns if column not in known.values()]
    along_z, along_t = (_numbers(table, known.get(axis)) for axis in "zt")
    plates = len({row[known["plate"]] for row in table.rows}) if "plate" in known else 1
    planes: list[Plane] = []
    whole: list[WholeFile] = []
    places: dict[str, Place] = {}
    absent: list[str] = []
    here: set[str] = set()  # scenes of which some file is there
    for row in table.rows:
        name = row[known["path"]]
        if not name:
            continue
        path, there = finder.find(name, row[known["folder"]] if "folder" in known else "")
        if not there:
            absent.append(name)
        place = place_in(row, known, facts_in(row, others))
        scene = scene_of(place, plates)
        channel = next(
            (row[known[key]] for key in ("stain", "channel") if key in known and row[known[key]]),
            "",
        )
        z = "" if along_z is None else row[known["z"]]
        t = "" if along_t is None else row[known["t"]]
        if not (channel or z or t):
            label = "/".join(p for p in (scene, Path(name).stem) if p)
            lies = place if place.well else None
            whole.append(WholeFile(scene=label, path=path, place=lies, there=there))
            continue
        places.setdefault(scene, place)
        if there:
            here.add(scene)
        planes.append(
            Plane(
                path=path,
                channel=channel or "channel 0",
                scene=scene,
                t=along_t[t] if along_t is not None else 0,
                z=along_z[z] if along_z is not None else 0,
                has_t=bool(t),
                has_z=bool(z),
            )
        )
    if not planes and not whole:
        raise ImageFileError(
            f"{str(table.path)!r} names no file: its column {known['path']!r} is empty. "
            "Write one path a row."
        )
    if len(absent) == len(planes) + len(whole):
        raise ImageFileError(
            f"{str(table.path)!r} names {len(absent)} files, of which none is there, for example "
            f"{absent[0]!r}. Put the table into the folder that its paths begin in."
        )
    shown = [plane for plane in planes if plane.scene in here]
    names = sorted({plane.channel for plane in shown}, key=natural)
    plan = FolderPlan(
        planes=tuple(shown),
        channels=tuple(Channel(name, modality_of(name)) for name in names),
        places={scene: place for scene, place in places.items() if place.well},
    )
    if absent:
        plan = plan.with_guess(
            f"{len(absent)} of the {len(planes) + len(whole)} files that the table names are not "
            f"there, for example {absent[0]!r}."
        )
    twins = Counter(_at(one) for one in whole)
    return plan, [
        one if one.place is None or not one.place.site or twins[_at(one)] > 1
        # The place tells images apart, the name of the file says nothing more.
        else replace(one, scene=one.scene.rpartition("/")[0])
        for one in whole
        if one.there
    ]  # fmt: skip


def _at(one: WholeFile) -> tuple[str, str, str]:
    place = one.place or Place()
    return place.plate, place.well, place.site
