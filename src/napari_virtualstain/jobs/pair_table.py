"""Which pairs somebody wrote down by hand: a table with the columns ``input`` and ``target``.

Also ``scene``, ``target_scene``, ``channel``, ``plate``, ``well``, ``field`` (or ``site``) and
``set`` (train, validation or test). Several rows with one input bring their stains together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from napari_virtualstain.datasets.pairing import Match, Unmatched, described
from napari_virtualstain.datasets.pairing_half import Half, stains_of
from napari_virtualstain.datasets.split import SetName
from napari_virtualstain.datasets.stain_names import StainChannel, find_stain
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.io.layouts.tables import Finder, Row, header_of, key_of, read_table
from napari_virtualstain.io.modality import name_tokens
from napari_virtualstain.io.plate import Place
from napari_virtualstain.jobs.pair_images import Images, Opening, light_channel

__all__ = ["TablePairs", "is_pairs_table", "read_pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePairs:
    """What a table says.

    Parameters
    ----------
    pairs
        In its order.
    unmatched
        Rows that come to no pair, and why.
    stains
        Those that were asked for, or all that there are.
    sets
        By name of the pair, if the table has the column ``set``.
    """

    pairs: tuple[Match, ...]
    unmatched: tuple[Unmatched, ...]
    stains: tuple[str, ...]
    sets: Mapping[str, SetName]


def is_pairs_table(path: Path) -> bool:
    """Say whether a path is a table of pairs, and not one of images."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt") or not path.is_file():
        return False
    return {"input", "target"} <= {key_of(column) for column in header_of(path)}


def read_pairs(
    path: Path,
    *,
    stains: Sequence[str],
    told: Mapping[str, str],
    light: str | None,
    images: Images,
    how: Opening,
    target_how: Opening,
) -> TablePairs:
    """Read a table of pairs, and look which of the stains each target holds.

    Parameters
    ----------
    path
        Of the table; paths inside begin at its folder.
    stains
        Which are wanted; all fluorescence channels of the targets if there are none.
    told
        See `stain_names.parse_matches`.
    light
        Name of the bright-field channel, if it was given.
    images, how, target_how
        Open inputs and targets.

    Raises
    ------
    VirtualStainError
        If the table cannot be read, or says two things of one field.
    """
    table = read_table(path)
    finder = Finder(path.parent)
    rows: dict[tuple[str, str], list[tuple[Row, Half]]] = {}
    inputs: dict[tuple[str, str], Half] = {}
    lost: list[Unmatched] = []
    for written in table.rows:
        row = {key_of(column): value for column, value in written.items() if value}
        if not row.get("input") or not row.get("target"):
            raise SettingsError(
                f"A row of '{path}' lacks input or target ({', '.join(written.values())}). "
                "Name both files in each row."
            )
        try:
            half = _half(finder, row, "input", "scene", images, how)
            target = _half(finder, row, "target", "targetscene", images, target_how)
        except VirtualStainError as error:
            lost.append(Unmatched(row["input"], row.get("scene", ""), str(error)))
            continue
        inputs.setdefault(half.key, half)
        rows.setdefault(half.key, []).append((row, target))
    wanted = tuple(stains) or stains_of(target for some in rows.values() for _, target in some)
    pairs: list[Match] = []
    sets: list[SetName | None] = []
    for key, some in rows.items():
        try:
            pairs.append(_match(path, inputs[key], some, wanted, told, light))
        except VirtualStainError as error:
            lost.append(Unmatched(*key, str(error)))
            continue
        sets.append(_set_of(path, some[0][0]))
    named = described(pairs)
    return TablePairs(
        pairs=named,
        unmatched=tuple(lost),
        stains=wanted,
        sets={match.name: part for match, part in zip(named, sets, strict=True) if part},
    )


def _half(finder: Finder, row: Row, column: str, scene: str, images: Images, how: Opening) -> Half:
    found, _ = finder.find(row[column])
    name = row.get(scene, "")
    image = images.open(str(found), name, how)
    return Half(
        path=str(found),
        scene=image.source.scene,
        channels=image.channels,
        words=tuple(name_tokens(f"{found.name.partition('.')[0]} {name}")),
    )


def _match(
    path: Path,
    half: Half,
    rows: Sequence[tuple[Row, Half]],
    stains: Sequence[str],
    told: Mapping[str, str],
    light: str | None,
) -> Match:
    """Return the pair of one input and its rows."""
    row = rows[0][0]
    channel = light_channel(half, told=row.get("channel") or light, alone=True)
    if channel is None:
        there = ", ".join(one.name for one in half.channels)
        raise SettingsError(f"it has no bright field, but {there}; name one in a column channel")
    chosen: dict[str, tuple[Half, StainChannel]] = {}
    for _, target in rows:
        names = [c.name for c in target.channels if c.modality != "transmitted"]
        for stain in stains:
            found = find_stain(stain, names, told=told, file_words=target.words)
            if found is None:
                continue
            if stain in chosen:
                raise SettingsError(
                    f"two targets hold its {stain} ({chosen[stain][0].name}, {target.name}); "
                    f"leave one row out of '{path.name}'"
                )
            chosen[stain] = (target, found)
    if not chosen:
        raise SettingsError(f"its targets hold none of {', '.join(stains)}; see --match")
    ordered = {stain: chosen[stain] for stain in stains if stain in chosen}
    place = Place(plate=row.get("plate", ""), well=row.get("well", ""))
    return Match(
        input=replace(half, place=place),
        channel=channel,
        stains=ordered,
        by="table",
        plate=place.plate,
        well=place.well,
        field=row.get("field") or row.get("site") or "",
    )


def _set_of(path: Path, row: Row) -> SetName | None:
    text = row.get("set", "").strip().casefold()
    if not text:
        return None
    for name in get_args(SetName):
        if text in (name, name[:3]):
            return name  # type: ignore[no-any-return]
    raise SettingsError(
        f"The set {row['set']!r} in '{path}' is none of train, validation and test. "
        "Write one of these."
    )
