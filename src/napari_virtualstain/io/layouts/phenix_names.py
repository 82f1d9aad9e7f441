"""Phenix and JUMP Cell Painting names without their index: ``r01c01f01p01-ch1sk1fk1fl1.tiff``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.io.layouts.base import FolderPlan, Layout
from napari_virtualstain.io.layouts.numbered import plan_numbered
from napari_virtualstain.io.plate import Place, well_name

__all__ = ["PHENIX_NAMES"]

PATTERN = re.compile(
    r"r(?P<row>\d{2})c(?P<column>\d{2})f(?P<f>\d+)p(?P<z>\d+)-(?P<c>ch\d+)sk(?P<t>\d+)"
    r"(?:fk\d+)?(?:fl\d+)?\.tiff?",
    re.IGNORECASE,
)


def _match(name: str) -> re.Match[str] | None:
    return PATTERN.fullmatch(name)


def _place(groups: dict[str, str]) -> Place:
    return Place(
        well=well_name(int(groups["row"]) - 1, int(groups["column"]) - 1),
        site=f"f{int(groups['f']):02d}",
    )


def _scene(groups: dict[str, str]) -> str:
    place = _place(groups)
    return f"{place.well}/{place.site}"


def _plan(files: Sequence[Path]) -> FolderPlan:
    return plan_numbered(
        files, _match, channel=lambda groups: groups["c"].lower(), scene=_scene, place=_place
    )


PHENIX_NAMES = Layout(
    name="phenix-names",
    description="r01c01f01p01-ch1sk1fk1fl1.tiff: row, column, field, plane, channel, time",
    matches=lambda name: _match(name) is not None,
    plan=_plan,
)
