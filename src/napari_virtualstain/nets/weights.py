"""How do the weights of a network become a file, and how do they come back? Checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ModelPackageError
from napari_virtualstain.io.model_files import TEST_PAIR, WEIGHTS, ModelFiles, pack_pair

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_checked", "load_weights", "weights_and_pair", "weights_of"]

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def weights_of(module: nn.Module) -> bytes:
    """Return the weights of a network as a safetensors file."""
    from safetensors.torch import save

    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    # One entry: safetensors writes several in any order, and equal weights are equal files.
    return save(tensors, metadata={"format": "pt"})


def load_weights(module: nn.Module, content: bytes, path: Path) -> None:
    """Give a network the weights of a safetensors file.

    Parameters
    ----------
    module
        Whose weights are replaced.
    content
        Of the file.
    path
        Of the model, for messages.

    Raises
    ------
    ModelPackageError
        If it is no such file, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        module.load_state_dict(load(content), strict=True)
    except SafetensorError as error:
        raise ModelPackageError(
            f"The weights of '{path}' are no safetensors file ({error}). "
            "Ask for the model in safetensors; other formats are not opened."
        ) from error
    except RuntimeError as error:
        raise ModelPackageError(
            f"The weights of '{path}' do not fit the architecture in its card: "
            f"{str(error).splitlines()[-1].strip()} Download the model again."
        ) from error


def load_checked(
    module: nn.Module, files: ModelFiles, hashes: Mapping[str, str], answer: Answer
) -> None:
    """Give a network the weights of a model, and repeat its test pair.

    Parameters
    ----------
    module
        Whose weights are replaced.
    files
        Of the model.
    hashes
        The sha256 of each, as its card has them.
    answer
        What the network makes of the pictures of a test pair.

    Raises
    ------
    ModelPackageError
        If a file is missing or altered, does not fit the network, or the test pair is not
        reproduced.
    """
    load_weights(module, files.verified(WEIGHTS, hashes), files.path)
    pictures, expected = files.test_pair(hashes)
    files.check_test_pair(expected, answer(pictures))


def weights_and_pair(
    module: nn.Module, pictures: NDArray[np.float32], answer: Answer
) -> dict[str, bytes]:
    """Return the files beside the card of a model, for `io.model_files.write_model`.

    Parameters
    ----------
    module
        Whose weights are stored.
    pictures
        Normalised, of the test pair.
    answer
        What the network makes of them.
    """
    return {WEIGHTS: weights_of(module), TEST_PAIR: pack_pair(pictures, answer(pictures))}
