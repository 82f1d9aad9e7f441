"""How the weights of a network become a file, and how they come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.errors import ModelPackageError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_weights", "weights_of"]


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
