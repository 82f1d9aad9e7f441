"""The multi-channel WGAN-GP over volumes, as a generator.

L. Venieri, "Generative adversarial networks for three-dimensional multi-channel
virtual fluorescent staining", master thesis, Università di Bologna, sections 3.1 and
3.2. One stack of bright field in, six stained stacks out. No sample has all six
stains: what is missing counts neither in L1, nor for the critic, nor in its penalty.

    loss = L1 + 0.05 * (-D(planes, stains))

Where we depart
---------------
RMSprop at 5e-5 and 5 critic steps are the thesis's; a batch is 16 patches, computed a
few at a time (``--at-once``). The penalty is taken between truth and prediction: the
printed algorithm 1, line 8, mixes the bright field in (see `losses.adversarial`). Presets
but ``paper`` have BatchNorm: with the thesis's InstanceNorm a field without cells is stained
as if it were full of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_virtualstain.generators.adversarial import AdversarialSettings, Game
from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.nets.critic3d import Critic3d
from napari_virtualstain.nets.unet3d import UNet3d, UNet3dNorm

__all__ = ["WganGp3dGenerator", "WganGp3dSettings"]


class WganGp3dSettings(AdversarialSettings):
    """Settings of the WGAN-GP over volumes; defaults are the thesis's."""

    learning_rate: float = Field(default=5e-5, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="rmsprop", description="how weights are moved"
    )
    adversarial: Literal["wasserstein", "lsgan", "vanilla", "hinge"] = Field(
        default="wasserstein", description="what the networks play for"
    )
    adversarial_weight: float = Field(default=0.05, ge=0, description="what the critic counts")
    critic_steps: int = Field(
        default=5, ge=1, description="steps of the critic to one of the generator"
    )
    penalty: float = Field(
        default=10.0, ge=0, description="what the gradient penalty counts; 0 for none"
    )
    critic_width: int = Field(default=64, ge=1, description="channels of the critic's first layer")


class WganGp3dGenerator(ForwardGenerator):
    """Predict stacks of stains with a U-Net over volumes that also learnt from a critic.

    Parameters
    ----------
    in_channels, out_channels
        Kinds of light, 1 as a rule, and stains.
    depth, width, norm
        See `napari_virtualstain.nets.unet3d.UNet3d`.
    """

    learning = WganGp3dSettings

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int = 4,
        width: int = 64,
        norm: UNet3dNorm = "instance",
    ) -> None:
        super().__init__(
            UNet3d(in_channels, out_channels, depth=depth, width=width, norm=norm),
            in_channels=in_channels, out_channels=out_channels,
            multiple_of=2 ** (depth - 1), ndim=3,
        )  # fmt: skip

    def learner(self, settings: WganGp3dSettings) -> Game:  # type: ignore[override]
        """Return the game of the U-Net and its critic."""
        critic = Critic3d(self.in_channels + self.out_channels, width=settings.critic_width)
        return Game(self.module(), critic, settings)
