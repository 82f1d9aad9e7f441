"""Names of the yeast growth pipeline PIE: ``t1xy0401c1.tif``, time, position, channel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.io.layouts.base import FolderPlan, Layout
from napari_virtualstain.io.layouts.numbered import plan_numbered

__all__ = ["PIE"]

PATTERN = re.compile(
    r"(?:t(?P<t>\d+))?(?P<xy>xy\d+)(?:z(?P<z>\d+))?(?P<c>c\d+)?\.\w+",
    re.IGNORECASE,
)


def _match(name: str) -> re.Match[str] | None:
    return PATTERN.fullmatch(name)


def _plan(files: Sequence[Path]) -> FolderPlan:
    return plan_numbered(
        files,
        _match,
        channel=lambda groups: groups.get("c", "c1"),
        scene=lambda groups: groups["xy"],
    )


PIE = Layout(
    name="pie",
    description="t1xy0401c1.tif: time, position, channel",
    matches=lambda name: _match(name) is not None,
    plan=_plan,
)
