"""A variational autoencoder as a generator: planes in, through a small code, stains out.

The autoencoder of latent diffusion (R. Rombach et al. 2022, arXiv:2112.10752, appendix G) that
paints stains where it painted its own input again, as T. C. Fróes ("Exploring Image-to-Image
Translation Techniques for Microscopy Images", UFRGS 2024, section 4.2.3) has it do from one plane
to two stains; it did better there than Brownian bridges. The planes x become a normal distribution
q of each number of a code z, and the code stains y~:

    loss = L1 + KL(q(z|x) || N(0, 1)) / (1e6 P)  and, from a third of the training on,
           + 0.5 w (-D(y~, x)) + |f(y~, x) - f(y, x)|

with P = pixels x stains of a picture, D a PatchGAN that plays for the hinge, f what its layers see,
and w how much harder L1 pulls at the last convolution than D does (arXiv:2012.09841, equation 7).

Where we depart
---------------
The published feature loss is of VGG16, a network for photographs of three colours; ours are the
critic's own features (`losses.adversarial.feature_distance`), and ``--perceptual`` adds those of a
classifier of stains. The critic sees the bright field beside the stains, as in `pix2pix`. Until it
counts, it does not learn either. The code is drawn in training; what is predicted is the most
probable code's, the same every time. ``--method code=likeliest`` draws nothing.

One standard deviation of planes or stains is 0.5 in the network (``unit``), about what it is in
photographs from -1 to 1, the published input. Nothing is cut off at -1 and 1: the last layer is
linear, and the brightest stain of a cell is often ten deviations up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from napari_virtualstain.generators.adversarial import Game, PatchGameSettings, patch_critic
from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.losses.adversarial import feature_distance, fill_missing
from napari_virtualstain.losses.autoencoder import adaptive_weight, posterior_kl
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL, Posterior
from napari_virtualstain.nets.patchgan import PatchGan, PatchGanNorm

__all__ = ["VaeGame", "VaeGanGenerator", "VaeGanSettings"]


class VaeGanSettings(PatchGameSettings):
    """Settings of the VAE-GAN; defaults are Fróes's, else those of latent diffusion."""

    learning_rate: float = Field(default=5e-5, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="adam", description="how weights are moved"
    )
    beta1: float = Field(default=0.5, ge=0, lt=1, description="of adam: memory of the gradient")
    beta2: float = Field(default=0.9, ge=0, lt=1, description="of adam: memory of its square")
    adversarial: Literal["wasserstein", "lsgan", "vanilla", "hinge"] = Field(
        default="hinge", description="what the networks play for"
    )
    adversarial_weight: float = Field(
        default=0.5, ge=0, description="what the critic counts, times the adaptive weight"
    )
    adaptive: bool = Field(
        default=True,
        description="weigh the critic so that it pulls at the last layer as hard as the pixel loss",
    )
    critic_from: float = Field(
        default=1 / 3, ge=0, le=1, description="part of the training after which the critic counts"
    )
    critic_norm: PatchGanNorm = Field(default="batch", description="of the critic's middle layers")
    feature_weight: float = Field(
        default=1.0, ge=0, description="what a distance in the critic's features counts"
    )
    kl_weight: float = Field(
        default=1e-6,
        ge=0,
        description="what the code's divergence counts beside the summed loss of a picture",
    )
    code: Literal["drawn", "likeliest"] = Field(
        default="drawn", description="which code of a picture the training paints"
    )


class VaeGame(Game):
    """Make stains that are right, of a code that is near a normal one, and later lifelike.

    Parameters
    ----------
    net
        Planes to stains.
    critic
        Takes stains and planes.
    settings
        See `VaeGanSettings`.

    Notes
    -----
    Adaptive weights are those of each part of a batch, as its means are. What is drawn follows from
    torch's seed and the step alone, also where several devices draw at once; each of them draws the
    same for the first of its patches.
    """

    def __init__(self, net: AutoencoderKL, critic: PatchGan, settings: VaeGanSettings) -> None:
        super().__init__(net, critic, settings)
        self._net, self._patches, self._told = net, critic, settings
        self._dice = torch.Generator(next(net.parameters()).device)

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        self._dice.manual_seed((torch.initial_seed() + moment.step) % 2**63)
        if self._plays(moment):
            return super().step(batch, moment)
        return self._teach_generator(batch, moment)

    def _plays(self, moment: Moment) -> bool:
        return moment.done >= self._told.critic_from

    def _believed(self, planes: torch.Tensor, moment: Moment) -> tuple[torch.Tensor, Posterior]:
        """Return stains of a code, and the code's distribution."""
        with moment.arithmetic():
            posterior = self._net.encode(planes)
            drawn = self._told.code == "drawn"
            code = posterior.sample(self._dice) if drawn else posterior.mode()
            predicted = self._net.decode(code)
        return predicted.float(), posterior

    def _painted(self, planes: torch.Tensor, moment: Moment) -> torch.Tensor:
        return self._believed(planes, moment)[0]

    def _judged(
        self, planes: torch.Tensor, stains: torch.Tensor, moment: Moment
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        told = self._told
        predicted, posterior = self._believed(planes, moment)
        pixel = told.pixel_weight * self._pixel(predicted, stains, self._weights)
        kl = posterior_kl(posterior.mean.float(), posterior.logvar.float()).mean()
        loss = pixel + told.kl_weight / stains[0].numel() * kl
        said = {"pixel": pixel / (told.pixel_weight or 1), "kl": kl}
        if not self._plays(moment):
            return predicted, loss, said
        fake, real = fill_missing(predicted, stains)
        scores, seen = self._patches.look(fake, planes)
        score, weight = self._terms.generator(scores), self._counts(moment)
        if told.adaptive and weight:
            balance = adaptive_weight(pixel, score, self._net.last_layer)
            score, said = balance * score, said | {"balance": balance}
        loss = loss + weight * score
        if told.feature_weight:
            with torch.no_grad():
                wanted = self._patches.look(real, planes)[1]
            features = feature_distance(seen, wanted)
            loss, said = loss + told.feature_weight * features, said | {"features": features}
        return predicted, loss, said


class VaeGanGenerator(ForwardGenerator):
    """Predict stains with a KL autoencoder that was taught to paint them.

    All it knows of the bright field is in the code, which at the published size has 1/48 of a
    picture's numbers: fine structure is painted as it usually is, not as it was seen.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    width, multipliers, blocks, latent, attention, groups, unit
        See `napari_virtualstain.nets.autoencoder_kl.AutoencoderKL`; defaults are the published
        KL-f8, and 0.5 in the network for one standard deviation.
    """

    learning = VaeGanSettings

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 4),
        blocks: int = 2,
        latent: int = 4,
        attention: bool = True,
        groups: int = 32,
        unit: float = 0.5,
    ) -> None:
        self._autoencoder = AutoencoderKL(
            in_channels, out_channels, width=width, multipliers=multipliers, blocks=blocks,
            latent=latent, attention=attention, groups=groups, unit=unit,
        )  # fmt: skip
        super().__init__(
            self._autoencoder, in_channels=in_channels, out_channels=out_channels,
            multiple_of=self._autoencoder.multiple_of,
        )  # fmt: skip

    def learner(self, settings: VaeGanSettings) -> VaeGame:  # type: ignore[override]
        """Return the game of the autoencoder and its discriminator."""
        channels = self.in_channels + self.out_channels
        return VaeGame(self._autoencoder, patch_critic(channels, settings), settings)
