"""What does every sampler promise? Steps that can be taken in tiles.

A rule knows the noise levels and no tiles, no network and no files; `inference.stepwise` drives it.
Every rule works pixel by pixel, which is what makes sampling in tiles possible at all: only the
network looks at neighbours. Pixels are numpy's or torch's, on whatever device they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.errors import SettingsError

if TYPE_CHECKING:
    import torch

__all__ = ["Array", "Pixels", "StepRule", "check_clip", "narrow", "wide"]

Pixels = NDArray[np.float32]
Array = TypeVar("Array", NDArray[np.float32], "torch.Tensor")


class StepRule(Protocol):
    """What every sampler promises, so that it can be run in tiles."""

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of the network for each tile."""

    @property
    def initial_scale(self) -> float:
        """Standard deviation of the noise that the first x holds; 0 for none."""

    @property
    def memory(self) -> int:
        """Arrays of the shape of x that are kept of each pixel between steps.

        None for one-step rules, one for rules that need the last prediction, or the picture that
        they began with.
        """

    @property
    def outputs(self) -> int:
        """Arrays of the shape of x that are predicted: one, and those of variance and gradient."""

    def is_stochastic(self, step: int) -> bool:
        """Say whether a step adds noise."""

    def prepare(self, step: int) -> StepTime:
        """Return what the network is told before a step; steps count from 0, the noisiest."""

    def step(
        self, step: int, x: Array, prediction: Array, history: Array, noise: Array | None
    ) -> tuple[Array, Array]:
        """Take one step, pixel by pixel.

        Parameters
        ----------
        step
            From 0, the noisiest, to ``steps - 1``; what comes out of the last is the picture.
        x
            Float32 of any shape: (C, *S) of a tile, (B, C, *S) of a batch.
        prediction
            Of the network for x, (outputs, *x.shape): what it predicts; then where its variance
            lies, if it learned that; then the gradient of a class, if that guides.
        history
            (memory, *x.shape) float32, as the last step returned it; at step 0 the picture that a
            bridge begins with, else zeros.
        noise
            Standard normal, of the shape of x; `None` where the step `is_stochastic` not.

        Returns
        -------
        tuple
            The next x and the next history, of the same shapes and dtype.
        """


def wide(values: Any) -> Any:
    """Return float64 of numpy or torch; float32 on Apple's graphics, which have no other."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return values.float() if values.device.type == "mps" else values.double()


def narrow(values: Any) -> Any:
    """Return float32 of numpy or torch."""
    return values.astype(np.float32) if isinstance(values, np.ndarray) else values.float()


def check_clip(clip: tuple[float, float] | None) -> None:
    """Refuse a range that is upside down.

    Raises
    ------
    SettingsError
        If the first number is not the smaller.
    """
    if clip is not None and not clip[0] < clip[1]:
        raise SettingsError(
            f"A range to cut to has a lower and an upper end, got {clip}. "
            "Put the smaller number first."
        )
