"""Open a file of weights so that nothing in it can run.

Pickles are read with torch's ``weights_only``, which makes tensors and plain values and
refuses whatever else a pickle could call. What it refuses is not opened in another way.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import MissingInputError, ModelPackageError
from napari_virtualstain.io.fetch import LFS_POINTER

__all__ = ["read_weights"]

_LARGEST = 16 * 2**30
"""Bytes; no network that runs here comes near it."""


def read_weights(path: Path) -> Any:
    """Return what a file holds: tensors by name, or a dictionary of such and plain values.

    Parameters
    ----------
    path
        safetensors, or what ``torch.save`` wrote.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ModelPackageError
        If it is a pointer, too large, damaged, or holds more than weights.
    """
    if not path.is_file():
        raise MissingInputError(
            f"There is no file '{path}'. Give the file of weights that is to be imported."
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
    if head.startswith(LFS_POINTER):
        raise ModelPackageError(
            f"'{path}' is not the weights but a Git LFS pointer to them ({size} bytes). Fetch the "
            "real file, for example with `git lfs pull` in its repository."
        )
    if size > _LARGEST:
        raise ModelPackageError(
            f"'{path}' has {size / 1e9:.0f} GB, which no network that runs here has. Give the file "
            "of one model."
        )
    if path.suffix.lower() == ".safetensors":
        return _safetensors(path)
    return _pickle(path)


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelPackageError(
            f"'{path}' is not a safetensors file, or is damaged ({error}). Copy or download it "
            "again."
        ) from error


def _pickle(path: Path) -> Any:
    import torch

    try:
        # DINO keeps its arguments beside its weights; a namespace is names and values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelPackageError(
            f"'{path}' is a pickle that holds more than weights, or is none. Such a file can run "
            "any code when it is opened, and is not. In a place where that may happen, open it, "
            "keep its state dict alone with `safetensors.torch.save_file`, and import that."
        ) from error
    except Exception as error:
        # Whatever torch says of files that are cut short, of another kind, or TorchScript.
        # A bare key or nothing at all tells nobody anything.
        telling = not isinstance(error, KeyError | EOFError) and str(error)
        said = str(error).splitlines()[0].rstrip(".") if telling else "it is another kind of file"
        raise ModelPackageError(
            f"'{path}' is not read as weights: {said}. Copy or download it again, or give a .pth, "
            ".ckpt, .p or .safetensors file of a state dict."
        ) from error
