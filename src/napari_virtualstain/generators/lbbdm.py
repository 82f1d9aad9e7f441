"""LBBDM as a generator: the code of the bright field becomes that of the stains, along a bridge.

Li et al. 2023, "BBDM: image-to-image translation with Brownian bridge diffusion models",
arXiv:2205.07680, section 3; T. C. Fróes ("Exploring Image-to-Image Translation Techniques for
Microscopy Images", UFRGS 2024, section 4.2.2) has it stain one phase plane, with a KL autoencoder
in place of the VQGAN of the paper, a picture of 512 x 512 px as 4 x 64 x 64 numbers.

=================  =============================================================================
here               there
=================  =============================================================================
``planes``         encoder of the pictures A; its code is y, where the walk begins
``stains``         decoder of the pictures B; its code is x_0, where the walk ends
``shrink``         f, edges of a picture over those of its code: 8
``denoise_fn``     epsilon_theta, the network of the bridge
=================  =============================================================================

There is an autoencoder a domain, which learns to paint its own pictures again: planes and stains
may be of any number, since either becomes ``latent`` channels. (The public code has one VQGAN for
both, and so pictures of three colours on either side.)

One training has two parts. First the autoencoders learn, by L1 and a little KL
(`generators.vae_gan`, with its discriminators if ``critic_from`` is below 1), at a rate that sinks
to nothing. Then they are frozen, the scale of their codes is measured on one batch
(`nets.coder.CodeScale`), and the network of the bridge learns by the squared error of what it says
of codes (``answer_loss``; the public code has L1).

Where we depart
---------------
The published network sees x alone. Beside it ours sees the code of the planes, which noise hides
half-way, and the planes themselves, each block of pixels as channels: an autoencoder keeps what
makes up most of a picture, and in bright field that need not be what tells of a stain.
``join="code"`` leaves out the planes, ``join="none"``, as in ``paper``, both. Codes are the most
probable ones.

What is missing (NaN) is zero to the autoencoder of the stains, and counts in no loss of it. A
number of a code is of all stains together: where one of them is missing, the bridge is neither
shown nor asked for the code. So a bridge learns from those places only where all stains are known.

Notes
-----
With preset ``paper`` the autoencoders have the names and shapes of latent diffusion's KL-f8, the
network of the bridge those of ``denoise_fn`` of BBDM's code for codes of 4 channels. The
autoencoders of the thesis were smaller than those, and trained to an extent that it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import cos, pi
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from napari_virtualstain.diffusion.bridge import Objective
from napari_virtualstain.diffusion.forward import without_missing
from napari_virtualstain.errors import unknown_name
from napari_virtualstain.generators.adversarial import Game, patch_critic
from napari_virtualstain.generators.answering import Answering, Lesson
from napari_virtualstain.generators.bridging import (
    BridgeGenerator,
    BridgeOptions,
    BridgeSettings,
    bridge_answer,
)
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.sampled import Sampling
from napari_virtualstain.generators.vae_gan import VaeGame, VaeGanSettings
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL
from napari_virtualstain.nets.coder import Beside, Coder, LatentStep
from napari_virtualstain.nets.guided_parts import Init
from napari_virtualstain.nets.guided_unet import GuidedUNet
from napari_virtualstain.nets.patchgan import PatchGan

__all__ = ["LatentBridging", "LbbdmGenerator", "LbbdmSettings"]


Join = Literal["planes", "code", "none"]
"""What the network of a bridge among codes sees beside x."""


class LbbdmSettings(VaeGanSettings, BridgeSettings):
    """Settings of the autoencoders, and of the bridge between their codes."""

    learning_rate: float = Field(default=1e-4, gt=0, description="largest learning rate")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of adam: memory of the gradient")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="of adam: memory of its square")
    autoencoder_share: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="part of the training in which the autoencoders learn; the bridge between "
        "their codes learns in what follows",
    )
    critic_from: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="part of that of the autoencoders after which critics count; 1 for never",
    )


class LbbdmGenerator(BridgeGenerator):
    """Draw stains along a bridge from the code of the planes to that of the stains.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    code_width, code_multipliers, code_blocks, latent, code_attention, code_groups, unit
        Of both autoencoders, see `nets.autoencoder_kl.AutoencoderKL`; defaults are the published
        KL-f8, and 0.5 in the network for one standard deviation.
    width, multipliers, blocks, middle_attention, dropout, groups, head_channels, init
        Of the network of the bridge, see `nets.guided_unet.GuidedUNet`.
    join
        What this network sees beside x: the planes and their code, the code alone, or nothing.
    objective, scale, eta, as_published, clip
        See `generators.bridging.BridgeOptions`; of codes.
    """

    learning = LbbdmSettings
    steps = 200

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        code_width: int = 128,
        code_multipliers: Sequence[int] = (1, 2, 4, 4),
        code_blocks: int = 2,
        latent: int = 4,
        code_attention: bool = True,
        code_groups: int = 32,
        unit: float = 0.5,
        width: int = 128,
        multipliers: Sequence[int] = (1, 4, 8),
        blocks: int = 2,
        middle_attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        head_channels: int = 64,
        init: Init = "zero",
        join: Join = "planes",
        objective: Objective = "grad",
        scale: float = 1.0,
        eta: float = 1.0,
        as_published: bool = False,
        clip: Sequence[float] | None = None,
    ) -> None:
        shrink = 1 << (len(code_multipliers) - 1)
        beside = {"none": 0, "code": latent, "planes": latent + in_channels * shrink**2}
        if join not in beside:
            raise unknown_name("join", join, beside)
        joined = beside[join]
        net = GuidedUNet(
            latent + joined, latent, width=width, multipliers=multipliers, blocks=blocks,
            middle_attention=middle_attention, dropout=dropout, groups=groups,
            head_channels=head_channels, embed="time_embed", init=init,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels,
            given_channels=max(latent, joined), joins=slice(0, joined) if joined else None,
            options=BridgeOptions(
                objective=objective, scale=scale, eta=eta, as_published=as_published, clip=clip
            ),
        )  # fmt: skip
        self.planes, self.stains = (
            Coder(
                AutoencoderKL(
                    channels, width=code_width, multipliers=code_multipliers, blocks=code_blocks,
                    latent=latent, attention=code_attention, groups=code_groups, unit=unit,
                )
            )
            for channels in (in_channels, out_channels)
        )  # fmt: skip
        autoencoder = self.planes.autoencoder
        self.shrink, self.margins = autoencoder.multiple_of, autoencoder.margins
        self.multiple_of = self.shrink * net.multiple_of
        self._join = join
        self._module = nn.ModuleDict(
            {"denoise_fn": net, "planes": self.planes, "stains": self.stains}
        )

    def module(self) -> nn.Module:
        """Return the network of the bridge, and both autoencoders."""
        return self._module

    @property
    def drawable(self) -> bool:
        """Whether codes stay as they are, so that the bridge between them is one."""
        return bool(self.stains.scale.measured)

    def learner(self, settings: LbbdmSettings) -> LatentBridging:
        """Return what teaches first these, then that."""
        return LatentBridging(self, settings)

    def given(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the code of the planes, and behind it the planes if they are joined."""
        code = self.planes.code(planes).to(planes.dtype)
        if self._join != "planes":
            return code
        return torch.cat([code, functional.pixel_unshuffle(planes, self.shrink)], dim=1)

    def painted(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stains of a code."""
        return self.stains.paint(x)

    def coded(self, stains: torch.Tensor) -> torch.Tensor:
        """Return the code of stains (B, C, Y, X), NaN where any of them is missing."""
        filled, known = without_missing(stains)
        missing = functional.max_pool2d((~known).any(1, keepdim=True).float(), self.shrink)
        return self.stains.code(filled).float().masked_fill(missing > 0, torch.nan)

    def given_network(self) -> nn.Module:
        """Return `given` as a network that can be read."""
        return Beside(self.planes) if self._join == "planes" else self.planes.encoder()

    def painted_network(self) -> nn.Module:
        """Return the decoder of the stains."""
        return self.stains.decoder()

    def first_network(self) -> nn.Module:
        """Return encoder, first step and decoder; see `generators.sampled.SampledGenerator`."""
        how = Sampling()
        step = self.step_network(self.rule(how).prepare(0), how)
        return LatentStep(
            self.given_network(), step, (self.planes, self.stains), reach=self.net.local_reach,
            multiple_of=self.net.multiple_of,
        )  # fmt: skip


class LatentBridging(Answering):
    """Teach two autoencoders to paint what they see, then a bridge between their codes.

    Parameters
    ----------
    generator
        Whose networks learn.
    settings
        See `LbbdmSettings`; ``loss`` and ``stain_weights`` are of the autoencoders.
    """

    def __init__(self, generator: LbbdmGenerator, settings: LbbdmSettings) -> None:
        super().__init__(generator.net, settings)
        self._generator, self._told = generator, settings
        self._coders = {"planes": generator.planes, "stains": generator.stains}
        for coder in self._coders.values():
            coder.autoencoder.requires_grad_(requires_grad=True)
        self._games = {
            name: VaeGame(coder.autoencoder, _critic(coder, settings), _of(name, settings))
            for name, coder in self._coders.items()
        }
        critics = {
            f"critic of {name}": game.networks["critic"] for name, game in self._games.items()
        }
        self.networks: Mapping[str, nn.Module] = {"generator": generator.module(), **critics}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            **self.optimisers,
            **{
                f"{part} of {name}": optimiser
                for name, game in self._games.items()
                for part, optimiser in game.optimisers.items()
            },
        }

    def step(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Learn from a batch; see `losses.descent.Learner.step`."""
        if moment.done < self._told.autoencoder_share:
            return self._teach_coders(batch, moment)
        self._settle(batch, moment)
        return super().step(batch, moment)

    def _teach_coders(self, batch: Batch, moment: Moment) -> dict[str, float]:
        """Let both autoencoders paint what they see; the loss is that of the stains."""
        done = moment.done / self._told.autoencoder_share
        moment = replace(moment, done=done)
        shown = {
            "planes": replace(batch, stains=batch.planes, term=None),
            "stains": replace(batch, planes=without_missing(batch.stains)[0]),
        }
        said: dict[str, float] = {}
        for name, game in self._games.items():
            coder = self._coders[name]
            coder.autoencoder.requires_grad_(requires_grad=True)
            coder.scale.forget()
            with _slower(game, 0.5 * (1 + cos(pi * done))):
                found = game.step(shown[name], moment)
            said |= {key if name == "stains" else f"{name} {key}": n for key, n in found.items()}
        return said

    def _settle(self, batch: Batch, moment: Moment) -> None:
        """Freeze the autoencoders, and measure the scale of their codes if nobody has."""
        shown = {"planes": batch.planes, "stains": without_missing(batch.stains)[0]}
        for name, coder in self._coders.items():
            coder.autoencoder.requires_grad_(requires_grad=False)
            if not coder.scale.measured:
                parts = torch.split(shown[name], batch.at_once)
                with torch.no_grad(), moment.arithmetic():
                    coder.scale.measure(map(coder.code, parts), moment.add_up)

    def lesson(
        self,
        planes: torch.Tensor,
        stains: torch.Tensor,
        labels: torch.Tensor | None,
        moment: Moment,
    ) -> Lesson:
        """Return what a part of a batch teaches; see `generators.answering.Answering`."""
        del labels  # a bridge has none
        generator = self._generator
        with torch.no_grad(), moment.arithmetic():
            given, codes = generator.given(planes).float(), generator.coded(stains)
        found = bridge_answer(generator, codes, given, moment)

        def clean() -> torch.Tensor:
            with moment.arithmetic():
                painted = generator.painted(found.clean)
            return painted.float()

        known = float(torch.isfinite(codes).float().mean())
        return Lesson(self._loss(found.answer, found.target), clean, {"known": known})


class _Unprompted(PatchGan):
    """A critic that is not shown what a picture was painted from, which is the true one itself."""

    def forward(self, stains: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
        """Score."""
        return super().forward(stains, planes[:, :0])

    def look(
        self, stains: torch.Tensor, planes: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score, and return what is seen on the way."""
        return super().look(stains, planes[:, :0])


def _critic(coder: Coder, settings: LbbdmSettings) -> PatchGan:
    return patch_critic(coder.autoencoder.in_channels, settings, _Unprompted)


def _of(name: str, settings: LbbdmSettings) -> LbbdmSettings:
    """Return the settings of one autoencoder: planes all count alike."""
    return settings if name == "stains" else settings.model_copy(update={"stain_weights": ()})


@contextmanager
def _slower(game: Game, factor: float) -> Iterator[None]:
    """Let a game learn at a part of its rate."""
    groups = [group for optimiser in game.optimisers.values() for group in optimiser.param_groups]
    rates = [group["lr"] for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = factor * rate
    try:
        yield
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
