"""Palette as a generator: the stains are what is left of noise, given the bright field.

Saharia et al. 2022, "Palette: image-to-image diffusion models", arXiv:2111.05826, as it
was taken to bright field: planes and noisy stains are joined as channels of the U-Net
of guided diffusion, which is told the noise level gamma. Trained on 2000 steps, beta linear from
1e-6 to 0.01, with levels drawn between two of them.

With the preset ``paper`` names and shapes of the weights are those of the public code.

Where we depart
---------------
``little`` and ``small`` answer v (arXiv:2202.00512) and no eps: at the noisy end v is the
stain, so that a short training paints already, where eps has to be right to 1 part in 150
before anything is seen. They have no attention, so that tiles are the whole image. The public
code samples in 1000 steps on another schedule (``sampled_on``) and cuts stains to -1 to 1,
which is for its own normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.diffusion.prediction import Predicts
from napari_virtualstain.generators.denoising import DiffusionGenerator
from napari_virtualstain.nets.guided_parts import Init
from napari_virtualstain.nets.guided_unet import GuidedUNet

__all__ = ["PaletteGenerator"]


class PaletteGenerator(DiffusionGenerator):
    """Draw stains with a network that sees planes and noisy stains as channels.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    width, multipliers, blocks, middle_attention, dropout, groups, head_channels, init
        See `nets.guided_unet.GuidedUNet`.
    predicts, schedule, sampled_on, clip
        See `generators.denoising.DiffusionGenerator`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 2,
        middle_attention: bool = True,
        dropout: float = 0.0,
        groups: int = 32,
        head_channels: int = 32,
        init: Init = "zero",
        predicts: Predicts = "eps",
        schedule: str = "palette",
        sampled_on: str | None = None,
        clip: Sequence[float] | None = None,
    ) -> None:
        net = GuidedUNet(
            in_channels + out_channels, out_channels, width=width, multipliers=multipliers,
            blocks=blocks, middle_attention=middle_attention, dropout=dropout, groups=groups,
            head_channels=head_channels, init=init,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels, schedule=schedule,
            sampled_on=sampled_on, predicts=predicts, clip=clip,
        )  # fmt: skip
