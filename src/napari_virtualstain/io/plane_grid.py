"""Which planes belong together, and which one is missing.

Channels of one field that have the same z planes make one image. A channel
with another depth (a projection beside a focus series) makes an image of its
own; a channel that lacks a few planes of the others is incomplete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import Plane, natural

__all__ = ["Group", "groups_of"]


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
        Numbers that occur along T and Z, ascending.
    planes
        Its files.
    """

    name: str
    scene: str
    channels: tuple[Channel, ...]
    times: tuple[int, ...]
    depths: tuple[int, ...]
    planes: tuple[Plane, ...]

    def files(self) -> NDArray[Any]:
        """Return the files as an array of shape (T, C, Z).

        Raises
        ------
        ImageFileError
            If a plane is missing, or two files claim the same place.
        """
        table = np.empty((len(self.times), len(self.channels), len(self.depths)), dtype=object)
        names = [channel.name for channel in self.channels]
        for plane in self.planes:
            place = (
                self.times.index(plane.t),
                names.index(plane.channel),
                self.depths.index(plane.z),
            )
            if table[place] is not None:
                raise ImageFileError(
                    f"{table[place].name!r} and {plane.path.name!r} claim the same place "
                    f"({self._place(*place)}). Take one of them out of the folder."
                )
            table[place] = plane.path
        for place in np.ndindex(table.shape):
            path: Path | None = table[place]
            if path is None or not path.exists():
                named = "" if path is None else f": {path.name!r}"
                raise ImageFileError(
                    f"A plane is missing, {self._place(*place)}{named}. "
                    "Put the file into the folder, or take the other planes of its kind out."
                )
        for letter, numbers in (("t", self.times), ("z", self.depths)):
            _refuse_gap(letter, numbers)
        return table

    def _place(self, t: int, c: int, z: int) -> str:
        parts = [f"channel {self.channels[c].name!r}"]
        if len(self.times) > 1:
            parts.append(f"t {self.times[t]}")
        if len(self.depths) > 1:
            parts.append(f"z {self.depths[z]}")
        return ", ".join(([f"scene {self.name!r}"] if self.name else []) + parts)


def _refuse_gap(letter: str, numbers: Sequence[int]) -> None:
    """Refuse 0, 1, 3; accept 0, 5, 10."""
    steps = np.diff(numbers)
    if steps.size and np.ptp(steps) > 0:
        step = int(steps.min())
        at = int(np.flatnonzero(steps != step)[0])
        raise ImageFileError(
            f"A plane is missing: {letter} {numbers[at] + step} lies between {letter} "
            f"{numbers[at]} and {letter} {numbers[at + 1]}, and no file has it. "
            "Put the file into the folder."
        )


def groups_of(planes: Sequence[Plane], channels: Sequence[Channel]) -> list[Group]:
    """Sort planes into images: by field, then by depth.

    Parameters
    ----------
    planes
        All planes of a folder.
    channels
        The channels in the order in which they are shown.
    """
    by_scene: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_scene[plane.scene].append(plane)
    groups = []
    for scene in sorted(by_scene, key=natural):
        groups += _of_scene(scene, by_scene[scene], channels)
    return groups


def _of_scene(scene: str, planes: Sequence[Plane], channels: Sequence[Channel]) -> list[Group]:
    depths: dict[str, set[int]] = defaultdict(set)
    for plane in planes:
        depths[plane.channel].add(plane.z)
    kinds: list[tuple[frozenset[int], list[Channel]]] = []
    for channel in channels:
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
        groups.append(
            Group(
                name="/".join(parts),
                scene=scene,
                channels=tuple(members),
                times=tuple(sorted({plane.t for plane in inside})),
                depths=tuple(sorted(numbers)),
                planes=inside,
            )
        )
    return groups
