"""One's own way to name files: ``{well}_{site}_z{z}_{channel}.tif``.

Words in braces stand for what varies, everything else for itself. A pattern
with ``/`` is held against paths below the folder, one without against the
names of the files in it. `preview_pattern` says what fits and why the rest
does not, while somebody types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_virtualstain.errors import SettingsError, did_you_mean
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane, natural
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place, well_of

__all__ = [
    "FIELDS",
    "Pattern",
    "PatternPreview",
    "parse_pattern",
    "pattern_plan",
    "preview_pattern",
]

FIELDS: dict[str, str] = {
    "plate": r"[^/]+?",
    "well": r"[A-Za-z]{1,2}\d{1,3}",
    "row": r"[A-Za-z]{1,2}|\d{1,2}",
    "column": r"\d{1,2}",
    "site": r"[^/]+?",
    "z": r"\d+",
    "t": r"\d+",
    "channel": r"[^/]+?",
    "*": r"[^/]*?",
}
"""What may stand in braces, and what each may be."""
FREE = ("plate", "site", "channel", "*")
"""Those that may be any text: two of them need something between them."""
SHORTEST_FREE = 6
"""Free ones that a pattern may have; more take long to hold against long names."""
MOST_FILES = 1_000_000
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was understood.

    Parameters
    ----------
    text
        As it was typed.
    parts
        Literal texts and fields (in braces), in order.
    expression
        What names are held against.
    """

    text: str
    parts: tuple[str, ...]
    expression: re.Pattern[str]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, each once."""
        named = (part[1:-1] for part in self.parts if part.startswith("{"))
        return tuple(dict.fromkeys(name for name in named if name != "*"))

    def match(self, name: str) -> dict[str, str] | None:
        """Return the value of each field, `None` if the name does not fit."""
        found = self.expression.fullmatch(name)
        return None if found is None else found.groupdict()

    def why_not(self, name: str) -> str:
        """Say up to where a name fits."""
        for count in range(len(self.parts) - 1, 0, -1):
            found = re.match(_expression(self.parts[:count]), name, re.IGNORECASE)
            if found is not None:
                fits = f"{name[: found.end()]!r} fits, then " if found.end() else ""
                rest = name[found.end() :]
                return f"{fits}{self.parts[count]} is expected where {rest!r} stands"
        return f"{self.parts[0]} is expected where {name!r} begins"


def _expression(parts: Iterable[str]) -> str:
    seen: set[str] = set()
    made = []
    for part in parts:
        name = part[1:-1]
        if not part.startswith("{"):
            made.append(re.escape(part))
        elif name == "*":
            made.append(FIELDS["*"])
        elif name in seen:  # the same again: {well}/{well}_{site}.tif
            made.append(f"(?P={name})")
        else:
            seen.add(name)
            made.append(f"(?P<{name}>{FIELDS[name]})")
    return "".join(made)


def parse_pattern(text: str) -> Pattern:
    """Understand a pattern.

    Raises
    ------
    SettingsError
        If it has no field, an unknown one, or cannot tell two of them apart.

    Examples
    --------
    >>> parse_pattern("{well}_z{z}_{channel}.tif").match("B03_z7_DAPI.tif")
    {'well': 'B03', 'z': '7', 'channel': 'DAPI'}
    """
    plain = text.strip().replace("\\", "/")
    parts = tuple(part for part in re.split(r"(\{[^{}]*\})", plain) if part)
    example = "Write for example {well}_{site}_z{z}_{channel}.tif."
    fields = [re.fullmatch(r"\{[^{}]*\}", part) is not None for part in parts]
    if not any(fields) or any(
        not is_field and ("{" in part or "}" in part)
        for part, is_field in zip(parts, fields, strict=True)
    ):
        raise SettingsError(
            f"The pattern {text!r} has no field in braces, or a brace without its other. {example}"
        )
    for part in parts:
        name = part[1:-1]
        if part.startswith("{") and name not in FIELDS:
            raise SettingsError(
                f"The pattern {text!r} has the unknown field {part}."
                f"{did_you_mean(name, list(FIELDS))} Known are "
                f"{', '.join('{' + known + '}' for known in FIELDS)}."
            )
    free = [part.startswith("{") and part[1:-1] in FREE for part in parts]
    for first, second, one, two in zip(free, free[1:], parts, parts[1:], strict=False):
        if first and second:
            raise SettingsError(
                f"The pattern {text!r} has nothing between {one} and {two}, so that nobody can "
                f"tell where the first ends. {example}"
            )
    if sum(free) > SHORTEST_FREE:
        raise SettingsError(
            f"The pattern {text!r} has {sum(free)} fields of any text, at most {SHORTEST_FREE} "
            "are possible. Write more of the names out."
        )
    if plain.startswith("/") or ".." in plain.split("/"):
        raise SettingsError(
            f"The pattern {text!r} leaves the folder. Open the folder above it, and write the "
            "pattern from there."
        )
    return Pattern(text, parts, re.compile(_expression(parts), re.IGNORECASE))


def _names(folder: Path, pattern: Pattern) -> list[str]:
    """List what a pattern is held against: names, or paths as deep as it has folders."""
    found: list[str] = []

    def walk(at: str, below: str, depth: int) -> None:
        with os.scandir(at) as entries:
            for entry in entries:
                if entry.name.startswith(".") or len(found) >= MOST_FILES:
                    continue
                if entry.is_dir():
                    if depth:
                        walk(entry.path, f"{below}{entry.name}/", depth - 1)
                elif depth == 0:
                    found.append(below + entry.name)

    walk(str(folder), "", min(pattern.text.replace("\\", "/").strip().count("/"), DEEPEST))
    return sorted(found, key=natural)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternPreview:
    """What a pattern would make of a folder.

    Parameters
    ----------
    files, matching
        How many files there are, and how many fit.
    examples
        The first that fit, with the value of each field.
    others
        The first that do not, with why.
    values
        How many different values each field has.
    """

    files: int
    matching: int
    examples: tuple[tuple[str, Mapping[str, str]], ...]
    others: tuple[tuple[str, str], ...]
    values: Mapping[str, int]


def preview_pattern(folder: str | os.PathLike[str], text: str, *, show: int = 5) -> PatternPreview:
    """Say what a pattern would make of a folder; no file is opened.

    Parameters
    ----------
    folder
        Where the files are.
    text
        The pattern.
    show
        How many examples.

    Raises
    ------
    SettingsError
        If the pattern is not understood.
    """
    pattern = parse_pattern(text)
    names = _names(Path(folder), pattern)
    fits = [(name, found) for name in names if (found := pattern.match(name)) is not None]
    fitting = {name for name, _ in fits}
    others = [name for name in names if name not in fitting][:show]
    return PatternPreview(
        files=len(names),
        matching=len(fits),
        examples=tuple(fits[:show]),
        others=tuple((name, pattern.why_not(name)) for name in others),
        values={field: len({found[field] for _, found in fits}) for field in pattern.fields},
    )


def pattern_plan(folder: Path, text: str) -> FolderPlan:
    """Return where the files of a folder belong.

    Raises
    ------
    SettingsError
        If the pattern is not understood, or no file fits it.
    """
    pattern = parse_pattern(text)
    names = _names(folder, pattern)
    fits = [(name, found) for name in names if (found := pattern.match(name)) is not None]
    if not fits:
        first = f" {names[0]!r}: {pattern.why_not(names[0])}." if names else ""
        raise SettingsError(
            f"None of the {len(names)} files in {str(folder)!r} fits the pattern {text!r}.{first} "
            "Change the pattern until it does."
        )
    several = {f for f in ("plate", "well", "site") if len({m.get(f) for _, m in fits}) > 1}
    scene = partial(_scene, several)
    planes: list[Plane] = []
    places: dict[str, Place] = {}
    for name, found in fits:
        place = _place(found)
        places.setdefault(scene(place), place)
        planes.append(
            Plane(
                path=folder / name,
                channel=found.get("channel") or "channel 0",
                scene=scene(place),
                t=int(found.get("t") or 0),
                z=int(found.get("z") or 0),
                has_t="t" in found,
                has_z="z" in found,
            )
        )
    channels = sorted({plane.channel for plane in planes}, key=natural)
    plan = FolderPlan(
        planes=tuple(planes),
        channels=tuple(Channel(name, modality_of(name)) for name in channels),
        places={name: place for name, place in places.items() if place.well},
    )
    left = len(names) - len(fits)
    if left:
        other = next(name for name in names if pattern.match(name) is None)
        plan = plan.with_guess(
            f"{left} of {len(names)} files do not fit the pattern and were left out, for example "
            f"{other!r}: {pattern.why_not(other)}."
        )
    return plan


def _scene(several: set[str], place: Place) -> str:
    parts = (place.plate if "plate" in several else "", place.well, place.site)
    return "/".join(part for part in parts if part)


def _place(found: Mapping[str, str]) -> Place:
    well = found.get("well", "")
    if not well and found.get("row"):
        well = well_of(found["row"], found.get("column", "1"))
    return Place(plate=found.get("plate", ""), well=well, site=found.get("site", ""))
