"""How the index of a plate is remembered, so that it is parsed once.

A plan is kept in columns, since most of what an index says it says again for
every plane. What is kept counts only as long as the index has the same path,
size and time of change, and the parser is the same; anything damaged is made
anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import parse_json
from napari_virtualstain.io.cache import cache_folder, keep_file
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.plate import Place

__all__ = ["remembered_plan"]

VERSION = 2
"""Of parsers and of the form; raised when either changes."""


def remembered_plan(index: Path, parse: Callable[[Path], FolderPlan]) -> FolderPlan:
    """Return what a parser makes of an index, from the cache if it did so before.

    Parameters
    ----------
    index
        The file; the planes lie beside it.
    parse
        Reads it.
    """
    stat = index.stat()
    key = f"{VERSION}|{index.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{parse.__module__}"
    file = cache_folder() / "indices" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    found = _read(file, index.parent)
    if found is not None:
        return found
    plan = parse(index)
    content = json.dumps(_columns(plan), separators=(",", ":")).encode()
    keep_file(file, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    return plan


def _columns(plan: FolderPlan) -> dict[str, Any]:
    scenes = list(dict.fromkeys(plane.scene for plane in plan.planes))
    numbers = {name: number for number, name in enumerate(scenes)}
    channels = {channel.name: number for number, channel in enumerate(plan.channels)}
    rows = [
        (
            None if p.path is None else p.path.name,
            numbers[p.scene],
            channels[p.channel],
            p.t,
            p.z,
            plan.z_um.get((p.scene, p.channel, p.z)),
        )
        for p in plan.planes
    ]
    return {
        "scenes": scenes,
        "channels": [asdict(channel) for channel in plan.channels],
        "planes": list(zip(*rows, strict=True)),
        "has": [plan.planes[0].has_t, plan.planes[0].has_z],
        "pixel_size_um": asdict(plan.pixel_size_um),
        "time_interval_s": plan.time_interval_s,
        "na": plan.na,
        "guesses": plan.guesses,
        "places": [asdict(plan.places[scene]) for scene in scenes],
    }


def _read(file: Path, folder: Path) -> FolderPlan | None:
    """Return what is remembered, `None` if nothing is or it is damaged."""
    try:
        digest, _, content = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    found = parse_json(content)
    scenes = found["scenes"]
    channels = tuple(Channel(**channel) for channel in found["channels"])
    names = [channel.name for channel in channels]
    has_t, has_z = found["has"]
    rows = list(zip(*found["planes"], strict=True))
    return FolderPlan(
        planes=tuple(
            Plane(
                path=None if name is None else folder / name,
                channel=names[channel],
                scene=scenes[scene],
                t=t,
                z=z,
                has_t=has_t,
                has_z=has_z,
            )
            for name, scene, channel, t, z, _ in rows
        ),
        channels=channels,
        pixel_size_um=PixelSize(**found["pixel_size_um"]),
        z_um={
            (scenes[scene], names[channel], z): height
            for _, scene, channel, _, z, height in rows
            if height is not None
        },
        guesses=tuple(found["guesses"]),
        places={scene: _place(place) for scene, place in zip(scenes, found["places"], strict=True)},
        time_interval_s=found["time_interval_s"],
        na=found["na"],
    )


def _place(kept: dict[str, Any]) -> Place:
    tuples = {
        key: None if kept[key] is None else tuple(kept[key])
        for key in ("position_um", "plate_shape")
    }
    facts = tuple((name, value) for name, value in kept["facts"])
    return Place(**{**kept, **tuples, "facts": facts})
