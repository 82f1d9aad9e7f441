"""Where in a well plate an image lies, and what is known of its well.

Readers note a `Place` with each scene; `plates_of` puts scenes together to
plates, from which a plate map is drawn and a well is opened. Nothing here
opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_virtualstain.io.scene import Scene

__all__ = [
    "Place",
    "Plate",
    "Site",
    "Well",
    "parse_well",
    "place_of_name",
    "plates_of",
    "plates_with",
    "well_name",
    "well_of",
]

FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
"""Rows and columns of the plates that are sold: 6, 12, 24, 48, 96, 384 and 1536 wells."""

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]{0,2})")
_NAMED = re.compile(
    r"(?P<well>[A-Pa-p]0?[1-9][0-9]?)(?:[/_\- ](?P<site>(?:[sf]|xy|site|field)?[0-9]+))?(?:/.*)?"
)


def well_name(row: int, column: int) -> str:
    """Return the name of a well, rows and columns from 0.

    Raises
    ------
    ValueError
        If no plate has it.

    Examples
    --------
    >>> well_name(1, 2), well_name(31, 47)
    ('B03', 'AF48')
    """
    if not (0 <= row < 26 * 27 and 0 <= column < 1000):
        raise ValueError(f"no plate has a row {row + 1} and a column {column + 1}")
    high, low = divmod(row, 26)
    letters = (chr(64 + high) if high else "") + chr(65 + low)
    return f"{letters}{column + 1:02d}"


def well_of(row: str, column: str) -> str:
    """Return the name of a well from what a table or a name says of its row and column.

    Examples
    --------
    >>> well_of("2", "3"), well_of("B", "03"), well_of("0", "x")
    ('B03', 'B03', '0x')
    """
    if row.isdecimal() and column.isdecimal() and 0 < int(row) <= 702 and 0 < int(column) <= 1000:
        return well_name(int(row) - 1, int(column) - 1)
    return f"{row}{column}"


def parse_well(name: str) -> tuple[int, int] | None:
    """Return row and column of a well from 0, `None` if it is not a name of a well.

    Examples
    --------
    >>> parse_well("b3"), parse_well("AF48"), parse_well("rest")
    ((1, 2), (31, 47), None)
    """
    found = _WELL.fullmatch(name.strip())
    if found is None:
        return None
    row = 0
    for letter in found[1].upper():
        row = 26 * row + ord(letter) - 64
    return row - 1, int(found[2]) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one image lies.

    Parameters
    ----------
    plate
        Name of the plate, ``""`` if there is one.
    well
        For example ``"B03"``; a name of another kind is kept as it is.
    site
        Name of the field inside the well.
    position_um
        Centre of the field along y and x in micrometres, in the coordinates of the instrument.
    plate_shape
        Rows and columns of the plate, if the files state them.
    facts
        What a table says of the well: (name, value), for example ``("treatment", "DMSO")``.
    """

    plate: str = ""
    well: str = ""
    site: str = ""
    position_um: tuple[float, float] | None = None
    plate_shape: tuple[int, int] | None = None
    facts: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Spell wells alike: ``"b3"`` is ``"B03"``."""
        known = parse_well(self.well)
        if known is not None:
            object.__setattr__(self, "well", well_name(*known))


def place_of_name(scene: str) -> Place | None:
    """Return the place that the name of a scene tells, `None` if it tells none.

    Examples
    --------
    >>> place_of_name("A4/PHASE_CONTRAST").well, place_of_name("B02_s3").site
    ('A04', 's3')
    >>> place_of_name("cells") is None
    True
    """
    found = _NAMED.fullmatch(scene)
    return None if found is None else Place(well=found["well"], site=found["site"] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One field of a well: its scenes, several where a focus series has projections beside it."""

    name: str
    scenes: tuple[str, ...]
    position_um: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Well:
    """One well; row and column from 0, `None` where its name tells none."""

    name: str
    row: int | None
    column: int | None
    sites: tuple[Site, ...]
    facts: tuple[tuple[str, str], ...] = ()

    def fact(self, name: str) -> str | None:
        """Return what is known of the well under a name, for example ``"treatment"``."""
        return dict(self.facts).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """A plate whose wells hold images.

    Parameters
    ----------
    name
        ``""`` if there is one without a name.
    rows, columns
        How many it has: as stated, else of the smallest plate on sale that has all wells.
    wells
        Those with images, row by row.
    """

    name: str
    rows: int
    columns: int
    wells: tuple[Well, ...]

    def well(self, name: str) -> Well | None:
        """Return a well by name, ``"b3"`` or ``"B03"``; `None` if it has no image."""
        wanted = Place(well=name).well
        return next((well for well in self.wells if well.name == wanted), None)

    def facts(self) -> tuple[str, ...]:
        """Return the names under which something is known of wells."""
        return tuple(dict.fromkeys(name for well in self.wells for name, _ in well.facts))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "name": self.name,
            "rows": self.rows,
            "columns": self.columns,
            "wells": [
                {
                    "name": well.name,
                    "row": well.row,
                    "column": well.column,
                    "facts": dict(well.facts),
                    "sites": [
                        {
                            "name": site.name,
                            "scenes": list(site.scenes),
                            "position_um": site.position_um,
                        }
                        for site in well.sites
                    ],
                }
                for well in self.wells
            ],
        }


def plates_of(scenes: Iterable[Scene]) -> tuple[Plate, ...]:
    """Put scenes together to plates; those that lie in no well are left out."""
    return plates_with((scene.name, scene.place or Place()) for scene in scenes)


def plates_with(places: Iterable[tuple[str, Place]]) -> tuple[Plate, ...]:
    """Put what is named to plates, by where it lies; what lies in no well is left out."""
    plates: dict[str, dict[str, list[tuple[str, Place]]]] = {}
    for name, place in places:
        if place.well:
            plates.setdefault(place.plate, {}).setdefault(place.well, []).append((name, place))
    return tuple(_plate(name, wells) for name, wells in plates.items())


def _plate(name: str, members: Mapping[str, list[tuple[str, Place]]]) -> Plate:
    wells = [_well(well, inside) for well, inside in members.items()]
    wells.sort(key=lambda w: (w.row is None, w.row or 0, w.column or 0, w.name))
    stated = [p.plate_shape for inside in members.values() for _, p in inside if p.plate_shape]
    rows = max((w.row + 1 for w in wells if w.row is not None), default=0)
    columns = max((w.column + 1 for w in wells if w.column is not None), default=0)
    sold = stated[0] if stated else next(
        (one for one in FORMATS if one[0] >= rows and one[1] >= columns), (rows, columns)
    )  # fmt: skip
    return Plate(
        name=name,
        rows=max(rows, sold[0] if rows else 0),
        columns=max(columns, sold[1] if columns else 0),
        wells=tuple(wells),
    )


def _well(name: str, inside: list[tuple[str, Place]]) -> Well:
    row, column = parse_well(name) or (None, None)
    sites: dict[str, list[tuple[str, Place]]] = {}
    facts: dict[str, list[str]] = {}
    for scene, place in inside:
        sites.setdefault(place.site, []).append((scene, place))
        for key, value in place.facts:
            facts.setdefault(key, []).append(value)
    return Well(
        name=name,
        row=row,
        column=column,
        sites=tuple(
            Site(
                name=site,
                scenes=tuple(scene for scene, _ in members),
                position_um=members[0][1].position_um,
            )
            for site, members in sites.items()
        ),
        # What differs between the sites of a well says nothing of the well.
        facts=tuple((key, said[0]) for key, said in facts.items() if len(set(said)) == 1),
    )
