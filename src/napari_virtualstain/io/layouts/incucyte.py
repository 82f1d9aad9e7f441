"""Incucyte-like names: ``VID123_A1_1_00d00h00m.tif``, vessel, well, field, time since the start.

Exports with several channels put the name of the channel before the vessel:
``phase_VID123_A1_1_00d06h00m.tif``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane, natural
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place

__all__ = ["INCUCYTE"]

PATTERN = re.compile(
    r"(?:(?P<before>.+?)[_\-])?VID(?P<vessel>\d+)(?:_(?P<kind>[A-Za-z]\w*?))?"
    r"_(?P<well>[A-P]\d{1,2})_(?P<site>\d+)_(?P<d>\d+)d(?P<h>\d+)h(?P<m>\d+)m\.\w+",
    re.IGNORECASE,
)


def _plan(files: Sequence[Path]) -> FolderPlan:
    planes = []
    places: dict[str, Place] = {}
    matches = [(file, PATTERN.fullmatch(file.name)) for file in files]
    vessels = {found["vessel"] for _, found in matches if found}
    for file, found in matches:
        if found is None:
            continue
        minutes = (int(found["d"]) * 24 + int(found["h"])) * 60 + int(found["m"])
        place = Place(
            plate=f"VID{found['vessel']}" if len(vessels) > 1 else "",
            well=found["well"],
            site=found["site"],
        )
        scene = "/".join(part for part in (place.plate, place.well, place.site) if part)
        places.setdefault(scene, place)
        planes.append(
            Plane(
                path=file,
                channel=found["before"] or found["kind"] or "channel 0",
                scene=scene,
                t=minutes,
                has_t=True,
            )
        )
    names = sorted({plane.channel for plane in planes}, key=natural)
    channels = tuple(Channel(name, modality_of(name)) for name in names)
    plan = FolderPlan(planes=tuple(planes), channels=channels, places=places)
    steps = np.unique(np.diff(sorted({plane.t for plane in planes})))
    if steps.size:
        plan = replace(plan, time_interval_s=60.0 * int(steps.min()))
    if all(channel.modality == "unknown" for channel in channels):
        plan = plan.with_guess(
            f"The names of the files do not say how {', '.join(names)} was lit. "
            "Choose by name which one is transmitted light."
        )
    return plan


INCUCYTE = Layout(
    name="incucyte",
    description="VID123_A1_1_00d06h00m.tif: vessel, well, field, time",
    matches=lambda name: PATTERN.fullmatch(name) is not None,
    plan=_plan,
)
