"""What the layouts share whose names hold numbers: a match becomes a plane."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_virtualstain.io.image import Channel, Modality
from napari_virtualstain.io.layouts.base import FolderPlan, Plane, natural
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place

__all__ = ["plan_numbered"]


def plan_numbered(
    files: Sequence[Path],
    match: Callable[[str], re.Match[str] | None],
    *,
    channel: Callable[[dict[str, str]], str],
    scene: Callable[[dict[str, str]], str],
    place: Callable[[dict[str, str]], Place] | None = None,
    modality: Callable[[str], Modality] = modality_of,
) -> FolderPlan:
    """Return the plan of files whose names match a pattern with groups ``t``, ``z``.

    Parameters
    ----------
    files
        Files that match.
    match
        Matches a name.
    channel, scene
        Turn the groups of a match into names.
    place
        Turns them into a place in a plate.
    modality
        Tells how a channel was lit, from its name.
    """
    planes = []
    places: dict[str, Place] = {}
    for file in sorted(files, key=lambda f: natural(f.name)):
        found = match(file.name)
        if found is None:
            continue
        groups = {key: value for key, value in found.groupdict().items() if value is not None}
        if place is not None:
            places.setdefault(scene(groups), place(groups))
        planes.append(
            Plane(
                path=file,
                channel=channel(groups),
                scene=scene(groups),
                t=int(groups.get("t", 0)),
                z=int(groups.get("z", 0)),
                has_t="t" in groups,
                has_z="z" in groups,
            )
        )
    names = sorted({plane.channel for plane in planes}, key=natural)
    channels = tuple(Channel(name, modality(name)) for name in names)
    guess = (
        f"The names of the files number the channels ({', '.join(names)}) and do not say what "
        "they are. Choose by name which one is transmitted light."
    )
    unsaid = all(one.modality == "unknown" for one in channels)
    return FolderPlan(
        planes=tuple(planes),
        channels=channels,
        guesses=(guess,) if unsaid else (),
        places=places,
    )
