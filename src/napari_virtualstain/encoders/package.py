"""An encoder on disk: a folder or zip with a card, weights, and a test pair.

=======================  ====================================================
``encoder.json``         `EncoderCard`; holds the sha256 of the other two
``weights.safetensors``  tensors only, nothing that could run
``test_pair.npz``        pictures and the features that the weights made of them
=======================  ====================================================

Another name of the card than a generator's, so that neither is taken for the other. Loading
checks the hashes and repeats the test pair. The file of weights that an extra brings
(`encoders.packaged`) is an encoder, too, whose card is known here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.encoders.base import Encoder
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.packaged import build_packaged, packaged_at
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.io.model_files import (
    SEES,
    ModelFiles,
    check_place,
    sha256_of,
    write_model,
)
from napari_virtualstain.nets.weights import load_checked, weights_and_pair

__all__ = [
    "EncoderModel",
    "check_encoder_output",
    "is_encoder",
    "load_encoder_package",
    "read_encoder_card",
    "save_encoder",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderModel:
    """An encoder with weights, and the card that says what it is for.

    Parameters
    ----------
    card
        What it says of itself.
    encoder
        Ready to see.
    path
        Where it was loaded from.
    fingerprint
        sha256 of the card, which holds those of the weights.
    """

    card: EncoderCard
    encoder: Encoder
    path: Path
    fingerprint: str


def read_encoder_card(path: str | os.PathLike[str]) -> EncoderCard:
    """Read the card of an encoder without its weights and without torch.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is no encoder, or its card is not valid.
    """
    known = packaged_at(Path(path))
    return ModelFiles(path, card=SEES).card(EncoderCard) if known is None else known.card


def is_encoder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder or zip with the card of an encoder, or one of an extra.

    Raises
    ------
    ModelPackageError
        If it is a zip and damaged.
    """
    path = Path(path)
    if packaged_at(path) is not None:
        return True
    if path.is_dir():
        return (path / SEES).is_file()
    return path.exists() and ModelFiles(path, card=SEES).content is not None


def check_encoder_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be written; see `io.model_files.check_place`."""
    check_place(path, read_encoder_card, what="encoder", overwrite=overwrite)


def load_encoder_package(path: str | os.PathLike[str]) -> EncoderModel:
    """Load an encoder, check its hashes, and repeat its test pair.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If a file is missing or altered, does not fit the architecture, or if the test pair is not
        reproduced.
    """
    known = packaged_at(Path(path))
    if known is not None:
        return EncoderModel(
            card=known.card, encoder=build_packaged(known, Path(path)), path=Path(path),
            fingerprint=sha256_of(known.card.model_dump_json().encode()),
        )  # fmt: skip
    files = ModelFiles(path, card=SEES)
    card = files.card(EncoderCard)
    encoder = build_encoder(
        card.encoder,
        in_channels=card.in_channels,
        classes=len(card.classes),
        architecture=card.architecture,
    )
    load_checked(encoder.module(), files, card.files, encoder.features)
    return EncoderModel(card=card, encoder=encoder, path=files.path, fingerprint=files.fingerprint)


def save_encoder(
    path: str | os.PathLike[str],
    card: EncoderCard,
    encoder: Encoder,
    test_pictures: NDArray[np.float32],
) -> EncoderCard:
    """Write the folder of an encoder, whole or not at all.

    Parameters
    ----------
    path
        Folder to make; one that is there is replaced.
    card
        Its ``files`` are filled in.
    encoder
        Whose weights are stored.
    test_pictures
        Normalised, (B, in_channels, *S), of the test pair.

    Raises
    ------
    DiskError
        If the disk is full or cannot be written.
    """
    files = weights_and_pair(encoder.module(), test_pictures, encoder.features)
    return write_model(Path(path), card, files, card_file=SEES)
