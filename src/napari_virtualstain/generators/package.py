"""A model on disk: a folder or zip with a card, weights, and a test pair.

=====================  ======================================================
``card.json``          `ModelCard`; holds the sha256 of the other two
``weights.safetensors``  tensors only, nothing that could run
``test_pair.npz``      planes and the stains that the weights made of them
=====================  ======================================================

A network of others that runs as it came (`registry.GRAPHS`) has its own file in the place of
the weights: ``weights.onnx``, or ``weights.pt`` of TorchScript, which is a program and is not
opened unless the caller trusts that very file.

Loading checks the hashes and repeats the test pair, so that a model that was
altered, cut short, or does not compute here what it computed there is refused
before anybody looks at its stains.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.generators.base import Generator, Graph
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.registry import GRAPHS, build_generator, get_spec
from napari_virtualstain.io.model_files import (
    PAINTS,
    TEST_PAIR,
    WEIGHTS,
    ModelFiles,
    check_place,
    pack_pair,
    write_model,
)
from napari_virtualstain.nets.weights import load_weights, weights_of

__all__ = ["Model", "fingerprint_of", "load_package", "read_card", "read_test_pair", "save_package"]

_WEIGHTS = tuple(dict.fromkeys([WEIGHTS, *(spec.weights for spec in GRAPHS.values())]))
_PROGRAM = "weights.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A generator with weights, and the card that says what it is for.

    Parameters
    ----------
    card
        What the model says of itself.
    generator
        Ready to predict.
    path
        Where it was loaded from.
    fingerprint
        sha256 of the card, which holds those of the weights: equal
        fingerprints predict the same stains.
    """

    card: ModelCard
    generator: Generator
    path: Path
    fingerprint: str


def _files(path: str | os.PathLike[str]) -> ModelFiles:
    return ModelFiles(path, card=PAINTS, weights=_WEIGHTS)


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model without its weights and without torch.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is not a model folder or zip, or its card is not valid.
    """
    return _files(path).card(ModelCard)


def fingerprint_of(path: str | os.PathLike[str]) -> str:
    """Return the fingerprint that a model has once it is loaded; see `Model`.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is not a model folder or zip.
    """
    return _files(path).fingerprint


def _nothing(sha256: str) -> bool:
    del sha256
    return False


def load_package(
    path: str | os.PathLike[str], *, trusted: Callable[[str], bool] = _nothing
) -> Model:
    """Load a model, check its hashes, and repeat its test pair.

    Parameters
    ----------
    path
        Folder or zip as `save_package` writes it.
    trusted
        Told the sha256 of a file of weights that is a program, returns whether it may run;
        none may if not given.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If a file is missing or altered, is a pickle or a program that is not trusted, does not
        fit the architecture, or if the test pair is not reproduced.
    """
    files = _files(path)
    path, card = files.path, files.card(ModelCard)
    file = get_spec(card.generator).weights
    weights = files.verified(file, card.files)
    if file == _PROGRAM and not trusted(card.files[file]):
        raise ModelPackageError(
            f"'{path}' is a TorchScript module, a program that may read and write files, and is "
            "not opened. If you trust who made it, say so once: virtualstain models import "
            f"'{path}' --out NAME --trust."
        )
    planes, expected = files.test_pair(card.files)
    generator = build_generator(
        card.generator,
        in_channels=len(card.inputs),
        out_channels=len(card.stains),
        architecture=card.architecture,
    )
    if isinstance(generator, Graph):
        generator.open_graph(weights)
    else:
        load_weights(generator.module(), weights, path)
    files.check_test_pair(expected, generator.predict(planes, seed=0))
    return Model(card=card, generator=generator, path=path, fingerprint=files.fingerprint)


def read_test_pair(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the test pair of a model: normalised planes, and the stains of its weights.

    Raises
    ------
    MissingInputError, ModelPackageError
        See `load_package`.
    """
    files = _files(path)
    return files.test_pair(files.card(ModelCard).files)


def save_package(
    path: str | os.PathLike[str],
    card: ModelCard,
    generator: Generator,
    test_planes: NDArray[np.float32],
    *,
    overwrite: bool = False,
) -> ModelCard:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    path
        Folder to make.
    card
        Its ``files`` are filled in.
    generator
        Whose weights are stored.
    test_planes
        Normalised planes (B, in_channels, *S) of the test pair.
    overwrite
        Replace a model folder that is there.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    OutputExistsError
        If the folder exists and may not be replaced.
    DiskError
        If the disk is full or cannot be written.
    """
    path = Path(path)
    check_model_output(path, overwrite=overwrite)
    content = generator.content if isinstance(generator, Graph) else weights_of(generator.module())
    files = {
        get_spec(card.generator).weights: content,
        TEST_PAIR: pack_pair(test_planes, generator.predict(test_planes, seed=0)),
    }
    return write_model(path, card, files, card_file=PAINTS)


def check_model_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a model folder that may not be written, before the training and not after.

    Raises
    ------
    OutputExistsError
        If something is there that is not a model, or is one and may not be replaced.
    """
    check_place(path, read_card, what="model", overwrite=overwrite)
