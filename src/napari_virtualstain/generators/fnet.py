"""fnet as a generator: a U-Net by regression, over planes or volumes.

Ounkomol et al. 2018, "Label-free prediction of three-dimensional fluorescence images
from transmitted-light microscopy", Nat. Methods 15, 917,
doi:10.1038/s41592-018-0111-2. Published as one network a structure; with several
stains it is one network with a head for each, in which missing ones count nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.learning import LearningSettings
from napari_virtualstain.nets.fnet import FNet

__all__ = ["FNetGenerator", "FNetSettings"]


class FNetSettings(LearningSettings):
    """Settings of fnet; defaults are the paper's (which trains on squares: ``--loss l2``)."""

    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    optimiser: Literal["adamw", "adam", "rmsprop"] = Field(
        default="adam", description="how weights are moved"
    )
    beta1: float = Field(default=0.5, ge=0, lt=1, description="of adam: memory of the gradient")


class FNetGenerator(ForwardGenerator):
    """Predict stains by regression, with BatchNorm behind every convolution.

    Parameters
    ----------
    in_channels, out_channels
        Planes (kinds of light, of volumes) and stains.
    ndim
        2 for planes, 3 for volumes.
    depth, width
        See `napari_virtualstain.nets.fnet.FNet`.
    """

    learning = FNetSettings

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        ndim: Literal[2, 3] = 3,
        depth: int = 4,
        width: int = 32,
    ) -> None:
        super().__init__(
            FNet(in_channels, out_channels, ndim=ndim, depth=depth, width=width),
            in_channels=in_channels, out_channels=out_channels,
            multiple_of=2**depth, ndim=ndim,
        )  # fmt: skip
