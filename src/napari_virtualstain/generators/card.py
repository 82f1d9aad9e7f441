"""What a model says about itself: the card that travels with its weights.

Numbers that later decide whether a prediction may be trusted (the statistics of
the training images, calibration, QC thresholds, an index of training patches)
have their place from the first schema on, and are `None` until measured.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.intensity import Normalisation, PixelStatistics, Rule
from napari_virtualstain.io.origin import ImportedFrom, TrainingReport

__all__ = [
    "IQR_UNIT",
    "RELATIVE_UNIT",
    "SCHEMA_VERSION",
    "InputPlane",
    "LabelKind",
    "ModelCard",
    "PlaneRanges",
    "Stain",
    "VolumeInput",
]

SCHEMA_VERSION = 1

RELATIVE_UNIT = "SD of its field"
"""Unit of stains that each training field was normalised for by itself."""

IQR_UNIT = "interquartile range of its field"
"""Unit of stains that were normalised by `intensity.Rule` ``robust``, field by field."""

_Length = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlaneRanges(_Frozen):
    """What one plane of the training fields was like: the yardstick of `virtualstain passport`."""

    n_fields: int = Field(ge=1, description="training fields that were measured")
    window_px: tuple[int, int] = Field(
        description="(y, x) of the windows in which the measures of focus were taken"
    )
    numbers: dict[str, tuple[float, float]] = Field(
        description="by name (`preprocessing.likeness.NUMBERS`): 5 % and 95 % over the fields"
    )


class InputPlane(_Frozen):
    """One plane that the network was trained on."""

    channel: str = Field(description="modality, for example 'Brightfield'")
    z_offset_um: float | None = Field(
        default=None, description="position relative to focus in micrometres, if known"
    )
    statistics: PixelStatistics | None = Field(
        default=None, description="grey values of the training images, all pixels together"
    )
    typical_contrast: _Length | None = Field(
        default=None,
        description="median standard deviation over mean of a training field; a field with far "
        "less is scaled as a usual one, and not blown up",
    )
    ranges: PlaneRanges | None = Field(
        default=None, description="noise, light, focus and the like of the training fields"
    )


class VolumeInput(_Frozen):
    """How a network takes a stack of one kind of light whose planes come out as planes again."""

    window: _Count | None = Field(
        default=None,
        description="z planes that it takes and gives at a time; None for any number of them",
    )
    z_step_um: _Length | None = Field(
        default=None, description="between the planes that it was trained on, if known"
    )


class Stain(_Frozen):
    """One channel that comes out."""

    name: str
    colour: str | None = Field(default=None, description="RRGGBB")
    normalisation: Normalisation = Field(
        description="from grey values to what the network predicts; inverted on output"
    )
    unit: str = Field(
        default="camera counts",
        description="of the output after inversion: grey values, or standard deviations of a field "
        "that was normalised by itself, from which no amount follows",
    )
    expected_pcc: float | None = Field(
        default=None, description="mean Pearson correlation on validation fields"
    )


class LabelKind(_Frozen):
    """One thing that a network can be told of an image, for example its treatment."""

    name: str = Field(min_length=1)
    classes: tuple[str, ...] = Field(
        min_length=1, description="what it may be, in the order in which the network numbers them"
    )


class ModelCard(_Frozen):
    """Everything needed to run a model, and to decide whether one should."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    title: str = ""
    description: str = ""
    generator: str = Field(description="registry name")
    architecture: dict[str, Any]
    inputs: tuple[InputPlane, ...] = Field(min_length=1)
    stains: tuple[Stain, ...] = Field(min_length=1)
    labels: tuple[LabelKind, ...] = Field(
        default=(), description="what the network can be told of an image; nothing if it cannot"
    )
    pixel_size_um: _Length | tuple[_Length, _Length] = Field(
        description="of the pixels that the network sees: one number, or y and x"
    )
    volume: VolumeInput | None = Field(
        default=None,
        description="of a network over stacks, which has one input; None for one whose planes go "
        "in together and come out as one",
    )
    resize_to: tuple[_Count, _Count] | None = Field(
        default=None,
        description="(y, x) in pixels that each field was resized to for the training, whatever "
        "its shape; None for fields as they are",
    )
    na: float | None = Field(
        default=None, gt=0, description="numerical aperture of the objective of the training images"
    )
    illumination_corrected: bool | None = Field(
        default=None,
        description="whether the training planes were corrected for uneven light, if known",
    )
    input_rule: Rule = Rule()
    training: TrainingReport
    limits: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    feature_statistics: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    qc_thresholds: dict[str, Any] | None = None
    patch_index: dict[str, Any] | None = None
    imported: ImportedFrom | None = Field(
        default=None, description="the file that `models import` read, None for a training"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of each file beside the card"
    )

    @property
    def pixel_size_yx_um(self) -> tuple[float, float]:
        """Size along y and x of the pixels that the network sees, in micrometres."""
        size = self.pixel_size_um
        return size if isinstance(size, tuple) else (size, size)

    @property
    def pixel_size_words(self) -> str:
        """The same for people, for example ``"0.6 µm"`` or ``"0.61 x 0.82 µm"``."""
        y, x = self.pixel_size_yx_um
        return f"{y:g} µm" if y == x else f"{y:g} x {x:g} µm"

    @property
    def takes_words(self) -> str:
        """What goes in, for people, for example ``"3 planes of Brightfield at -4, +0, +4 µm"``."""
        channel = self.inputs[0].channel
        if self.volume is not None:
            step = self.volume.z_step_um
            apart = "" if step is None else f", {step:g} µm apart"
            window = self.volume.window
            return f"a stack of {channel}{apart}, " + (
                "of any depth" if window is None else f"{window} planes at a time"
            )
        offsets = [plane.z_offset_um for plane in self.inputs]
        known = [f"{offset:+g}" for offset in offsets if offset is not None]
        where = f" at {', '.join(known)} µm" if len(known) == len(offsets) else ""
        return f"{len(offsets)} plane{'s' * (len(offsets) > 1)} of {channel}{where}"

    @property
    def relative_intensity(self) -> bool:
        """Whether intensities can be compared within a field only."""
        return any(stain.unit in {RELATIVE_UNIT, IQR_UNIT} for stain in self.stains)

    @property
    def stain_names(self) -> tuple[str, ...]:
        """Names of the stains in the order in which they are predicted."""
        return tuple(stain.name for stain in self.stains)
