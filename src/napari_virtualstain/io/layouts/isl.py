"""In-silico-labeling names: ``key-value`` pairs between commas.

``lab-X,...,well-A4,...,z_depth-7,channel-PHASE_CONTRAST,is_mask-false.png``;
projections have ``depth_computation-MAXPROJECT`` in the place of ``z_depth``.
Christiansen et al., Cell 173, 792 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane, natural
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place

__all__ = ["ISL"]

WITHIN = frozenset({"channel", "z_depth", "depth_computation", "is_mask", "value_range"})
"""Keys that tell the planes of one image apart; all others tell images apart."""


def _pairs(name: str) -> dict[str, str]:
    stem = name.rpartition(".")[0]
    split = (part.partition("-") for part in stem.split(","))
    return {key: value for key, _, value in split}


def _matches(name: str) -> bool:
    pairs = _pairs(name)
    depth = pairs.get("z_depth")
    return "channel" in pairs and (depth is None or depth.isdecimal())


def _plan(files: Sequence[Path]) -> FolderPlan:
    named = [(file, _pairs(file.name)) for file in sorted(files, key=lambda f: natural(f.name))]
    keys = {key for _, pairs in named for key in pairs} - WITHIN
    varying = [
        key
        for key in dict.fromkeys(key for _, pairs in named for key in pairs)
        if key in keys and len({pairs.get(key) for _, pairs in named}) > 1
    ]
    planes = []
    places: dict[str, Place] = {}
    for file, pairs in named:
        scene = "/".join(pairs.get(key, "") for key in varying)
        if "well" in pairs:
            site = "/".join(pairs.get(key, "") for key in varying if key != "well")
            facts = [(key, pairs[key]) for key in ("condition", "lab") if pairs.get(key)]
            places.setdefault(scene, Place(well=pairs["well"], site=site, facts=tuple(facts)))
        mask = pairs.get("is_mask") == "true"
        planes.append(
            Plane(
                path=file,
                channel=pairs["channel"] + (" mask" if mask else ""),
                scene=scene,
                z=int(pairs.get("z_depth", 0)),
                has_z="z_depth" in pairs,
            )
        )
    names = dict.fromkeys(plane.channel for plane in planes)
    # Transmitted light first: it is the input.
    channels = sorted(
        (Channel(name, modality_of(name)) for name in names),
        key=lambda channel: channel.modality != "transmitted",
    )
    return FolderPlan(planes=tuple(planes), channels=tuple(channels), places=places)


ISL = Layout(
    name="in-silico-labeling",
    description="…,well-A4,…,z_depth-7,channel-PHASE_CONTRAST,is_mask-false.png",
    matches=_matches,
    plan=_plan,
)
