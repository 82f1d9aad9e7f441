"""Which planes belong together, and which places have none.

Channels of one field that have the same z planes make one image. A channel
with another depth (a projection beside a focus series) makes an image of its
own; a channel that lacks a few planes of the others is incomplete.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane, natural

__all__ = ["Group", "filled", "groups_of", "names_in"]

_MOST_FILLED = 2
"""Numbers are filled in up to so many times those that occur."""

_MOST_PLACES = 10_000
"""Places of an image, beside 64 times the files that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The planes of one image.

    Parameters
    ----------
    name
        Name of the scene.
    scene
        Name of the field as the layout has it.
    channels
        Along C.
    times, depths
        Numbers along T and Z, ascending; those between the ones that occur included.
    planes
        Its files.
    uneven
        Axes whose numbers have gaps that no even step explains.
    """

    name: str
    scene: str
    channels: tuple[Channel, ...]
    times: tuple[int, ...]
    depths: tuple[int, ...]
    planes: tuple[Plane, ...]
    uneven: str = ""

    def files(self) -> NDArray[Any]:
        """Return the files as an array of shape (T, C, Z), `None` where there is none.

        Raises
        ------
        ImageFileError
            If two files claim the same place.
        """
        table = np.empty((len(self.times), len(self.channels), len(self.depths)), dtype=object)
        rows, columns = _positions(self.times), _positions(self.depths)
        layers = {channel.name: index for index, channel in enumerate(self.channels)}
        for plane in self.planes:
            if plane.path is None:
                continue
            place = (rows[plane.t], layers[plane.channel], columns[plane.z])
            if table[place] is not None and table[place] != plane.path:
                raise ImageFileError(
                    f"{table[place].name!r} and {plane.path.name!r} claim the same place "
                    f"({self.words(place)}). Take one of them out of the folder."
                )
            table[place] = plane.path
        return table

    def words(self, place: Sequence[int]) -> str:
        """Return a place (t, c, z) with the numbers that the files have."""
        t, c, z = place
        parts = [f"channel {self.channels[c].name!r}"]
        if len(self.times) > 1:
            parts.append(f"t {self.times[t]}")
        if len(self.depths) > 1:
            parts.append(f"z {self.depths[z]}")
        return ", ".join(([f"scene {self.name!r}"] if self.name else []) + parts)


def _positions(numbers: Sequence[int]) -> dict[int, int]:
    return {number: index for index, number in enumerate(numbers)}


def filled(numbers: Sequence[int]) -> tuple[tuple[int, ...], bool]:
    """Return ascending numbers with those that a gap lacks, and whether the steps are even then.

    Examples
    --------
    >>> filled((0, 1, 3)), filled((0, 5, 15)), filled((1, 2, 9000))
    (((0, 1, 2, 3), True), ((0, 5, 10, 15), True), ((1, 2, 9000), False))
    """
    if not numbers or numbers[-1] - numbers[0] + 1 == len(numbers):
        return tuple(numbers), True
    steps = np.diff(numbers)
    if not steps.size or np.ptp(steps) == 0:
        return tuple(numbers), True
    step = int(steps.min())
    full = tuple(range(numbers[0], numbers[-1] + 1, step))
    if (steps % step).any() or len(full) > _MOST_FILLED * len(numbers):
        return tuple(numbers), False
    return full, True


def groups_of(plan: FolderPlan, planes: Sequence[Plane]) -> list[Group]:
    """Sort planes into images: by field, then by depth.

    Parameters
    ----------
    plan
        Of the folder: channels in the order in which they are shown, and what is promised.
    planes
        All of its planes, or those of some scenes.
    """
    by_scene: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_scene[plane.scene].append(plane)
    groups = []
    for scene in sorted(by_scene, key=natural):
        groups += _of_scene(scene, by_scene[scene], plan)
    return groups


def _of_scene(scene: str, planes: Sequence[Plane], plan: FolderPlan) -> list[Group]:
    depths: dict[str, set[int]] = defaultdict(set)
    for plane in planes:
        depths[plane.channel].add(plane.z)
    kinds: list[tuple[frozenset[int], list[Channel]]] = []
    for channel in plan.channels:
        if channel.name not in depths:
            continue
        mine = depths[channel.name]
        for number, (theirs, members) in enumerate(kinds):
            # A channel that has most planes of another is incomplete, not of another depth.
            if len(mine & theirs) > max(len(mine), len(theirs)) / 2:
                kinds[number] = (theirs | mine, [*members, channel])
                break
        else:
            kinds.append((frozenset(mine), [channel]))
    groups = []
    for numbers, members in kinds:
        names = [channel.name for channel in members]
        inside = tuple(plane for plane in planes if plane.channel in names)
        parts = [scene] if scene else []
        if len(kinds) > 1:
            parts.append("+".join(names))
        promised = plan.depths if inside[0].has_z and len(numbers) > 1 else ()
        along_z, even_z = filled(sorted({*numbers, *promised}))
        promised = plan.times if inside[0].has_t else ()
        along_t, even_t = filled(sorted({*(plane.t for plane in inside), *promised}))
        if len(along_t) * len(along_z) * len(members) > _MOST_PLACES + 64 * len(inside):
            # Promised by a number that cannot be meant.
            along_t, along_z = tuple(sorted({p.t for p in inside})), tuple(sorted(numbers))
        groups.append(
            Group(
                name="/".join(parts),
                scene=scene,
                channels=tuple(members),
                times=along_t,
                depths=along_z,
                planes=inside,
                uneven=("" if even_t else "t") + ("" if even_z else "z"),
            )
        )
    return groups


def names_in(folder: Path) -> set[str]:
    """List a folder once, without looking at its files."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}
