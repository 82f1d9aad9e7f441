"""Which picture, and which of its planes a model is given: settings that several verbs have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Plane

__all__ = ["FocusMeasure", "PictureSettings", "Planes", "direction_of"]


def _word(value: Any) -> Any:
    """Take ``("focus",)``, as the command line and forms give it, for the word."""
    return "focus" if value in (("focus",), ["focus"]) else value


Planes = Annotated[tuple[Plane, ...] | Literal["focus"] | None, BeforeValidator(_word)]
"""Indices of z planes, or that the plane in focus is to be searched."""

FocusMeasure = Literal["power_log_log_slope", "brenner", "normalised_variance", "laplacian_energy"]
"""Names of `preprocessing.focus.MEASURES`."""


class PictureSettings(JobSettings):
    """Which image, and which of its planes a model is given."""

    input: PathText = Field(description="image file or folder with the bright field")
    model: ModelText = Field(
        default="demo", description="name of a model, or a model folder or zip"
    )
    scene: str | None = Field(
        default=None, description="which image, if the input holds several (see `info`)"
    )
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: Planes = Field(
        default=None,
        description="z planes for the model, from 0, for example 2,6,10; or focus: those around "
        "the plane in focus, which is searched",
    )
    z_step: float | None = Field(
        default=None, gt=0, description="distance of z planes in µm, if the file does not say"
    )
    focus_measure: FocusMeasure = Field(
        default="power_log_log_slope", description="by which the plane in focus is searched"
    )
    focus_direction: Literal["auto", "largest", "smallest"] = Field(
        default="auto",
        description="what the measure is in focus; auto: as in the model's training planes, else "
        "as the stack itself tells",
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the file does not say or is wrong"
    )
    illumination: PathText | None = Field(
        default=None,
        description="file of `virtualstain illumination`: the planes are corrected for uneven "
        "light as they are read",
    )


def direction_of(word: str) -> int | None:
    """Return 1 for ``"largest"``, -1 for ``"smallest"``, `None` for ``"auto"``."""
    return {"largest": 1, "smallest": -1}.get(word)
