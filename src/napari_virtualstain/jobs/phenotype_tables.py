"""What do tables say of each well? Features of any program, put together by plate and well.

A table is what `measure` and `embed` write, or any other with columns ``Metadata_Well`` and, of
several plates, ``Metadata_Plate``, as pycytominer has them. Rows of one well become their median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_virtualstain.datasets.labels import ImageKey, place_key
from napari_virtualstain.embedding.profiles import aggregate
from napari_virtualstain.errors import ImageFileError, MissingInputError, PixelDataError
from napari_virtualstain.evaluation.profiles import Key, Profiles
from napari_virtualstain.io.layouts.manifest import columns_of, place_in
from napari_virtualstain.io.layouts.tables import read_table
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.embed_table import METADATA
from napari_virtualstain.words import plural

__all__ = ["WellTable", "read_wells", "wells_of_all"]

_NO_FEATURE = ("object", "y", "x", "touches_border", "fields", "missing")
"""Columns of `measure` that say nothing of cells."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WellTable:
    """Features of wells.

    Parameters
    ----------
    path
        Of the table.
    profiles
        A row a well, (plate, well) its key.
    images
        Of each well: its place, with what the columns of metadata say of it.
    rows
        How many the table has.
    notes
        What was left out.
    """

    path: Path
    profiles: Profiles
    images: tuple[ImageKey, ...]
    rows: int
    notes: tuple[str, ...]


def read_wells(path: Path) -> WellTable:
    """Read a table, and put rows of one well together.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If it is no table of features of wells.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingInputError(
            f"'{path}' {what}. Name a table of features, for example wells.csv of "
            "`virtualstain measure`."
        )
    table = read_table(path)
    about = [name for name in table.columns if name.startswith(METADATA)]
    known = columns_of(about)
    if not ("well" in known or "row" in known):
        raise ImageFileError(
            f"'{path}' does not say which well a row is of; it has the columns "
            f"{listed(table.columns, _SHOWN)}. Name one of them {METADATA}Well."
        )
    values, names, text = [], [], []
    for name in table.columns:
        if name in about or name in _NO_FEATURE or not name:
            continue
        try:
            values.append(np.array([float(row[name] or "nan") for row in table.rows]))
            names.append(name)
        except ValueError:
            text.append(name)
    if not names:
        raise ImageFileError(
            f"'{path}' has no column of numbers beside those that begin with {METADATA}. "
            "Name a table of features, for example wells.csv of `virtualstain measure`."
        )
    places = [place_in(row, known) for row in table.rows]
    lost = sum(not place.well for place in places)
    if lost:
        raise ImageFileError(
            f"{plural(lost, 'row')} of '{path}' lie{'s' * (lost == 1)} in no well. Fill in "
            f"{known.get('well', METADATA + 'Well')}, or leave them out."
        )
    numbers = np.stack(values, axis=1)
    numbers[~np.isfinite(numbers)] = np.nan
    keys: list[Key] = [(place.plate, place.well) for place in places]
    wells, merged = aggregate(numbers, keys, "median")
    facts: dict[Key, dict[str, set[str]]] = {key: {} for key in wells}
    for key, row in zip(keys, table.rows, strict=True):
        for name in about:
            facts[key].setdefault(name.removeprefix(METADATA), set()).add(row[name])
    images: list[ImageKey] = [
        (
            path,
            Place(
                plate=plate, well=well,
                facts=tuple(
                    (name, next(iter(said)))
                    for name, said in facts[plate, well].items()
                    if len(said) == 1 and "" not in said
                ),
            ),
        )
        for plate, well in wells
    ]  # fmt: skip
    notes = []
    if text:
        notes.append(
            f"{plural(len(text), 'column')} of {path.name} without numbers, left out: "
            f"{listed(text, _SHOWN)}"
        )
    empty = [n for n, column in zip(names, merged.T, strict=True) if np.isnan(column).all()]
    if empty:
        notes.append(
            f"{plural(len(empty), 'feature')} of {path.name} missing everywhere, left out: "
            f"{listed(empty, _SHOWN)}"
        )
    profiles = Profiles(keys=tuple(wells), names=tuple(names), values=merged)
    return WellTable(
        path=path, images=tuple(images), rows=len(table.rows), notes=tuple(notes),
        profiles=profiles.columns([n for n in names if n not in empty]),
    )  # fmt: skip


def wells_of_all(
    tables: Sequence[WellTable],
) -> tuple[list[Profiles], tuple[ImageKey, ...], list[str]]:
    """Return the wells that all tables have, in the order of the first, and what is left out.

    Parameters
    ----------
    tables
        The truth first. Where a table shares no name of a plate with it, wells are put together by
        their own names alone.

    Returns
    -------
    tuple
        Profiles of each table, all with the keys of the first; places of the wells as the tables
        know them; notes.

    Raises
    ------
    PixelDataError
        If there are none, or two wells of a table are the same one.
    """
    plates = [{named[0] for named in map(place_key, one.images) if named} for one in tables]
    with_plates = all(plates[0] & others for others in plates)
    found: list[dict[Key, int]] = []
    for one in tables:
        rows: dict[Key, int] = {}
        for row, image in enumerate(one.images):
            named = place_key(image)
            assert named is not None
            key: Key = named[:2] if with_plates else ("", named[1])
            if key in rows:
                raise PixelDataError(
                    f"'{one.path}' has the well {one.profiles.keys[row][1]!r} on several plates, "
                    "and the tables share no name of a plate. Call plates the same in all of them."
                )
            rows[key] = row
        found.append(rows)
    shared = [key for key in found[0] if all(key in rows for rows in found[1:])]
    if not shared:
        firsts = ", ".join(
            f"{_name(one.profiles.keys[0])!r} in '{one.path.name}'" for one in tables
        )
        raise PixelDataError(
            f"The tables have no well in common; the first are {firsts}. Compare tables of the "
            "same plates, whose wells have the same names."
        )
    keys = tuple(tables[0].profiles.keys[found[0][key]] for key in shared)
    sides, notes = [], []
    for one, rows in zip(tables, found, strict=True):
        chosen = [rows[key] for key in shared]
        sides.append(
            Profiles(keys=keys, names=one.profiles.names, values=one.profiles.values[chosen])
        )
        alone = [_name(one.profiles.keys[row]) for key, row in rows.items() if key not in shared]
        if alone:
            notes.append(
                f"{plural(len(alone), 'well')} of {one.path.name} that another table has not, left "
                f"out: {listed(alone, _SHOWN)}"
            )
    images = []
    for number, key in enumerate(shared):
        told = [one.images[rows[key]] for one, rows in zip(tables, found, strict=True)]
        facts = {name: value for _, place in reversed(told) if place for name, value in place.facts}
        path = tables[0].path
        place = Place(plate=keys[number][0], well=keys[number][1], facts=tuple(facts.items()))
        images.append((path, place))
    return sides, tuple(images), notes


def _name(key: Key) -> str:
    return "/".join(part for part in key if part)
