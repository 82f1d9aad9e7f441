"""The conditional Wasserstein GAN of label-free Cell Painting, as a generator.

Cross-Zamirski et al. 2022, "Label-free prediction of Cell Painting from brightfield
images", Sci. Rep. 12, 10001, doi:10.1038/s41598-022-12914-x. A U-Net that was
trained by regression (``--start``) goes on against a critic that sees stains and
bright field together. The critic counts for less with every epoch, so that the
regression has the last word:

    loss = L1 + 0.01 / epoch * (-D(stain, planes))

Where we depart
---------------
The penalty is on the gradient of each sample's score, and the critic has no
BatchNorm, which would let samples of a batch see each other. The published code
does otherwise in both; ``--method gradient_norm=as-published/critic_norm=batch``
repeats it. ``epoch`` counts training pixels seen, since patches are drawn at random.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_virtualstain.generators.adversarial import Game, PatchGameSettings, patch_game
from napari_virtualstain.generators.unet import UNetGenerator

__all__ = ["WganGpGenerator", "WganGpSettings"]


class WganGpSettings(PatchGameSettings):
    """Settings of the conditional WGAN-GP; defaults are the paper's."""

    learning_rate: float = Field(default=2e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="adam", description="how weights are moved"
    )
    beta1: float = Field(default=0.0, ge=0, lt=1, description="of adam: memory of the gradient")
    beta2: float = Field(default=0.9, ge=0, lt=1, description="of adam: memory of its square")
    adversarial: Literal["wasserstein", "lsgan", "vanilla", "hinge"] = Field(
        default="wasserstein", description="what the networks play for"
    )
    adversarial_weight: float = Field(default=0.01, ge=0, description="what the critic counts")
    fading: bool = Field(
        default=True, description="divide what the critic counts by the epoch, from 1"
    )
    critic_steps: int = Field(
        default=5, ge=1, description="steps of the critic to one of the generator"
    )
    critic_decay: float = Field(default=1e-3, ge=0, description="weight decay of the critic")
    penalty: float = Field(
        default=10.0, ge=0, description="what the gradient penalty counts; 0 for none"
    )


class WganGpGenerator(UNetGenerator):
    """Predict stains with a U-Net that also learnt from a critic.

    Sharper than regression where the bright field does not decide what is there; what
    it adds is likely, and need not be true. Parameters as of `UNetGenerator`.
    """

    learning = WganGpSettings

    def learner(self, settings: WganGpSettings) -> Game:  # type: ignore[override]
        """Return the game of the U-Net and its critic."""
        return patch_game(self.module(), self.in_channels + self.out_channels, settings)
