"""How a generator learns from a network that tells its stains from true ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, cast

import torch
from pydantic import Field
from torch import nn

from napari_virtualstain.generators.learning import Batch, Further, LearningSettings, stain_weights
from napari_virtualstain.losses.adversarial import (
    GradientNorm,
    fill_missing,
    get_adversarial,
    gradient_norms,
    gradient_penalty,
)
from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.nets.patchgan import PatchGan, PatchGanNorm

__all__ = ["AdversarialSettings", "Game", "PatchGameSettings", "patch_critic", "patch_game"]


class AdversarialSettings(LearningSettings):
    """What can be set about a game of two networks."""

    adversarial: Literal["wasserstein", "lsgan", "vanilla", "hinge"] = Field(
        default="vanilla", description="what the networks play for"
    )
    pixel_weight: float = Field(default=1.0, ge=0, description="what the pixel loss counts")
    adversarial_weight: float = Field(default=1.0, ge=0, description="what the critic counts")
    fading: bool = Field(
        default=False, description="divide what the critic counts by the epoch, from 1"
    )
    critic_steps: int = Field(
        default=1, ge=1, description="steps of the critic to one of the generator"
    )
    critic_rate: float = Field(
        default=1.0, gt=0, description="learning rate of the critic over that of the generator"
    )
    critic_decay: float = Field(default=0.0, ge=0, description="weight decay of the critic")
    penalty: float = Field(
        default=0.0, ge=0, description="what the gradient penalty counts; 0 for none"
    )
    gradient_norm: GradientNorm = Field(
        default="sample",
        description="what the penalty keeps at 1: the gradient of each sample's score, or what the "
        "code published with doi:10.1038/s41598-022-12914-x does",
    )


class PatchGameSettings(AdversarialSettings):
    """What can be set about a game whose critic is a `nets.patchgan.PatchGan`."""

    critic_width: int = Field(default=64, ge=1, description="channels of the critic's first layer")
    critic_layers: int = Field(default=3, ge=1, description="strided layers of the critic")
    critic_norm: PatchGanNorm = Field(default="none", description="of the critic's middle layers")

    @property
    def smallest_patch(self) -> int:
        """Edge in pixels of which the critic makes one score; see `nets.patchgan.PatchGan`."""
        return 3 << self.critic_layers


class Game:
    """Make stains that are right pixel by pixel, and that a critic takes for true ones.

    In each step the critic learns from a batch; in every ``critic_steps``-th the generator does,
    from the same one. The generator makes ``pixel_weight * pixel + w * adversarial`` small, with
    ``w = adversarial_weight``, or ``adversarial_weight / (epoch + 1)`` if it fades, and a further
    term of the batch if there is one.

    Parameters
    ----------
    module
        The generator's network, planes (B, P, *S) to stains (B, C, *S).
    critic
        Takes stains and planes, returns scores.
    settings
        See `AdversarialSettings`.

    Notes
    -----
    The critic computes in float32 also where the generator does not: its penalty is the square of
    a difference of gradients. Missing stains (NaN) are zeros in what it is given, predicted and
    true alike, and count neither in the pixel loss nor in the penalty.
    """

    def __init__(self, module: nn.Module, critic: nn.Module, settings: AdversarialSettings) -> None:
        device = next(module.parameters()).device
        self._module, self._critic, self._settings = module, critic.to(device), settings
        self._pixel = get_loss(settings.loss)
        self._weights = stain_weights(settings, device)
        self._terms = get_adversarial(settings.adversarial)
        self.networks: Mapping[str, nn.Module] = {"generator": module, "critic": critic}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "generator": make_optimiser(settings, module),
            "critic": make_optimiser(
                settings, critic,
                learning_rate=settings.learning_rate * settings.critic_rate,
                weight_decay=settings.critic_decay,
            ),
        }  # fmt: skip

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        said = self._teach_critic(batch, moment)
        if (moment.step + 1) % self._settings.critic_steps == 0:
            said |= self._teach_generator(batch, moment)
        return said

    def _teach_critic(self, batch: Batch, moment: Moment) -> dict[str, float]:
        steepness: list[torch.Tensor] = []

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, share in batch.parts():
                with torch.no_grad():
                    predicted = self._painted(planes, moment)
                fake, real = fill_missing(predicted, stains)
                loss = self._terms.critic(self._critic(real, planes), self._critic(fake, planes))
                if self._settings.penalty:
                    eps = torch.rand(len(planes)).to(planes.device)
                    norms = gradient_norms(
                        self._critic, fake, stains, planes, eps, norm=self._settings.gradient_norm
                    )
                    steepness.append(norms.detach())
                    loss = loss + self._settings.penalty * gradient_penalty(norms)
                yield loss, share

        said = {"critic": moment.descend(self.optimisers["critic"], losses())}
        if steepness:
            norms = torch.cat([one.flatten() for one in steepness])
            if torch.isfinite(norms).any():
                said["gradient_norm"] = float(norms.nanmean()) * batch.share
        return said

    def _teach_generator(self, batch: Batch, moment: Moment) -> dict[str, float]:
        told: dict[str, float] = {}
        further = Further(batch)

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            for planes, stains, share in batch.parts():
                predicted, loss, parts = self._judged(planes, stains, moment)
                for name, value in parts.items():
                    told[name] = told.get(name, 0.0) + float(value.detach()) * share
                yield loss + further(predicted, stains, share), share

        self._critic.requires_grad_(requires_grad=False)  # its weights learn in their own step
        try:
            loss = moment.descend(self.optimisers["generator"], losses())
        finally:
            self._critic.requires_grad_(requires_grad=True)
        return {"loss": loss, **told, **further.said()}

    def _painted(self, planes: torch.Tensor, moment: Moment) -> torch.Tensor:
        """Predict as in training, (B, C, *S) float32."""
        with moment.arithmetic():
            predicted = self._module(planes)
        return cast(torch.Tensor, predicted.float())

    def _judged(
        self, planes: torch.Tensor, stains: torch.Tensor, moment: Moment
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return predicted stains, what the generator makes small of them, and what is logged."""
        settings = self._settings
        predicted = self._painted(planes, moment)
        pixel = self._pixel(predicted, stains, self._weights)
        fake, _ = fill_missing(predicted, stains)
        score = self._terms.generator(self._critic(fake, planes))
        loss = settings.pixel_weight * pixel + self._counts(moment) * score
        return predicted, loss, {"pixel": pixel}

    def _counts(self, moment: Moment) -> float:
        """Return what the critic counts."""
        settings = self._settings
        return settings.adversarial_weight / (moment.epoch + 1 if settings.fading else 1)


def patch_critic(
    channels: int, settings: PatchGameSettings, kind: type[PatchGan] = PatchGan
) -> PatchGan:
    """Return the critic of a game that looks at patches.

    Parameters
    ----------
    channels
        Planes and stains together.
    settings
        Of the game.
    kind
        Which is made.
    """
    return kind(
        channels, width=settings.critic_width, layers=settings.critic_layers,
        norm=settings.critic_norm,
    )  # fmt: skip


def patch_game(module: nn.Module, channels: int, settings: PatchGameSettings) -> Game:
    """Return the game of a network and a critic that looks at patches.

    Parameters
    ----------
    module
        The generator's network.
    channels
        Planes and stains together.
    settings
        Of both.
    """
    return Game(module, patch_critic(channels, settings), settings)
