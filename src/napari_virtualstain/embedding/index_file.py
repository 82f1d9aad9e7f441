"""How is an index of training data kept? One safetensors file beside the card of its model.

It knows the weights that its features are of, and not the card: so it may be added to a model that
is there, and the fingerprint of the model stays. It holds small pictures of training images, unless
they were left out, and the names of their files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_virtualstain.embedding.familiar import TrainingIndex
from napari_virtualstain.errors import ModelPackageError, parse_json, refuse_newer
from napari_virtualstain.io.disk import write_whole

__all__ = ["INDEX_FILE", "LARGEST", "described", "index_bytes", "read_index", "write_index"]

INDEX_FILE = "training_index.safetensors"
"""Name of the file beside the card of a model."""
LARGEST = 2_000_000
"""Bytes of the file, at most; patches are left out beyond it."""
_MOST = 1 << 28
_ABOUT = "about"
_TENSORS = (
    "centre", "basis", "field_centre", "field_basis", "codes", "sources", "places", "light",
    "stain",
)  # fmt: skip
_MADE = "Make it again with `virtualstain index --overwrite`."


class _About(BaseModel):
    """What the file says beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Literal[1] = 1
    model: str
    weights: str
    layer: str
    patch: tuple[int, ...]
    patch_limit: float = Field(ge=0)
    field_limit: float = Field(ge=0)
    share_limit: float = Field(ge=0)
    alarms: float = Field(gt=0)
    fields: tuple[str, ...]
    fitted: int = Field(ge=1)
    held_out: int = Field(ge=0)
    stain_name: str = ""


def described(index: TrainingIndex) -> dict[str, Any]:
    """Return what the card of a model says of its index: where it lies, and of what it is."""
    return {
        "file": INDEX_FILE, "fields": index.fitted, "fields_held_out": index.held_out,
        "patches": len(index.codes), "patch_px": list(index.patch), "layer": index.layer,
        "alarms": round(index.alarms, 4), "pictures": bool(len(index.light)),
    }  # fmt: skip


def index_bytes(index: TrainingIndex) -> bytes:
    """Return the file, of `LARGEST` bytes at most: patches are left out evenly until it fits."""
    values = {n: getattr(index, n) for n in _About.model_fields if n != "schema_version"}
    about = _About(**values).model_dump_json()
    rows = np.arange(len(index.codes))
    while True:
        own = {name: getattr(index, name) for name in _TENSORS}
        for name in ("codes", "sources", "places", "light", "stain"):
            if len(own[name]) == len(index.codes):
                own[name] = own[name][rows]
        content: bytes = save(
            {name: np.ascontiguousarray(one) for name, one in own.items()},
            metadata={_ABOUT: about},
        )
        if len(content) <= LARGEST or len(rows) <= 1:
            return content
        fewer = max(1, int(len(rows) * min(0.95, LARGEST / len(content))))
        rows = rows[np.linspace(0, len(rows) - 1, fewer).astype(int)]


def write_index(path: Path, index: TrainingIndex) -> None:
    """Write the file in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    write_whole(path, index_bytes(index))


def read_index(path: Path) -> TrainingIndex:
    """Read the file.

    Raises
    ------
    ModelPackageError
        If it is none, or damaged.
    """
    try:
        if path.stat().st_size > _MOST:
            raise ModelPackageError(f"'{path}' is too large to be an index. {_MADE}")
        content = path.read_bytes()
    except OSError as error:
        raise ModelPackageError(
            f"'{path}' cannot be read: {error.strerror or error}. {_MADE}"
        ) from error
    try:
        tensors = load(content)
        about = _header(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelPackageError(
            f"'{path}' is no index of training data ({error}). {_MADE}"
        ) from error
    known = _About.model_fields["schema_version"].default
    refuse_newer(about, known, f"'{path}'", ModelPackageError)
    try:
        said = _About.model_validate_json(about)
        values: dict[str, Any] = said.model_dump(exclude={"schema_version"})
        index = TrainingIndex(**values | {name: tensors[name] for name in _TENSORS})
        _check(index)
    except (ValidationError, KeyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ModelPackageError(
            f"'{path}' is no index of training data ({first}). {_MADE}"
        ) from error
    return index


def _header(content: bytes) -> bytes:
    """Return what the file says of itself; the library gives it to those alone who give a path."""
    length = int.from_bytes(content[:8], "little")
    about: str = parse_json(content[8 : 8 + length].decode())["__metadata__"][_ABOUT]
    return about.encode()


def _check(index: TrainingIndex) -> None:
    """Refuse tensors that do not fit each other."""
    (features,), (count,) = index.centre.shape, index.field_centre.shape
    many = len(index.codes)
    fits = (
        index.basis.shape == (features, count)
        and index.field_basis.shape == (count, count)
        and index.codes.shape == (many, count)
        and index.sources.shape == (many,)
        and index.places.shape == (many, 2)
        and all(p.ndim == 3 and len(p) in (0, many) for p in (index.light, index.stain))
        and (not many or 0 <= index.sources.min() <= index.sources.max() < len(index.fields))
    )
    if not fits:
        raise ValueError("its parts do not fit each other")
