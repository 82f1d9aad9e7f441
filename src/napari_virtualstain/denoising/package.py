"""A denoiser on disk: a folder or zip with a card, weights, and a test pair.

=======================  ====================================================
``denoiser.json``        `DenoiserCard`; holds the sha256 of the other two
``weights.safetensors``  tensors only, nothing that could run
``test_pair.npz``        a normalised plane and what the weights made of it
=======================  ====================================================

Another name of the card than that of a model that stains, so that neither is taken for the other.
Loading checks the hashes and repeats the test pair.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.denoising.denoiser import Denoiser, build_denoiser
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.model_files import DENOISES, ModelFiles, check_place, write_model
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.nets.weights import load_checked, weights_and_pair

__all__ = [
    "DenoiserCard",
    "DenoiserModel",
    "check_denoiser_output",
    "load_denoiser",
    "read_denoiser_card",
    "save_denoiser",
]


class DenoiserCard(BaseModel):
    """Everything needed to run a denoiser, and to decide whether one should."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    method: Literal["noise2void"] = "noise2void"
    architecture: dict[str, Any]
    channel: str = Field(description="that it was trained on")
    normalisation: Normalisation = Field(
        description="of all planes that it was trained on; noise depends on how bright a pixel is, "
        "so that other planes are normalised by the same numbers"
    )
    pixel_size_um: float | None = Field(
        default=None, gt=0, description="of the pixels that it was trained on, if known"
    )
    squared_error: float | None = Field(
        default=None,
        description="at hidden pixels, in squared standard deviations of the noisy planes: what "
        "the network cannot foretell, most of it noise",
    )
    training: TrainingReport
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of each file beside the card"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserModel:
    """A denoiser with weights, and the card that says what it is for.

    Parameters
    ----------
    card
        What it says of itself.
    denoiser
        Ready to denoise.
    path
        Where it was loaded from.
    fingerprint
        sha256 of the card, which holds those of the weights.
    """

    card: DenoiserCard
    denoiser: Denoiser
    path: Path
    fingerprint: str


def read_denoiser_card(path: str | os.PathLike[str]) -> DenoiserCard:
    """Read the card of a denoiser without its weights and without torch.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is no denoiser, or its card is not valid.
    """
    return ModelFiles(path, card=DENOISES).card(DenoiserCard)


def check_denoiser_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be written; see `io.model_files.check_place`."""
    check_place(path, read_denoiser_card, what="denoiser", overwrite=overwrite)


def load_denoiser(path: str | os.PathLike[str]) -> DenoiserModel:
    """Load a denoiser, check its hashes, and repeat its test pair.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If a file is missing or altered, does not fit the architecture, or if the test pair is not
        reproduced.
    """
    files = ModelFiles(path, card=DENOISES)
    card = files.card(DenoiserCard)
    denoiser = build_denoiser(architecture=card.architecture)
    load_checked(denoiser.module(), files, card.files, denoiser.predict)
    return DenoiserModel(
        card=card, denoiser=denoiser, path=files.path, fingerprint=files.fingerprint
    )


def save_denoiser(
    path: str | os.PathLike[str],
    card: DenoiserCard,
    denoiser: Denoiser,
    test_planes: NDArray[np.float32],
) -> DenoiserCard:
    """Write the folder of a denoiser, whole or not at all.

    Parameters
    ----------
    path
        Folder to make; one that is there is replaced.
    card
        Its ``files`` are filled in.
    denoiser
        Whose weights are stored.
    test_planes
        Normalised, (B, 1, Y, X), of the test pair.

    Raises
    ------
    DiskError
        If the disk is full or cannot be written.
    """
    files = weights_and_pair(denoiser.module(), test_planes, denoiser.predict)
    return write_model(Path(path), card, files, card_file=DENOISES)
