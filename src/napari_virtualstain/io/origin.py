"""Where the weights of a model come from: a training, or a file of others."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DenoisedTarget", "ImportedFrom", "TrainingReport"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DenoisedTarget(_Frozen):
    """A stain that taught without its noise."""

    denoiser: str = Field(description="fingerprint of what took the noise away")
    validation_pcc: float | None = Field(
        default=None,
        description="mean Pearson correlation with the denoised truth of the validation fields, "
        "which a smooth stain gains from; the `expected_pcc` of a stain is with their raw truth",
    )


class TrainingReport(_Frozen):
    """How the weights came about."""

    recipe: str
    data: str
    n_fields: int
    n_validation_fields: int
    steps: int
    seed: int
    loss: str
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    pairs: dict[str, Any] | None = Field(
        default=None,
        description="of a pairs file: its sha256, how fields were split, which stains were moved",
    )
    illumination: tuple[str, ...] = Field(
        default=(),
        description="fingerprints of the functions that corrected the planes for uneven light",
    )
    denoised: dict[str, DenoisedTarget] = Field(
        default_factory=dict, description="by stain, those that taught without their noise"
    )
    taught: tuple[str, ...] = Field(
        default=(),
        description="hashes of a few blocks of the fields that taught, by which `evaluate` knows "
        "them again",
    )
    parent: str | None = Field(
        default=None,
        description="fingerprint of the model that was tuned, None for one from scratch",
    )
    tuned: dict[str, Any] = Field(
        default_factory=dict,
        description="by stain, what the tuning did on fields that did not teach: scores of before "
        "and after, and the gain with its interval",
    )


class ImportedFrom(_Frozen):
    """Which file of others the weights are from."""

    file: str = Field(description="its name")
    sha256: str = Field(description="of the file")
    format: str = Field(description="what it was recognised as")
