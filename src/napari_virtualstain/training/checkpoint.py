"""What a training needs to go on as if it had never stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.training.settings import LoopSettings

__all__ = ["load_checkpoint", "save_checkpoint"]

_VERSION = 3


def save_checkpoint(path: Path, state: dict[str, Any], *, settings: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        torch.save({"version": _VERSION, "settings": settings, **state}, scratch)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, *, settings: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only.

    Raises
    ------
    ModelPackageError
        If the file is damaged.
    SettingsError
        If it belongs to a training with other settings; names the first that differs.
    """
    try:
        state: dict[str, Any] = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ModelPackageError(
            f"The checkpoint '{path}' cannot be read ({type(error).__name__}). "
            "Delete it and train again without --resume."
        ) from error
    if state.get("version") != _VERSION:
        raise ModelPackageError(
            f"The checkpoint '{path}' is of another program or version. "
            "Delete it and train again without --resume."
        )
    # A setting that is younger than the checkpoint had the effect of its default then.
    stored = {n: f.default for n, f in LoopSettings.model_fields.items()} | state["settings"]
    for key, value in settings.items():
        if stored.get(key) != value:
            raise SettingsError(
                f"The checkpoint was made with {key} = {stored.get(key)!r}, this training has "
                f"{value!r}. Use the same settings, or train again without --resume."
            )
    return state
