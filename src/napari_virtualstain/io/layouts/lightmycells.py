"""Light My Cells: ``image_123_BF_z0.ome.tiff`` beside ``image_123_Nucleus.ome.tiff``.

Transmitted light (BF, PC, DIC) at several heights, and up to four stains at
the best one, of which a field may lack any. Each field has its own stains;
those that it lacks are not among its channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_virtualstain.io.image import Modality
from napari_virtualstain.io.layouts.base import FolderPlan, Layout
from napari_virtualstain.io.layouts.numbered import plan_numbered

__all__ = ["LIGHT_MY_CELLS"]

PATTERN = re.compile(
    r"image_(?P<n>\d+)_(?:(?P<light>BF|PC|DIC)_z(?P<z>\d+)|"
    r"(?P<stain>Nucleus|Mitochondria|Tubulin|Actin))(?:\.ome)?\.tiff?",
    re.IGNORECASE,
)
LIGHT = ("BF", "PC", "DIC")


def _match(name: str) -> re.Match[str] | None:
    return PATTERN.fullmatch(name)


def _modality(name: str) -> Modality:
    return "transmitted" if name in LIGHT else "fluorescence"


def _channel(groups: dict[str, str]) -> str:
    return groups["light"].upper() if "light" in groups else groups["stain"].capitalize()


def _plan(files: Sequence[Path]) -> FolderPlan:
    plan = plan_numbered(
        files,
        _match,
        channel=_channel,
        scene=lambda groups: f"image_{groups['n']}",
        modality=_modality,
    )
    # Transmitted light first: it is the input.
    return replace(plan, channels=tuple(sorted(plan.channels, key=lambda c: c.name not in LIGHT)))


LIGHT_MY_CELLS = Layout(
    name="light-my-cells",
    description="image_123_BF_z0.ome.tiff: field, light, z; image_123_Nucleus.ome.tiff: stain",
    matches=lambda name: _match(name) is not None,
    plan=_plan,
)
