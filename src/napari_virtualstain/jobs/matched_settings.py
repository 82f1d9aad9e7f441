"""Settings that verbs share which put predicted images and their truth together."""

from __future__ import annotations

from typing import Any

from pydantic import Field

__all__ = ["AXES", "MATCH", "PATTERN", "PIXEL_SIZE", "SCENE", "Z"]

MATCH: Any = Field(
    default=(), description="PREDICTED=TRUE channel names where they differ, e.g. DNA=DAPI"
)
SCENE: Any = Field(
    default=None,
    description="only predicted images whose name is like this, for example B0?/f01 (see "
    "`info`); several by commas",
)
Z: Any = Field(
    default=None, description="z plane that is looked at, from 0; the middle one if not given"
)
PIXEL_SIZE: Any = Field(
    default=None, gt=0, description="pixel size in µm, if the files do not say or are wrong"
)
AXES: Any = Field(default=None, description="axes of the target, if it does not say")
PATTERN: Any = Field(
    default=None, description="how the files of a folder with the target are named"
)
