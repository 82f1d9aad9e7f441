"""Which bright field belongs to which stains.

An image that holds both is a pair by itself. Otherwise both halves lie at one
place: plate, well and site; else one position of the stage; else their names
are equal but for the words that say what was stained. What fits no or several
partners is listed with the reason, never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_virtualstain.datasets.pairing_half import (
    TIME,
    Half,
    at_one_position,
    place_key,
    role_words,
    where_of,
)
from napari_virtualstain.datasets.stain_names import StainChannel, find_stain
from napari_virtualstain.errors import ChannelError

__all__ = ["Match", "Pairing", "Unmatched", "described", "find_pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A bright field and where its stains are.

    Parameters
    ----------
    input
        With the bright field.
    channel
        Its name there.
    stains
        By stain: the image and the channel that hold it.
    by
        What they were matched by: ``"image"``, ``"place"``, ``"position"``, ``"name"`` or
        ``"table"``.
    name
        Unique among pairs.
    plate, well, field
        What must not be split: ``""`` where nothing tells plate or well.
    """

    input: Half
    channel: str
    stains: Mapping[str, tuple[Half, StainChannel]]
    by: str
    name: str = ""
    plate: str = ""
    well: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """An image that is in no pair, and why."""

    path: str
    scene: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """All pairs, and what is left over."""

    pairs: tuple[Match, ...]
    unmatched: tuple[Unmatched, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Sides:
    """What is still to be paired; filled and emptied by the passes."""

    inputs: dict[tuple[str, str], tuple[Half, str]] = field(default_factory=dict)
    targets: dict[tuple[str, str], tuple[Half, dict[str, StainChannel]]] = field(
        default_factory=dict
    )
    lost: list[Unmatched] = field(default_factory=list)
    found: list[Match] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)


def find_pairs(
    inputs: Sequence[Half],
    targets: Sequence[Half] | None = None,
    *,
    stains: Sequence[str],
    light: Callable[[Half], str | None],
    told: Mapping[str, str] | None = None,
) -> Pairing:
    """Match images of bright field with images of their stains.

    Parameters
    ----------
    inputs
        Images with bright field; with stains too if there are no other `targets`.
    targets
        Images with stains; `None` if all images are among `inputs`.
    stains
        Which are wanted.
    light
        Returns the bright-field channel of an image, `None` if it has none; raises `ChannelError`
        where several could be meant.
    told
        See `stain_names.parse_matches`.

    Returns
    -------
    Pairing
        Pairs in the order of the inputs, each with at least one stain.
    """
    sides = _Sides()
    _assign_roles(sides, inputs, targets, stains, light, told or {})
    words = role_words(stains, told or {})
    plates = _plates_count(sides)

    def named(half: Half) -> tuple[str, ...]:
        return tuple(word for word in half.words if word not in words)

    _pass(sides, lambda half: place_key(half, plates=plates), "place", stains, named)
    _pass_by_position(sides, stains)
    _pass(sides, named, "name", stains, named)
    for half, _ in sides.inputs.values():
        where = f"lies {where_of(half)}" if where_of(half) else "has its name"
        reason = f"no image of {', '.join(stains)} {where}"
        sides.lost.append(Unmatched(half.path, half.scene, reason))
    for half, _ in sides.targets.values():
        if half.key not in sides.used:
            where = f"lies {where_of(half)}" if where_of(half) else "has its name"
            sides.lost.append(Unmatched(half.path, half.scene, f"no bright field {where}"))
    order = {half.key: n for n, half in enumerate(inputs)}
    pairs = sorted(sides.found, key=lambda match: order[match.input.key])
    return Pairing(pairs=described(pairs, named), unmatched=tuple(sides.lost))


def _assign_roles(
    sides: _Sides,
    inputs: Sequence[Half],
    targets: Sequence[Half] | None,
    stains: Sequence[str],
    light: Callable[[Half], str | None],
    told: Mapping[str, str],
) -> None:
    """Say which image holds bright field, which holds stains, and which holds neither."""
    for half in inputs:
        try:
            channel = light(half)
            holds = _holds(half, stains, told) if targets is None else {}
        except ChannelError as error:
            sides.lost.append(Unmatched(half.path, half.scene, str(error)))
            continue
        if channel is not None:
            sides.inputs[half.key] = (half, channel)
        if holds:
            sides.targets[half.key] = (half, holds)
        if channel is None and not holds:
            what = "no bright field"
            if targets is None:
                what = "neither bright field nor a stain that is asked for"
            sides.lost.append(_without(half, what))
    for half in targets or ():
        try:
            holds = _holds(half, stains, told)
        except ChannelError as error:
            sides.lost.append(Unmatched(half.path, half.scene, str(error)))
            continue
        if holds:
            sides.targets[half.key] = (half, holds)
        else:
            sides.lost.append(_without(half, f"no channel for {', '.join(stains)}"))


def _without(half: Half, what: str) -> Unmatched:
    there = ", ".join(channel.name for channel in half.channels)
    return Unmatched(half.path, half.scene, f"it has {what}, but {there}")


def _holds(half: Half, stains: Sequence[str], told: Mapping[str, str]) -> dict[str, StainChannel]:
    """Return the stains of an image; raises `ChannelError` where one cannot be told."""
    names = [c.name for c in half.channels if c.modality != "transmitted"]
    found = ((s, find_stain(s, names, told=told, file_words=half.words)) for s in stains)
    return {stain: channel for stain, channel in found if channel is not None}


def _plates_count(sides: _Sides) -> bool:
    """Say whether plates tell images apart: only if both sides name them all."""
    halves = [half for half, _ in (*sides.inputs.values(), *sides.targets.values())]
    return all(half.place.plate for half in halves if half.place is not None and half.place.well)


def _pass(
    sides: _Sides,
    key: Callable[[Half], Hashable | None],
    by: str,
    stains: Sequence[str],
    named: Callable[[Half], tuple[str, ...]],
) -> None:
    """Pair what has one key; what is ambiguous is given up, with the reason."""
    groups: dict[Hashable, list[Half]] = defaultdict(list)
    for half, _ in sides.inputs.values():
        if (where := key(half)) is not None:
            groups[where].append(half)
    holders: dict[Hashable, list[Half]] = defaultdict(list)
    for half, _ in sides.targets.values():
        if half.key not in sides.used and (where := key(half)) is not None:
            holders[where].append(half)
    for where, mine in groups.items():
        _pair_group(sides, mine, holders.get(where, []), by, stains, named)


def _pair_group(
    sides: _Sides,
    mine: Sequence[Half],
    theirs: Sequence[Half],
    by: str,
    stains: Sequence[str],
    named: Callable[[Half], tuple[str, ...]],
) -> None:
    """Pair the inputs of one place with the targets of that place."""
    for half in mine:
        own = sides.targets.get(half.key)
        others = [other for other in theirs if other.key != half.key]
        if len(mine) > 1:
            # Several bright fields lie here, for example time points: names must tell.
            others = [other for other in others if named(other) == named(half)]
            if any(named(o) == named(half) for o in mine if o.key != half.key):
                others = []
        chosen: dict[str, tuple[Half, StainChannel]] = {}
        doubt = ""
        for stain in stains:
            if own is not None and stain in own[1]:
                chosen[stain] = (half, own[1][stain])
                continue
            holding = [
                (other, holds[stain])
                for other, holds in (sides.targets[other.key] for other in others)
                if stain in holds
            ]
            best = _only_best(holding, half, named)
            if best is not None:
                chosen[stain] = best
            elif holding:
                listed = ", ".join(o.name for o, _ in holding[:3])
                doubt = f"{len(holding)} images could hold its {stain} ({listed})"
        if not chosen and not doubt and len(mine) > 1 and theirs:
            doubt = f"{len(mine)} bright fields lie {where_of(half) or 'under that name'}"
        if doubt:
            reason = f"{doubt}; name the pair in a table"
            sides.lost.append(Unmatched(half.path, half.scene, reason))
            del sides.inputs[half.key]
            sides.used |= {half.key, *(other.key for other in others or theirs)}
        elif chosen:
            alone = all(other.key == half.key for other, _ in chosen.values())
            _take(sides, half, chosen, "image" if alone else by)
            _set_aside(sides, others, chosen)


def _only_best(
    holding: Sequence[tuple[Half, StainChannel]],
    half: Half,
    named: Callable[[Half], tuple[str, ...]],
) -> tuple[Half, StainChannel] | None:
    """Return the one image that surely holds a stain, `None` if none or several do."""
    if len(holding) > 1:
        rank = min(channel.rank for _, channel in holding)
        holding = [one for one in holding if one[1].rank == rank]
    if len(holding) > 1:
        holding = [one for one in holding if named(one[0]) == named(half)]
    return holding[0] if len(holding) == 1 else None


def _take(
    sides: _Sides, half: Half, chosen: Mapping[str, tuple[Half, StainChannel]], by: str
) -> None:
    _, channel = sides.inputs.pop(half.key)
    sides.used |= {half.key, *(other.key for other, _ in chosen.values())}
    sides.found.append(Match(input=half, channel=channel, stains=dict(chosen), by=by))


def _set_aside(
    sides: _Sides, others: Sequence[Half], chosen: Mapping[str, tuple[Half, StainChannel]]
) -> None:
    """Note images whose stains were taken from others, which hold them more surely."""
    for other in others:
        mine = [stain for stain in sides.targets[other.key][1] if stain in chosen]
        if other.key in sides.used or not mine:
            continue
        sides.used.add(other.key)
        reason = f"{mine[0]} of that field was taken from {chosen[mine[0]][0].name}"
        sides.lost.append(Unmatched(other.path, other.scene, reason))


def _pass_by_position(sides: _Sides, stains: Sequence[str]) -> None:
    """Pair what lies in one well at one position of the stage, though sites are named otherwise."""
    wells: dict[Hashable, list[Half]] = defaultdict(list)
    for half, _ in (*sides.inputs.values(), *sides.targets.values()):
        if half.place is not None and half.place.position_um is not None:
            wells[half.place.well].append(half)
    for half, _ in list(sides.inputs.values()):
        around = wells.get("" if half.place is None else half.place.well, ())
        there = [other for other in around if at_one_position(half, other) and other != half]
        rivals = [other for other in there if other.key in sides.inputs]
        near = [
            sides.targets[other.key]
            for other in there
            if other.key in sides.targets and other.key not in sides.used
        ]
        if not near or rivals:
            continue
        chosen: dict[str, tuple[Half, StainChannel]] = {}
        for stain in stains:
            holding = [(other, holds[stain]) for other, holds in near if stain in holds]
            if len(holding) == 1:
                chosen[stain] = holding[0]
        if chosen:
            _take(sides, half, chosen, "position")


def described(
    pairs: Iterable[Match], named: Callable[[Half], tuple[str, ...]] = lambda half: half.words
) -> tuple[Match, ...]:
    """Return pairs with names that differ, and with the field, well and plate that they are of."""
    taken: set[str] = set()
    finished = []
    for match in pairs:
        place = match.input.place
        plate = match.plate or (place.plate if place else "")
        well = match.well or (place.well if place else "")
        site = match.field or (place.site if place else "")
        words = [word for word in named(match.input) if not TIME.fullmatch(word)]
        if well:
            where = "/".join(part for part in (plate, well, site) if part)
            name = where
        else:
            where = site or "_".join(words) or Path(match.input.path).name
            where = f"{plate}/{where}" if plate else where
            name = site or "_".join(named(match.input)) or Path(match.input.path).name
        base, number = name, 2
        while name.casefold() in taken:
            name, number = f"{base} ({number})", number + 1
        taken.add(name.casefold())
        finished.append(replace(match, name=name, plate=plate, well=well, field=where))
    return tuple(finished)
