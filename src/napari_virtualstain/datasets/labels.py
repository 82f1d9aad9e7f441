"""What was done to each image? Labels from a table, joined by file or by plate, well and site.

What a reader knows of a well already (`Place.facts`, from manifests) counts as well; a table that
is given beside the images says it of others, and is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.io.layouts.manifest import FACTS, columns_of, place_in
from napari_virtualstain.io.layouts.tables import Row, key_of, read_table
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.scene import listed

__all__ = [
    "ImageKey",
    "LabelTable",
    "Labelled",
    "label_images",
    "name_key",
    "place_key",
    "read_labels",
]

ImageKey = tuple[Path, Place | None]
"""An image: its file or store, and where in a plate it lies."""
_Key = tuple[str, ...]
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelTable:
    """A table of labels.

    Parameters
    ----------
    path
        Of the table.
    columns
        As they are called there.
    rows
        By what they may be found: a file, a well, a site of a well.
    lines
        Of which place each row is, in order.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[_Key, tuple[Row, ...]] = field(repr=False)
    lines: tuple[tuple[Place, Row], ...] = field(default=(), repr=False)

    def column(self, name: str) -> str | None:
        """Return the column that is called so, or as a manifest would call it; `None` if none is.

        A table of drugs has treatments.
        """
        key = key_of(name)
        own = next((c for c in self.columns if key_of(c) == key), None)
        fact = FACTS.get(key, key)
        return own or next((c for c in self.columns if FACTS.get(key_of(c)) == fact), None)

    def doubled(self, label: str) -> tuple[str, ...]:
        """Return the wells, or sites of wells, of which two rows say different things.

        Parameters
        ----------
        label
            Names of the columns in which they are compared, several joined by ``+``.
        """
        columns = [self.column(part) for part in label.split("+")]
        said: dict[str, set[tuple[str, ...]]] = {}
        for place, row in self.lines:
            name = "/".join(part for part in (place.plate, place.well, place.site) if part)
            if place.well:
                said.setdefault(name, set()).add(tuple(row[c] for c in columns if c is not None))
        return tuple(name for name, values in said.items() if len(values) > 1)

    def strange(self, images: Iterable[ImageKey]) -> tuple[str, ...]:
        """Return the wells of which the table speaks and no image is."""
        there = {_fold(place.well) for _, place in images if place is not None}
        wells = dict.fromkeys(place.well for place, _ in self.lines if place.well)
        return tuple(well for well in wells if _fold(well) not in there)

    def find(self, image: ImageKey) -> tuple[Row, ...]:
        """Return the rows of an image: those of its file, else of its site, else of its well."""
        path, place = image
        keys: list[_Key] = [("file", path.name.casefold()), ("file", _stem(path.name))]
        if place is not None and place.well:
            # A plate that the images do not name may be called as its store or folder is.
            for plate in (_fold(place.plate), _stem(path.name), ""):
                at = ("well", plate, _fold(place.well))
                keys += [(*at, _site(place.site)), at] if place.site else [at]
        return next((self.rows[key] for key in keys if key in self.rows), ())

    def value(self, rows: Iterable[Row], column: str) -> str | None:
        """Return what rows say in a column; `None` if nothing, or not the same."""
        said = {row.get(column, "") for row in rows} - {""}
        return said.pop() if len(said) == 1 else None


def read_labels(path: Path | str) -> LabelTable:
    """Read a table of labels: comma, tab or semicolon separated text with a header.

    Parameters
    ----------
    path
        Its columns are known by the names that manifests have, in any case: plate, well (or row and
        column), site, and path, file or image. Rows without a site speak for the whole well, rows
        without a plate for that well of every plate.

    Raises
    ------
    ImageFileError
        If it is no table.
    SettingsError
        If it has no column by which its rows and images could be put together.
    """
    table = read_table(Path(path))
    known = columns_of(table.columns)
    if not ("path" in known or "well" in known or "row" in known):
        raise SettingsError(
            f"{str(path)!r} does not say which image a row is about; it has the columns "
            f"{', '.join(table.columns[:12])}. Name one of them 'well' or 'file'."
        )
    rows: dict[_Key, list[Row]] = {}
    for row in table.rows:
        for key in _keys_of(row, known):
            rows.setdefault(key, []).append(row)
    return LabelTable(
        path=table.path,
        columns=table.columns,
        rows={key: tuple(found) for key, found in rows.items()},
        lines=tuple((place_in(row, known), row) for row in table.rows),
    )


def _keys_of(row: Row, known: dict[str, str]) -> set[_Key]:
    """Return by what a row is found."""
    keys: set[_Key] = set()
    name = re.split(r"[\\/]", row[known["path"]].rstrip("\\/"))[-1] if "path" in known else ""
    if name:
        keys |= {("file", name.casefold()), ("file", _stem(name))}
    place = place_in(row, known)
    if place.well:
        at = ("well", _fold(place.plate), _fold(place.well))
        # Of a site, and as one voice of its well: where all sites agree, the well is known.
        keys |= {at, (*at, _site(place.site))} if place.site else {at}
    return keys


def place_key(image: ImageKey) -> tuple[str, str, str] | None:
    """Return by what an image of a plate is told from others, however its place is spelled.

    `None` if it lies in no well. A plate without a name is called as its store or folder is.

    Examples
    --------
    >>> place_key((Path("p1.ome.zarr"), Place(well="b3", site="f01")))
    ('p1', 'b03', '1')
    """
    path, place = image
    if place is None or not place.well:
        return None
    return _fold(place.plate) or _stem(path.name), _fold(place.well), _site(place.site)


def name_key(name: str) -> str:
    """Return by what an image without a place is told from others: its name without the ending.

    Examples
    --------
    >>> name_key("Cells_1.ome.tif"), name_key("cells_1.zarr")
    ('cells_1', 'cells_1')
    """
    return _stem(name)


def _fold(name: str) -> str:
    return name.strip().casefold()


def _stem(name: str) -> str:
    return re.sub(r"(\.ome)?\.[a-z0-9]+$", "", name.casefold())


def _site(name: str) -> str:
    """Return how sites are compared: by their number, if they have one.

    Examples
    --------
    >>> _site("f01"), _site("1"), _site("left")
    ('1', '1', 'left')
    """
    number = re.fullmatch(r"\D*0*(\d+)", name.strip())
    return number[1] if number else _fold(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Labels of images.

    Parameters
    ----------
    labels
        Of each image, `None` where it has none.
    notes
        How many have none, in a sentence; empty if all have one.
    """

    labels: tuple[str | None, ...]
    notes: tuple[str, ...] = ()


def label_images(
    images: Sequence[ImageKey], column: str, table: LabelTable | None = None
) -> Labelled:
    """Return the label of each image.

    Parameters
    ----------
    images
        In order.
    column
        Of the table, or a name under which something is known of wells; ``plate`` and ``well`` are
        always known. Several, joined by ``+``, are one label: ``compound+concentration``.
    table
        `None` if the images say it themselves.

    Raises
    ------
    UnknownNameError
        If nothing is called so.
    SettingsError
        If no image has a label.
    """
    parts = [_lookup(images, part.strip(), table) for part in column.split("+")]
    labels = tuple(
        None if None in said else " ".join(str(value) for value in said)
        for said in zip(*parts, strict=True)
    )
    missing = [_name(image) for image, label in zip(images, labels, strict=True) if label is None]
    if len(missing) == len(images):
        where = "the images" if table is None else f"'{table.path}'"
        raise SettingsError(
            f"No image has one {column!r} in {where}, for example not {listed(missing, 3)}. "
            "Check that wells, plates or files are called there as they are here."
        )
    if not missing:
        return Labelled(labels=labels)
    note = (
        f"{len(missing)} of {len(images)} images have no {column!r}, or more than one, and are "
        f"left out: {listed(missing, _SHOWN)}"
    )
    return Labelled(labels=labels, notes=(note,))


def _lookup(images: Sequence[ImageKey], column: str, table: LabelTable | None) -> list[str | None]:
    """Return what is said of each image under one name."""
    key = key_of(column)
    fact = FACTS.get(key, key)
    own = table.column(column) if table else None
    known = {name for _, place in images if place for name, _ in place.facts}
    told = next((name for name in known if fact in (FACTS.get(key_of(name)), key_of(name))), None)
    if own is None and told is None and key not in ("plate", "well"):
        there = {*(table.columns if table else ()), *known, "plate", "well"}
        raise unknown_name("label", column, there, then="Choose one with --label.")
    found: list[str | None] = []
    for image in images:
        place = image[1] or Place()
        said = table.value(table.find(image), own) if table and own else None
        facts = dict(place.facts).get(told or "", "")
        at = {"plate": place.plate, "well": place.well}.get(key, "")
        found.append(said or facts or at or None)
    return found


def _name(image: ImageKey) -> str:
    path, place = image
    if place is None or not place.well:
        return path.name
    return "/".join(part for part in (place.plate, place.well, place.site) if part)
