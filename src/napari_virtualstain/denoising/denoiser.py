"""How is a plane denoised? By a network that has learnt from the noisy planes themselves.

Noise2Void: Krull, Buchholz and Jug 2019, arXiv:1811.10980. A U-Net with BatchNorm is asked for
pixels that it is not shown (`training.blind_spots` says which), and the squared error at these
pixels, and at no other, is made small. What it then answers for a whole plane is the denoised one.

Notes
-----
The paper's network has three resolutions and 32 channels at the finest, as preset ``paper`` has;
``small`` has half the channels, which a processor trains in a quarter of the time. It learns
by Adam at 4e-4, cut when the validation loss stays; ours follows the cosine of all trainings
here from a larger one. An absolute error instead of a squared one would give the median of what a
pixel may be, which is darker than the mean where noise is that of counted photons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.descent_settings import DescentSettings
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.nets.building import ask, build
from napari_virtualstain.nets.unet import UNet

__all__ = ["PRESETS", "Denoiser", "DenoiserSettings", "Hidden", "build_denoiser"]

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"depth": 3, "width": 32},
    "small": {"depth": 3, "width": 16},
    "tiny": {"depth": 2, "width": 4},
}
"""Architecture settings by name."""
_TARGET = f"{__name__}:Denoiser"


class DenoiserSettings(DescentSettings):
    """How a denoiser learns."""

    learning_rate: float = Field(default=2e-3, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """The patches of one step.

    Parameters
    ----------
    shown
        (B, 1, Y, X), without the pixels that are asked for.
    asked
        (B, 1, Y, X): the pixels that are asked for, NaN everywhere else.
    """

    shown: torch.Tensor
    asked: torch.Tensor


class Denoiser:
    """A U-Net from one plane to the same plane; see the module.

    Parameters
    ----------
    depth, width
        Of `nets.unet.UNet`.
    """

    learning = DenoiserSettings

    def __init__(self, *, depth: int = 3, width: int = 16) -> None:
        self._module = UNet(1, 1, depth=depth, width=width, norm="batch")
        self.multiple_of = 2 ** (depth - 1)

    def module(self) -> nn.Module:
        """Return the torch module that the weights are of."""
        return self._module

    def predict(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise normalised planes (B, 1, Y, X), edges divisible by `multiple_of`."""
        return ask(self._module, planes)

    def learner(self, settings: DescentSettings) -> _Guessing:
        """Return what teaches it, which moves the weights of `module`."""
        return _Guessing(self._module, settings)


class _Guessing:
    """Make the squared error small where a pixel was hidden."""

    def __init__(self, module: nn.Module, settings: DescentSettings) -> None:
        self._module, self._loss = module, get_loss("l2")
        self.networks: Mapping[str, nn.Module] = {"denoiser": module}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "denoiser": make_optimiser(settings, module)
        }

    def step(self, batch: Hidden, moment: Moment) -> dict[str, float]:
        with moment.arithmetic():
            guessed = self._module(batch.shown)
        loss = self._loss(guessed.float(), batch.asked)
        return {"loss": moment.descend(self.optimisers["denoiser"], [(loss, 1.0)])}


def build_denoiser(
    preset: str | None = None, *, architecture: Mapping[str, Any] | None = None, seed: int = 0
) -> Denoiser:
    """Build a denoiser with random weights, the same for the same seed.

    Raises
    ------
    UnknownNameError, SettingsError
        See `nets.building.build`.
    """
    built: Denoiser = build(
        _TARGET, PRESETS, called="denoiser 'noise2void'", preset=preset, architecture=architecture,
        seed=seed,
    )  # fmt: skip
    return built
