"""What can be set about a training, whatever is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LoopSettings"]


class LoopSettings(BaseModel):
    """The plain supervised recipe.

    Notes
    -----
    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a linear warm-up
    over the first 5 % of the steps and a cosine down to 1 % of the rate; the
    weights that are kept are an exponential moving average.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["l1", "l2"] = Field(default="l1", description="pixel loss")
    steps: int = Field(default=2000, ge=1, description="optimiser steps")
    batch: int = Field(default=8, ge=1, description="patches a step")
    patch: int = Field(default=128, ge=8, description="edge of a patch in pixels")
    learning_rate: float = Field(default=1e-3, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=1e-4, ge=0, description="AdamW weight decay")
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
    seed: int = Field(default=0, ge=0, description="decides weights, patches and flips")
