"""pix2pix as a generator: L1 for what is where, a PatchGAN for how it looks.

Isola et al. 2017, "Image-to-image translation with conditional adversarial
networks", arXiv:1611.07004, equation 4; used for Cell Painting by Xing et al. 2024,
arXiv:2407.09507, where it did best of five generators:

    loss = GAN + 100 * L1

Where we depart
---------------
The generator is our U-Net, whose skips work at every resolution as the paper's do.
It has no dropout: the paper keeps it in prediction as the only source of noise, and
finds that the output hardly changes with it; here the same planes always give the
same stain. ``--method adversarial=lsgan`` plays for least squares.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_virtualstain.generators.adversarial import Game, PatchGameSettings, patch_game
from napari_virtualstain.generators.unet import UNetGenerator
from napari_virtualstain.nets.patchgan import PatchGanNorm

__all__ = ["Pix2PixGenerator", "Pix2PixSettings"]


class Pix2PixSettings(PatchGameSettings):
    """Settings of pix2pix; defaults are the paper's."""

    learning_rate: float = Field(default=2e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="adam", description="how weights are moved"
    )
    beta1: float = Field(default=0.5, ge=0, lt=1, description="of adam: memory of the gradient")
    pixel_weight: float = Field(default=100.0, ge=0, description="what the pixel loss counts")
    critic_norm: PatchGanNorm = Field(default="batch", description="of the critic's middle layers")


class Pix2PixGenerator(UNetGenerator):
    """Predict stains with a U-Net that a PatchGAN taught; parameters as of `UNetGenerator`."""

    learning = Pix2PixSettings

    def learner(self, settings: Pix2PixSettings) -> Game:  # type: ignore[override]
        """Return the game of the U-Net and its discriminator."""
        return patch_game(self.module(), self.in_channels + self.out_channels, settings)
