"""What an encoder says about itself: the card that travels with its weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.io.origin import ImportedFrom, TrainingReport

__all__ = ["EncoderCard", "EncoderChannel"]

_Count = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderChannel(_Frozen):
    """One channel that it was trained on."""

    name: str
    normalisation: Normalisation | None = Field(
        default=None,
        description="of the whole training set, so that intensities can be compared; None where "
        "each picture is normalised by itself",
    )


class EncoderCard(_Frozen):
    """Everything needed to run an encoder, and to decide whether one should."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    title: str = ""
    description: str = ""
    encoder: str = Field(description="registry name")
    architecture: dict[str, Any]
    in_channels: _Count = Field(description="channels that the network takes at once")
    per_channel: bool = Field(
        description="whether each channel goes through by itself, repeated to as many as the "
        "network takes; else all go together, in the order of `channels`"
    )
    channels: tuple[EncoderChannel, ...] = Field(
        default=(), description="it was trained on; empty for an encoder of any single channel"
    )
    normalisation: Normalisation | None = Field(
        default=None, description="of channels that have none of their own"
    )
    input_rule: Rule = Field(
        default=Rule(), description="fitted on each whole picture, where no normalisation is stored"
    )
    crop_px: tuple[_Count, ...] = Field(
        description="edges of the crops that it is to see: (y, x), of volumes (z, y, x)"
    )
    pixel_size_um: float | None = Field(
        default=None, gt=0, description="of the pixels that it was trained on, if known"
    )
    label: str = Field(
        default="", description="what it was taught by, for example treatment; '' for nothing"
    )
    classes: tuple[str, ...] = Field(
        default=(), description="that it tells apart, in the order of its scores"
    )
    training: TrainingReport
    limits: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    imported: ImportedFrom | None = Field(
        default=None, description="the file that `models import` read, None for a training"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of each file beside the card"
    )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels it was trained on."""
        return tuple(channel.name for channel in self.channels)

    @property
    def takes_words(self) -> str:
        """What goes in, for people, for example ``"DNA and ER, each by itself"``."""
        named = ", ".join(self.channel_names)
        if not self.channels:
            return "any channel, each by itself"
        return f"{named}, each by itself" if self.per_channel else f"{named} together"
