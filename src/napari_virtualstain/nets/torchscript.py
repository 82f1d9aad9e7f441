"""How does a TorchScript module run as a network of ours? Loaded, and told nothing else.

A TorchScript file holds a program beside its weights. It cannot call Python, but it is a program
all the same, which may read and write files: load one only from somebody who is trusted.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from napari_virtualstain.errors import ModelPackageError

__all__ = ["TorchScriptNetwork"]


class _Program:
    """A file that was loaded; a copy of a network loads it again."""

    def __init__(self, content: bytes, device: str = "cpu") -> None:
        load: Callable[..., nn.Module] = torch.jit.load
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch would rather have its newer format
                self.module = load(io.BytesIO(content), map_location=device).eval()
        except Exception as error:
            # Whatever torch says of files that are cut short or of another kind.
            said = str(error).strip().splitlines()[0].rstrip(".")
            raise ModelPackageError(
                f"The TorchScript file cannot be loaded: {said}. Copy or download it again."
            ) from error
        self.content = content

    def on(self, like: torch.Tensor) -> nn.Module:
        """Return the module on the device of a tensor, in its numbers."""
        if like.is_meta:
            return _Program(self.content, "meta").module.to(dtype=like.dtype)
        return self.module.to(like.device, like.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Program:
        return _Program(self.content)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Program, (self.content,)


class TorchScriptNetwork(nn.Module):
    """Map (B, C, *S) to (B, C', *S) with a program of torch, one picture of a batch at a time.

    Parameters
    ----------
    content
        Of a file that ``torch.jit.save`` wrote; its program may do anything, see above.

    Attributes
    ----------
    takes
        Lengths of the axes that it takes, as far as the shape of a weight tells: `None` for any,
        and nothing if there is no such weight.

    Raises
    ------
    ModelPackageError
        If it is no such file.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._program = _Program(content)
        first = next((p for p in self._program.module.parameters() if p.ndim >= 4), None)
        self.takes: tuple[int | None, ...] = ()
        if first is not None:
            self.takes = (None, int(first.shape[1]), *(None,) * (first.ndim - 2))
        # Says where the network is said to be: torch neither copies nor moves a program well.
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the program; see the class for shapes."""
        program = self._program.on(x)
        found = [program(one) for one in torch.split(x, 1)]
        if not all(isinstance(one, torch.Tensor) for one in found):
            raise ModelPackageError(
                "The TorchScript module gives several things at once; this version runs those that "
                "give one picture. Import another model."
            )
        return torch.cat(found)
