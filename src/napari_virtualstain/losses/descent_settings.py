"""What can be set about how weights are moved; without torch, so that forms and help need none."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DescentSettings"]

OptimiserName = Literal["adamw", "adam", "rmsprop"]


class DescentSettings(BaseModel):
    """What can be set about how weights are moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(default=1e-3, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay")
    optimiser: OptimiserName = Field(default="adamw", description="how weights are moved")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of adam: memory of the gradient")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="of adam: memory of its square")
