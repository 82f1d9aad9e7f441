"""CellProfiler's LoadData tables: one row a field, a column a channel; BBBC021 is one of them.

``FileName_OrigDNA`` and ``PathName_OrigDNA`` name the file of a channel,
``Metadata_Plate``, ``Metadata_Well`` and ``Metadata_Site`` the field, and, in
tables of Harmony, ``Metadata_PositionZ_OrigDNA`` the height in metres. Tables of
BBBC021 begin each column with ``Image_`` and have what was done to a well in
two more tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.layouts.manifest import facts_in, scene_of
from napari_virtualstain.io.layouts.tables import Finder, Row, Table, key_of, read_table
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place

__all__ = ["is_loaddata", "read_loaddata"]

FILE = re.compile(r"(?:Image_)?FileName_(?!Illum)(?P<channel>.+)", re.IGNORECASE)
ILLUMINATION = re.compile(r"(?:Image_)?(?:FileName|PathName|URL)_Illum", re.IGNORECASE)
SITE_IN_NAME = re.compile(r"_s(\d+)_")
BBBC021 = ("TableNumber", "ImageNumber", "Replicate")


def is_loaddata(columns: Sequence[str]) -> bool:
    """Return whether a table has a column a channel."""
    return any(FILE.fullmatch(column) for column in columns)


def read_loaddata(table: Table) -> FolderPlan:
    """Return where each file of a LoadData table belongs.

    Raises
    ------
    ImageFileError
        If none of its files is there, or a path climbs out of the folder.
    """
    channels = {
        column: found["channel"] for column in table.columns if (found := FILE.fullmatch(column))
    }
    tags = "|".join(re.escape(name) for name in channels.values())
    # "Metadata_Plate", and "Image_Metadata_Plate_DAPI" of BBBC021.
    known = _columns(table, tags)
    structural = {*known.values(), *channels, *BBBC021}
    others = [
        column
        for column in table.columns
        if column not in structural
        and not column.lower().startswith(("image_pathname", "pathname", "image_url", "url"))
        and not ILLUMINATION.match(column)
        and key_of(column) not in ("row", "col", "column")
    ]
    more = _more_tables(table)
    joined: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}
    here: set[str] = set()  # scenes of which some file is there
    finder = Finder(table.path.parent)
    plates = len({row[known["plate"]] for row in table.rows}) if "plate" in known else 1
    planes: list[Plane] = []
    places: dict[str, Place] = {}
    heights: dict[tuple[str, str, int], float] = {}
    for row in table.rows:
        facts = facts_in(row, others)
        treated = tuple(fact for fact in facts if fact[0] in ("treatment", "concentration"))
        if treated not in joined:
            joined[treated] = _joined(dict(treated), more)
        place = _place(row, known, channels, (*facts, *joined[treated]))
        scene = scene_of(place, plates)
        places.setdefault(scene, place)
        for column, name in channels.items():
            if not row[column]:
                continue
            folder = row.get(re.sub("FileName", "PathName", column, flags=re.IGNORECASE), "")
            path, there = finder.find(row[column], folder)
            planes.append(Plane(path=path, channel=_short(name), scene=scene))
            height = _number(row.get(f"Metadata_PositionZ_{name}", ""))
            if height is not None:
                heights[scene, _short(name), 0] = round(height * 1e6, 6)
            if there:
                here.add(scene)
    if not here:
        raise ImageFileError(
            f"{str(table.path)!r} names {len(planes)} files, of which none is there, for example "
            f"{table.rows[0][next(iter(channels))]!r}. Put the table beside the folders of images."
        )
    names = dict.fromkeys(_short(name) for name in channels.values())
    return FolderPlan(
        # A field without any of its files was not downloaded.
        planes=tuple(plane for plane in planes if plane.scene in here),
        channels=tuple(Channel(name, modality_of(name)) for name in names),
        places=places,
        z_um=heights,
        believes_tags=True,  # the table itself has no place for a size
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _short(name: str) -> str:
    """Return the name of a channel without CellProfiler's ``Orig``."""
    return name.removeprefix("Orig") or name


def _columns(table: Table, tags: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for column in table.columns:
        plain = re.sub(rf"_(?:{tags})$", "", column)
        key = key_of(plain)
        if key in ("plate", "well", "site") and plain.lower().startswith(("metadata", "image_m")):
            found.setdefault(key, column)
    return found


def _place(
    row: Row, known: dict[str, str], channels: dict[str, str], facts: tuple[tuple[str, str], ...]
) -> Place:
    site = row[known["site"]] if "site" in known else ""
    if not site:
        in_name = SITE_IN_NAME.search(row[next(iter(channels))])
        site = f"s{in_name[1]}" if in_name else ""
    return Place(
        plate=row[known["plate"]] if "plate" in known else "",
        well=row[known["well"]] if "well" in known else "",
        site=site,
        facts=facts,
    )


def _more_tables(table: Table) -> list[Table]:
    """Return the tables of compounds and mechanisms beside that of the images."""
    stem = table.path.stem.lower()
    if not stem.endswith("_image"):
        return []
    wanted = [f"{stem.removesuffix('image')}{kind}.csv" for kind in ("moa", "compound")]
    beside = sorted(table.path.parent.iterdir())
    return [read_table(file) for file in beside if file.name.lower() in wanted]


def _joined(facts: dict[str, str], more: Sequence[Table]) -> tuple[tuple[str, str], ...]:
    """Return what other tables say of the same treatment (and concentration, if they have one)."""
    said: list[tuple[str, str]] = []
    for table in more:
        keys = {name: value for name, value in _renamed(table).items() if name in facts}
        if "treatment" not in keys:
            continue
        for row in table.rows:
            if all(_same(row[column], facts[name]) for name, column in keys.items()):
                said += facts_in(row, [c for c in table.columns if c not in keys.values()])
                break
    return tuple(said)


def _renamed(table: Table) -> dict[str, str]:
    return {
        name: column for column in table.columns for name, _ in facts_in({column: "x"}, [column])
    }


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.casefold() == other.casefold()
