"""What a denoiser is taught, and how it is examined: patches with pixels that it is not shown.

A task of the training loop (`training.loop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.datasets.grey_planes import GreyPlanes
from napari_virtualstain.denoising.denoiser import Denoiser, Hidden
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.training.blind_spots import Replacement, hide
from napari_virtualstain.training.loop import Examination
from napari_virtualstain.training.patches import check_patch, turn
from napari_virtualstain.training.settings import LoopSettings, learning_settings

__all__ = ["Denoising", "Hiding"]

_EXAMINED = 32
"""Patches of an examination."""

Patches = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """How pixels are hidden; see `training.blind_spots`.

    Parameters
    ----------
    spacing
        Of hidden pixels, in pixels.
    radius
        How far the neighbours lie that stand in for them, in pixels.
    replacement
        One neighbour, or the median of all.
    """

    spacing: int = 8
    radius: int = 5
    replacement: Replacement = "neighbour"


class Denoising:
    """Learn to guess hidden pixels; see `training.loop.Task`.

    It is examined by the same loss on patches that are drawn once, with other pixels hidden than in
    any step. They are of the same planes: nothing is held back, since what is asked for is never
    shown. What stays is noise, so that the score has a floor that nobody knows.

    Parameters
    ----------
    denoiser
        With the weights to start from.
    planes
        To learn from.
    settings
        Of the training.
    name
        Of what the planes show, for the log.
    hiding
        Which pixels.

    Raises
    ------
    SettingsError
        If patches, planes and network do not fit.
    """

    score = "squared error"

    def __init__(
        self,
        denoiser: Denoiser,
        planes: GreyPlanes,
        settings: LoopSettings,
        *,
        name: str,
        hiding: Hiding = Hiding(),
    ) -> None:
        self.names: tuple[str, ...] = (name,)
        self._denoiser, self._planes, self._settings = denoiser, planes, settings
        self._hiding, self._patch = hiding, (settings.patch, settings.patch)
        check_patch(self._patch, multiple_of=denoiser.multiple_of)
        shapes = [planes.shape(n) for n in range(len(planes))]
        for height, width in shapes:
            if min(height, width) < settings.patch:
                raise SettingsError(
                    f"A plane of {name!r} is {height} x {width} px, smaller than a patch of "
                    f"{settings.patch} x {settings.patch} px. Use a smaller --patch."
                )
        self.seen_a_step = settings.batch * prod(self._patch) / sum(map(prod, shapes))
        self._told = learning_settings(denoiser.learning, settings)

    def module(self) -> nn.Module:
        """Return the denoiser's network."""
        return self._denoiser.module()

    def learner(self, devices: Sequence[str]) -> Learner:
        """Return what teaches it."""
        self._denoiser.module().to(devices[0])
        return self._denoiser.learner(self._told)

    def draw(self, *, step: int) -> Patches:
        """Return what is shown and what is asked for, (B, 1, Y, X) each."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, step])
        return self._drawn(rng, settings.batch, augment=settings.augment)

    def batch(self, drawn: Patches, device: str) -> Hidden:
        """Return the same on the device."""
        return Hidden(*(torch.from_numpy(pixels).to(device) for pixels in drawn))

    def examine(self) -> Examination:
        """Guess the hidden pixels of patches that are the same each time."""
        rng = np.random.default_rng([self._settings.seed, 0, 1])
        shown, asked = self._drawn(rng, _EXAMINED, augment=False)
        wrong = [
            np.square(self._denoiser.predict(one[None])[0] - wanted)
            for one, wanted in zip(shown, asked, strict=True)
        ]
        known = np.isfinite(asked)
        loss = float(np.stack(wrong)[known].mean()) if known.any() else float("nan")
        return Examination(loss=loss, scores=(loss,))

    def _drawn(self, rng: np.random.Generator, count: int, *, augment: bool) -> Patches:
        hiding, pairs = self._hiding, []
        for _ in range(count):
            plane = int(rng.integers(len(self._planes)))
            corner = [
                int(rng.integers(n - edge + 1))
                for n, edge in zip(self._planes.shape(plane), self._patch, strict=True)
            ]
            which = int(rng.integers(8)) if augment else 0
            region = tuple(
                slice(at, at + edge) for at, edge in zip(corner, self._patch, strict=True)
            )
            pixels = np.ascontiguousarray(turn(self._planes.read(plane, region), which))
            pairs.append(
                hide(
                    pixels,
                    rng,
                    spacing=hiding.spacing,
                    radius=hiding.radius,
                    replacement=hiding.replacement,
                )
            )
        shown, asked = (np.stack(some)[:, None] for some in zip(*pairs, strict=True))
        return shown, asked
