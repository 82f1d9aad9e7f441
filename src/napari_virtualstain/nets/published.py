"""What is in a file of weights that others published? Opened so that nothing in it can run.

Pickles are read with torch's ``weights_only``, which makes tensors and plain values and
refuses whatever else a pickle could call. What it refuses is not opened in another way.
What the names and shapes mean is the business of the importers, of encoders and of generators.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_virtualstain.errors import MissingInputError, ModelPackageError
from napari_virtualstain.io.fetch import LFS_POINTER

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "Content",
    "Format",
    "State",
    "count_of",
    "fill_weights",
    "read_as",
    "read_checkpoint",
    "with_counters",
]

Found = TypeVar("Found")

State = Mapping[str, "Tensor"]
"""Tensors by name."""

_LARGEST = 16 * 2**30
"""Bytes; no network that runs here comes near it."""
_UNDER = ("model_dict", "nn_state", "state_dict", "teacher", "ema", "model", "module", "student")
"""Where weights lie in a dictionary of other things, the best first."""
_WRAPPER = "module."
"""What training on several graphics cards puts in front of every name."""
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Content:
    """What a file holds.

    Parameters
    ----------
    state
        Its weights by name.
    beside
        What lies around them, for example epochs.
    under
        Under which key they lay, ``""`` if they are all there is.
    """

    state: State
    beside: Mapping[str, Any]
    under: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(Generic[Found]):
    """A kind of checkpoint.

    Parameters
    ----------
    name
        For people.
    fits
        Whether names of weights look like it.
    read
        Returns what is in it.

    Notes
    -----
    ``read`` raises `errors.ModelPackageError` where weights of this kind do not run here.
    """

    name: str
    fits: Callable[[State], bool]
    read: Callable[[Content], Found]


def read_as(formats: Sequence[Format[Found]], content: Content) -> Found | None:
    """Read weights as the first format whose names they have; `None` if they look like none.

    Raises
    ------
    ModelPackageError
        If they lack what says how large the network is, or do not run here.
    """
    for one in formats:
        if one.fits(content.state):
            try:
                return one.read(content)
            except (KeyError, IndexError, ZeroDivisionError) as error:
                raise ModelPackageError(
                    f"These weights look like {one.name}, but lack a part of it ({error}). "
                    "Copy or download the file again, or import another checkpoint."
                ) from error
    return None


def read_checkpoint(path: Path) -> Content:
    """Open a file of weights.

    Parameters
    ----------
    path
        safetensors, or what ``torch.save`` wrote.

    Raises
    ------
    MissingInputError, ModelPackageError
        If it is not there, is a pointer, too large, damaged, no file of weights, or holds more
        than weights.
    """
    held = _read(path)
    under = ""
    state = _tensors_of(held)
    if state is None and isinstance(held, Mapping):
        for name in _UNDER:
            state = _tensors_of(held.get(name))
            if state is not None:
                under = name
                break
    if state is None:
        raise ModelPackageError(
            f"'{path}' holds no weights by name: {_contents(held)}. Give a file of a state dict."
        )
    if all(name.startswith(_WRAPPER) for name in state):
        state = {name.removeprefix(_WRAPPER): value for name, value in state.items()}
    beside: Mapping[str, Any] = {k: v for k, v in held.items() if k != under} if under else {}
    return Content(state=state, beside=beside, under=under)


def fill_weights(module: nn.Module, state: State, looks_like: str) -> None:
    """Give a network weights of others, and all of it.

    Parameters
    ----------
    module
        Whose weights are replaced; it ends in evaluation.
    state
        Under its names.
    looks_like
        What the weights were recognised as, for messages.

    Raises
    ------
    ModelPackageError
        If some are missing, too many, of another shape, or no numbers; names up to three.
    """
    import torch

    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    differing = {name for name in wanted.keys() & given.keys() if wanted[name] != given[name]}
    wrong = [
        f"{_few(sorted(names))} {what}"
        for names, what in (
            (wanted.keys() - given.keys(), "missing"),
            (given.keys() - wanted.keys(), "too many"),
            (differing, "of another shape"),
        )
        if names
    ]
    if wrong:
        raise ModelPackageError(
            f"The weights look like {looks_like}, but are not all of it: {'; '.join(wrong)}. "
            "Copy or download the file again, or import another checkpoint."
        )
    bad = [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise ModelPackageError(
            f"The weights hold values that are no numbers: {_few(bad)}. Import an earlier "
            "checkpoint of that training."
        )
    with torch.no_grad():
        module.load_state_dict(dict(state), strict=True)
    module.eval()


def with_counters(state: State) -> State:
    """Return weights with the counters of BatchNorm, which files of torch before 0.4.1 lack.

    Nothing but training with momentum `None` needs them.
    """
    import torch

    counters = {
        f"{name.removesuffix('running_mean')}num_batches_tracked": torch.tensor(0)
        for name in state
        if name.endswith(".running_mean")
    }
    return {**counters, **state}


def count_of(state: State, before: str) -> int:
    """Return how many numbered parts follow a name, for example of ``"down_path."``.

    Examples
    --------
    >>> count_of({"a.0.w": None, "a.1.w": None, "b.7.w": None}, "a.")
    2
    """
    numbers = {k[len(before) :].split(".", 1)[0] for k in state if k.startswith(before)}
    return len([n for n in numbers if n.isdigit()])


def _tensors_of(value: Any) -> State | None:
    """Return a value if it is tensors by name, else `None`."""
    import torch

    if not isinstance(value, Mapping) or not value:
        return None
    if all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items()):
        return value
    return None


def _contents(held: Any) -> str:
    if isinstance(held, Mapping):
        return f"a dictionary of {', '.join(list(map(str, held))[:_SHOWN]) or 'nothing'}"
    return f"a {type(held).__name__}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _read(path: Path) -> Any:
    """Return what a file holds: tensors by name, or a dictionary of such and plain values."""
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
