"""SPADE-diffusion as a generator: noise becomes stain, with the planes in every norm.

The semantic diffusion model (W. Wang et al. 2022, arXiv:2207.00050), as X. Xing et al. take it to
Cell Painting: the planes do not enter as channels, but scale and shift every norm of the middle and
the way up at each pixel (`nets.spade`). It is told the step of 1000 with beta linear from 1e-4 to
0.02, and learns the variance of its steps too (arXiv:2102.09672), which ``--sampler ddpm`` uses.

Classifier-free guidance: where planes were hidden in training (``plane_dropout``), the network also
knows what stains look like if nothing is known, and ``--guidance s`` goes from there
s times as far as the planes say. 1 is as it was trained.

Where we depart
---------------
Guidance is of all channels; the public code leads the first three. Hidden planes are no zeros, as
in the public code, whose maps are of classes, but of a value that no image has everywhere: a field
without cells is nearly zero after normalisation, and a network that has learnt to draw any cells
where it sees zeros draws them there (a small one painted half of an empty field). ``little`` and
``small`` answer v and have no attention; see `generators.palette`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn

from napari_virtualstain.diffusion.guidance import classifier_free
from napari_virtualstain.diffusion.noise_schedule import StepTime
from napari_virtualstain.diffusion.prediction import Predicts
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.denoising import (
    Denoising,
    DenoisingSettings,
    DiffusionGenerator,
)
from napari_virtualstain.generators.sampled import Sampling
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.nets.guided_unet import GuidedUNet

__all__ = ["HIDDEN", "SpadeDiffusionGenerator", "SpadeDiffusionSettings"]

HIDDEN = 10.0
"""Value of planes that are hidden, unless another is stated."""


class SpadeDiffusionSettings(DenoisingSettings):
    """Settings of SPADE-diffusion."""

    learning_rate: float = Field(default=1e-4, gt=0, description="largest learning rate")
    plane_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the patches whose planes are hidden, which guidance needs",
    )


class SpadeDiffusionGenerator(DiffusionGenerator):
    """Draw stains with a network whose norms see the planes.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    width, multipliers, blocks, attention, middle_attention, dropout, groups, head_channels
        See `nets.guided_unet.GuidedUNet`.
    map_hidden
        See `nets.guided_unet.GuidedUNet`.
    predicts, schedule, clip
        See `generators.denoising.DiffusionGenerator`.
    hidden
        Value of planes that are hidden; normalised ones have a mean of 0. Published networks have
        0.
    """

    learning = SpadeDiffusionSettings

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int = 256,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention: Sequence[int] = (),
        middle_attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        head_channels: int = 64,
        map_hidden: int = 128,
        predicts: Predicts = "eps",
        schedule: str = "guided-diffusion",
        clip: Sequence[float] | None = None,
        hidden: float = HIDDEN,
    ) -> None:
        net = GuidedUNet(
            out_channels, out_channels, width=width, multipliers=multipliers, blocks=blocks,
            attention=attention, middle_attention=middle_attention, dropout=dropout, groups=groups,
            head_channels=head_channels, embed="time_embed", map_channels=in_channels,
            map_hidden=map_hidden, learn_sigma=True,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels, schedule=schedule,
            predicts=predicts, clip=clip,
        )  # fmt: skip
        self.hidden = hidden

    def learner(self, settings: DenoisingSettings) -> Learner:
        """Return what teaches it, and hides planes."""
        return _Hiding(self, settings)

    def denoise(
        self, x: torch.Tensor, given: torch.Tensor, time: StepTime, how: Sampling
    ) -> torch.Tensor:
        """Return what the rule steps with; see `generators.sampled.SampledGenerator.denoise`."""
        found = super().denoise(x, given, time, how)
        if how.guidance in (0.0, 1.0):
            return found
        blind = super().denoise(x, torch.full_like(given, self.hidden), time, how)
        led = classifier_free(blind[0], found[0], how.guidance)
        return torch.cat([led[None], found[1:]])  # the variance is that of the planes

    def step_network(self, time: StepTime, how: Sampling) -> nn.Module:
        """Return the network at one time; see `generators.sampled.SampledGenerator`.

        Raises
        ------
        SettingsError
            If it is to be guided: two answers have no common statistics.
        """
        if how.guidance not in (0.0, 1.0):
            raise SettingsError(
                "Guidance looks at the image twice, with statistics of each. Leave out --guidance, "
                "or draw the whole image at once."
            )
        return super().step_network(time, how)


class _Hiding(Denoising):
    """Show no planes of a share of the patches."""

    def shown(self, planes: torch.Tensor) -> torch.Tensor:
        """Return planes, some of which are hidden."""
        generator, settings = self._generator, self._settings
        assert isinstance(generator, SpadeDiffusionGenerator)
        assert isinstance(settings, SpadeDiffusionSettings)
        hidden = torch.rand(len(planes)).to(planes.device) < settings.plane_dropout
        return torch.where(hidden[:, None, None, None], generator.hidden, planes)
