"""Which picture, and which of its planes a model is given: settings that several verbs have."""

from __future__ import annotations

from pydantic import Field

from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Plane

__all__ = ["PictureSettings"]


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
    z: tuple[Plane, ...] | None = Field(
        default=None, description="z planes for the model, from 0, for example 2,6,10"
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
