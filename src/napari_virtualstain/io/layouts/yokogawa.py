"""Yokogawa CellVoyager names: ``plate_D08_T0001F002L01A01Z04C01.tif``.

Used for folders that lost their ``MeasurementData.mlf``, which says more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.io.layouts.base import FolderPlan, Layout
from napari_virtualstain.io.layouts.numbered import plan_numbered
from napari_virtualstain.io.plate import Place

__all__ = ["YOKOGAWA"]

PATTERN = re.compile(
    r".*_(?P<well>[A-Z]{1,2}\d{2})_T(?P<t>\d+)F(?P<f>\d+)L\d+A\d+Z(?P<z>\d+)(?P<c>C\d+)\.tiff?",
    re.IGNORECASE,
)


def _match(name: str) -> re.Match[str] | None:
    return PATTERN.fullmatch(name)


def _plan(files: Sequence[Path]) -> FolderPlan:
    return plan_numbered(
        files,
        _match,
        channel=lambda groups: groups["c"],
        scene=lambda groups: f"{groups['well']}/f{int(groups['f']):02d}",
        place=lambda groups: Place(well=groups["well"], site=f"f{int(groups['f']):02d}"),
    )


YOKOGAWA = Layout(
    name="yokogawa",
    description="plate_D08_T0001F002L01A01Z04C01.tif: well, time, field, z, channel",
    matches=lambda name: _match(name) is not None,
    plan=_plan,
)
