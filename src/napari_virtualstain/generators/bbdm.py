"""BBDM as a generator: a first prediction becomes a sample, along a Brownian bridge in pixels.

Li et al. 2023, "BBDM: image-to-image translation with Brownian bridge diffusion models",
arXiv:2205.07680; used for bright field to Cell Painting by the thesis that compares it with LBBDM
and VAE-GAN, where it came last of the three.

A bridge leads from a picture to one of as many channels, and there are P planes and C stains. So
the known end is not the bright field, but what a U-Net (``first``) predicts of the stains from it:
the bridge adds to that what a regression cannot know. The thesis makes one picture of three colours
of either side.

The first prediction learns by the pixel loss alone, in the same training; the bridge does not pull
at it. Otherwise it would be moved to where the bridge is easily learnt, and would no longer be the
regression that one may want to look at (``steps=1`` comes near it).

The planes are joined to x as channels, too, since a first prediction has lost what it could not
use. The published network sees x alone: ``join_planes=False``.

Notes
-----
With preset ``paper`` and ``join_planes=False`` names and shapes of the weights of ``denoise_fn``
are those of the published network of C channels; the published configuration, of three, has 237
million. ``first`` is ours, and ``first_width=0`` leaves it out, as imported weights have it.

A bridge needs more steps than samplers for noise. Where the stain is a normal distribution of SD 1
and the network knows all, 25 steps (the default) draw an SD of 0.93, or 0.89 where the end says
nothing of the stain, and the paper's 200 of 0.98: take ``--sampling-steps 200`` where the spread of
draws matters. As published, it begins without noise and loses variance with eta below 1:
``as_published=True``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from napari_virtualstain.diffusion.bridge import Objective
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.answering import Answering, Lesson
from napari_virtualstain.generators.bridging import (
    BridgeGenerator,
    BridgeOptions,
    BridgeSettings,
    bridge_answer,
)
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.nets.guided_parts import Init
from napari_virtualstain.nets.guided_unet import GuidedUNet
from napari_virtualstain.nets.unet import UNet, UNetNorm

__all__ = ["BbdmGenerator"]


class BbdmGenerator(BridgeGenerator):
    """Draw stains along a bridge that begins with a first prediction of them.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    width, multipliers, blocks, middle_attention, dropout, groups, head_channels, init
        Of the network of the bridge, see `nets.guided_unet.GuidedUNet`.
    first_width, first_norm
        Of the U-Net of the first prediction, see `nets.unet.UNet`; it has as many sizes as the
        other. No width, no first prediction: the bridge begins with the planes, which are then as
        many as the stains, as published.
    join_planes
        Whether the network of the bridge sees the planes.
    objective, scale, eta, as_published, clip
        See `generators.bridging.BridgeOptions`.

    Raises
    ------
    SettingsError
        If there is no first prediction, and planes are not as many as stains.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int = 128,
        multipliers: Sequence[int] = (1, 4, 8),
        blocks: int = 2,
        middle_attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        head_channels: int = 64,
        init: Init = "zero",
        first_width: int = 32,
        first_norm: UNetNorm = "batch",
        join_planes: bool = True,
        objective: Objective = "grad",
        scale: float = 1.0,
        eta: float = 1.0,
        as_published: bool = False,
        clip: Sequence[float] | None = None,
    ) -> None:
        if not first_width and in_channels != out_channels:
            raise SettingsError(
                f"A bridge without a first prediction leads from {in_channels} planes to as many "
                f"stains, and there are {out_channels}. Give first_width a number."
            )
        joined = in_channels if join_planes else 0
        net = GuidedUNet(
            out_channels + joined, out_channels, width=width, multipliers=multipliers,
            blocks=blocks, middle_attention=middle_attention, dropout=dropout, groups=groups,
            head_channels=head_channels, embed="time_embed", init=init,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels,
            given_channels=out_channels + joined,
            joins=slice(out_channels, out_channels + joined) if joined else None,
            options=BridgeOptions(
                objective=objective, scale=scale, eta=eta, as_published=as_published, clip=clip
            ),
        )  # fmt: skip
        self._join_planes = join_planes
        self._module = nn.ModuleDict({"denoise_fn": net})
        self.first: UNet | None = None
        if first_width:
            self.first = UNet(
                in_channels, out_channels, depth=len(multipliers), width=first_width,
                norm=first_norm,
            )  # fmt: skip
            self.margins = (self.first.local_reach, 0)
            self._module["first"] = self.first

    def module(self) -> nn.Module:
        """Return the networks."""
        return self._module

    def learner(self, settings: BridgeSettings) -> Bridging:
        """Return what teaches both."""
        return Bridging(self, settings)

    def given(self, planes: torch.Tensor) -> torch.Tensor:
        """Return where the bridge begins, and behind it the planes if they are joined."""
        end = planes if self.first is None else self.first(planes).to(planes.dtype)
        return torch.cat([end, planes], dim=1) if self._join_planes else end


class Bridging(Answering):
    """Teach a first prediction by the pixel loss, and the bridge from it to the stains.

    Parameters
    ----------
    generator
        Whose networks learn.
    settings
        ``loss`` is that of the first prediction.
    """

    def __init__(self, generator: BbdmGenerator, settings: BridgeSettings) -> None:
        super().__init__(generator.module(), settings)
        self._generator, self._pixel = generator, get_loss(settings.loss)

    def lesson(
        self,
        planes: torch.Tensor,
        stains: torch.Tensor,
        labels: torch.Tensor | None,
        moment: Moment,
    ) -> Lesson:
        """Return what a part of a batch teaches; see `generators.answering.Answering`."""
        del labels  # a bridge has none
        with moment.arithmetic():
            given = self._generator.given(planes).float()
        end = given[:, self._generator.begins_with]
        found = bridge_answer(self._generator, stains, given, moment)
        loss, said = self._loss(found.answer, found.target, self._weights), {}
        if self._generator.first is not None:
            first = self._pixel(end, stains, self._weights)
            loss, said = loss + first, {"first": float(first.detach())}
        return Lesson(loss, lambda: found.clean, said)
