"""How a network is built by the name of its method, and how it is asked with numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ask", "build"]


def build(
    target: str,
    presets: Mapping[str, Mapping[str, Any]],
    *,
    called: str,
    preset: str | None,
    architecture: Mapping[str, Any] | None,
    seed: int,
    **sizes: int,
) -> Any:
    """Build what a registry names, with random weights, the same for the same seed.

    Parameters
    ----------
    target
        ``"module:Class"``.
    presets
        Architecture settings by name.
    called
        Kind and name for messages, for example ``"generator 'unet'"``.
    preset
        One of them.
    architecture
        Settings that override the preset's.
    seed
        Decides the weights; the global random state is left as it was.
    sizes
        Channels and classes.

    Raises
    ------
    UnknownNameError
        If the preset does not exist.
    SettingsError
        If the architecture has settings that the class does not know.
    """
    settings: dict[str, Any] = {}
    if preset is not None:
        if preset not in presets:
            raise unknown_name(f"preset of {called.partition(' ')[2]}", preset, presets)
        settings.update(presets[preset])
    settings.update(architecture or {})
    module, _, attribute = target.partition(":")
    cls = getattr(import_module(module), attribute)
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(**sizes, **settings)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise SettingsError(
            f"The {called} cannot be built with {settings}: {error}. "
            "Correct the architecture in its card."
        ) from error


def ask(
    module: nn.Module,
    pictures: NDArray[np.float32],
    question: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> NDArray[np.float32]:
    """Return what a network answers, where its weights are, without gradients.

    Parameters
    ----------
    module
        Put into evaluation mode.
    pictures
        What it takes.
    question
        What is asked; the forward pass if `None`.
    """
    import torch

    module.eval()
    device = next(module.parameters()).device
    with torch.inference_mode():
        given = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
        found = (question or module)(given)
    answer: NDArray[np.float32] = found.float().cpu().numpy()
    return answer
