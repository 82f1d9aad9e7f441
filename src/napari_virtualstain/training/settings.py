"""What can be set about a training, whatever is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from napari_virtualstain.errors import SettingsError, unknown_name
from napari_virtualstain.losses.descent_settings import DescentSettings

__all__ = ["Duration", "LoopSettings", "ViewSettings", "learning_settings"]

D = TypeVar("D", bound=DescentSettings)
_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def _seconds(value: Any) -> Any:
    """Read ``"90s"``, ``"2min"``, ``"1.5h"`` or a number of seconds."""
    found = re.fullmatch(r"\s*([\d.]+)\s*(s|min|h|)\s*", str(value))
    return float(found[1]) * _UNITS[found[2]] if found else value


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A time in seconds, which may be written as ``90s``, ``2min`` or ``1.5h``."""


class LoopSettings(BaseModel):
    """The part of a training that all methods share.

    Notes
    -----
    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a linear warm-up
    over the first 5 % of the steps and a cosine down to 1 % of the rate; the
    weights that are kept are an exponential moving average. Methods may have
    other defaults; what is stated here takes their place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["l1", "l2"] = Field(default="l1", description="pixel loss")
    steps: int = Field(default=2000, ge=1, description="optimiser steps")
    budget: Duration | None = Field(
        default=None,
        description="time for the steps instead of their number, for example 2min; how many "
        "follows from how long the first ones take",
    )
    batch: int = Field(default=8, ge=1, description="patches a step")
    at_once: int | None = Field(
        default=None,
        ge=1,
        description="patches that are computed together, all of a batch if not given; gradients "
        "are added up, which takes less memory",
    )
    patch: int = Field(default=128, ge=8, description="edge of a patch in pixels")
    patch_z: int = Field(default=16, ge=1, description="z planes of a patch, of volumes")
    learning_rate: float | None = Field(
        default=None, gt=0, description="largest learning rate; that of the method if not given"
    )
    weight_decay: float | None = Field(
        default=None, ge=0, description="weight decay; that of the method if not given"
    )
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="how the learning rate goes on after its warm-up"
    )
    clip: float | None = Field(
        default=None, gt=0, description="largest norm of the gradient; not limited if not given"
    )
    method: tuple[str, ...] = Field(
        default=(),
        description="settings of the method, as NAME=VALUE; `virtualstain models --all` lists them",
    )
    perceptual: str | None = Field(
        default=None,
        description="a classifier (name or path of an encoder) to which predicted stains are to "
        "look like true ones, besides",
    )
    perceptual_weight: float = Field(
        default=1.0, gt=0, description="what that counts beside the loss of the method"
    )
    denoised_targets: tuple[str, ...] = Field(
        default=(),
        description="folders of denoisers (`denoise --keep-as`), one a stain: what teaches is "
        "denoised by them; scores stay those against the raw truth",
    )
    sampler: Literal["pixels", "stains"] = Field(
        default="pixels",
        description="what is drawn alike: pixels of the fields, or stains where fields lack some",
    )
    foreground: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the patches that are drawn where stains are brighter than their "
        "mean, so that empty background does not rule; 0 for anywhere",
    )
    ema: float = Field(
        default=0.998, ge=0, lt=1, description="decay of the weight average; 0 for none"
    )
    augment: bool = Field(default=True, description="flip and rotate patches by 90 degrees")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="arithmetic of the forward pass; weights stay float32"
    )
    validate_every: int = Field(
        default=200, ge=1, description="steps between validations, log lines and checkpoints"
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="validations without a better one after which a training ends; 0 for never",
    )
    seed: int = Field(default=0, ge=0, description="decides weights, patches and flips")


class ViewSettings(BaseModel):
    """Which views an encoder learns from, of those that learn from views.

    Notes
    -----
    Shares of the area are those of WS-DINO's code (two wide views of 224 px, eight narrow ones of
    96 px), which its command line cannot change; DINO on photographs takes 0.4 to 1 and 0.05
    to 0.4.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    narrow_views: int = Field(
        default=8, ge=0, description="small views of a step that only the student sees"
    )
    narrow_patch: int = Field(default=96, ge=8, description="their edge in pixels")
    wide_share: tuple[float, float] = Field(
        default=(0.1, 0.2), description="part of a picture that one of the two wide views shows"
    )
    narrow_share: tuple[float, float] = Field(
        default=(0.04, 0.08), description="part of a picture that a small view shows"
    )

    own_steps: int = Field(
        default=0,
        ge=0,
        description="of wsdino: first steps in which the small views are of the same picture, as "
        "of dino; published is a start from weights of DINO",
    )

    @field_validator("wide_share", "narrow_share")
    @classmethod
    def _ordered(cls, share: tuple[float, float]) -> tuple[float, float]:
        if not 0 < share[0] <= share[1] <= 1:
            raise ValueError("two numbers between 0 and 1, the smaller first")
        return share


def learning_settings(kind: type[D], settings: LoopSettings) -> D:
    """Return what a method is told of a training.

    Parameters
    ----------
    kind
        Settings of the method; their defaults hold where nothing is stated.
    settings
        Of the training.

    Raises
    ------
    UnknownNameError, SettingsError
        If ``--method`` names a setting that the method has not, or a value that it cannot take.
    """
    own: dict[str, Any] = {"loss": settings.loss} if "loss" in kind.model_fields else {}
    for name in ("learning_rate", "weight_decay"):
        value = getattr(settings, name)
        if value is not None:
            own[name] = value
    own |= _stated(kind, settings.method)
    try:
        return kind.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"The setting {name} = {first['input']!r} is not possible: {first['msg']}. "
            f"Correct it in --method {name}=VALUE."
        ) from error


def _stated(kind: type[DescentSettings], words: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE``; numbers of a list are parted by ``/``."""
    stated: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise SettingsError(
                f"--method takes NAME=VALUE, not {word!r}. "
                "Write for example --method critic_steps=5."
            )
        if name not in kind.model_fields:
            raise unknown_name("setting of the method", name, kind.model_fields)
        many = isinstance(kind.model_fields[name].default, tuple)
        stated[name] = tuple(value.split("/")) if many else value
    return stated
