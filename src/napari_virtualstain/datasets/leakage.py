"""Whether one picture stands in two sets, under whatever name.

A score on fields that were trained on says nothing. Names do not protect from
that: files are copied, wells are spelled in two ways, and neighbouring sites of
a well overlap.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.remote import is_remote

__all__ = ["Footprint", "Leak", "block_prints", "find_leaks", "same_file"]

_EDGE = 64
"""Of a block whose pixels are compared, in pixels."""
_PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75))
"""Of the blocks, in parts of the field."""
_OVERLAP = 0.01
"""Part of the smaller field from which on two sites overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What tells a field from others.

    Parameters
    ----------
    name
        For sentences.
    files
        (path, scene) of the images that it is made of, the paths as `same_file` gives them.
    plate, well
        As they are spelled.
    prints
        What `block_prints` returned for its images.
    extent_um
        First and last row, first and last column on the stage in micrometres, if known.
    """

    name: str
    files: frozenset[tuple[str, str]] = frozenset()
    plate: str = ""
    well: str = ""
    prints: frozenset[str] = frozenset()
    extent_um: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """Two fields of different sets that share something.

    Parameters
    ----------
    kind
        ``"file"``, ``"pixels"``, ``"well"`` or ``"overlap"``.
    first, second
        Positions of the fields.
    sentence
        For people, with what to do.
    """

    kind: Literal["file", "pixels", "well", "overlap"]
    first: int
    second: int
    sentence: str

    @property
    def certain(self) -> bool:
        """Whether the fields surely share pixels, so that the split must not be used."""
        return self.kind in ("file", "pixels")


def same_file(path: str | os.PathLike[str]) -> str:
    """Return one name for a file, whatever links lead to it."""
    return str(path) if is_remote(path) else os.path.realpath(path)


def block_prints(image: LazyImage, channel: int, *, t: int = 0, z: int = 0) -> tuple[str, ...]:
    """Return hashes of a few blocks of a plane, equal for copies in other files and types.

    Blocks of one value, as of empty or missing planes, say nothing and are left out.
    """
    prints = []
    for y, x in _PLACES:
        rows, columns = (
            slice(start, start + min(_EDGE, n))
            for n, part in ((image.shape[3], y), (image.shape[4], x))
            for start in (max(0, int(n * part) - _EDGE // 2) if n > _EDGE else 0,)
        )
        region = (slice(t, t + 1), slice(channel, channel + 1), slice(z, z + 1), rows, columns)
        block = np.ascontiguousarray(image.read(region), np.float64)
        if np.isfinite(block).all() and np.ptp(block) > 0:
            prints.append(hashlib.sha256(block.tobytes()).hexdigest()[:16])
    return tuple(prints)


def find_leaks(fields: Sequence[Footprint], sets: Sequence[str]) -> tuple[Leak, ...]:
    """Return what fields of different sets share, one leak a pair of fields: the surest.

    Parameters
    ----------
    fields
        All that were split.
    sets
        In which each is.

    Notes
    -----
    Fields are looked up by what they hold, so that a plate of thousands takes a moment; only
    sites of one well are compared one by one.
    """
    found: dict[tuple[int, int], Leak] = {}

    def note(kind: Literal["file", "pixels", "well", "overlap"], a: int, b: int, why: str) -> None:
        if sets[a] != sets[b]:
            pair = f"{fields[a].name!r} ({sets[a]}) and {fields[b].name!r} ({sets[b]})"
            found.setdefault((a, b), Leak(kind, a, b, f"{pair} {why}"))

    for a, b in _sharing(fields, lambda field: field.files):
        note("file", a, b, "are of the same file; leave one of them out.")
    for a, b in _sharing(fields, lambda field: field.prints):
        note("pixels", a, b, "have the same pixels; leave one of them out.")
    for a, b in _sharing(fields, _spelled):
        one, other = fields[a], fields[b]
        if (one.plate, one.well) != (other.plate, other.well):
            here, there = (" ".join(p for p in (f.plate, f.well) if p) for f in (one, other))
            note("well", a, b, f"lie in {here!r} and {there!r}, which are one well by their names; "
                 "spell them alike.")  # fmt: skip
    for a, b in _sharing(fields, lambda field: [(field.plate, field.well)] if field.well else []):
        share = _overlap(fields[a].extent_um, fields[b].extent_um)
        if share > _OVERLAP:
            note("overlap", a, b, f"overlap by {100 * share:.0f} % on the stage; use --split well.")
    return tuple(found[pair] for pair in sorted(found))


def _sharing(
    fields: Sequence[Footprint], keys: Callable[[Footprint], Iterable[Hashable]]
) -> list[tuple[int, int]]:
    """Return the pairs of fields that have a key in common."""
    holders: dict[Hashable, list[int]] = {}
    for index, field in enumerate(fields):
        for key in set(keys(field)):
            holders.setdefault(key, []).append(index)
    return sorted({pair for some in holders.values() for pair in combinations(some, 2)})


def _spelled(field: Footprint) -> list[Hashable]:
    """Return plate and well without what people write differently."""
    if not field.well:
        return []
    return [tuple(re.sub(r"[^a-z0-9]", "", text.casefold()) for text in (field.plate, field.well))]


def _overlap(
    a: tuple[float, float, float, float] | None, b: tuple[float, float, float, float] | None
) -> float:
    """Return which part of the smaller of two extents lies in both."""
    if a is None or b is None:
        return 0.0
    height, width = (min(a[n + 1], b[n + 1]) - max(a[n], b[n]) for n in (0, 2))
    smaller = min((e[1] - e[0]) * (e[3] - e[2]) for e in (a, b))
    return max(height, 0.0) * max(width, 0.0) / smaller if smaller > 0 else 0.0
