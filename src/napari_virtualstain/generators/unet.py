"""The U-Net as a generator: the expected stain, by regression."""

from __future__ import annotations

from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.nets.unet import UNet, UNetNorm

__all__ = ["UNetGenerator"]


class UNetGenerator(ForwardGenerator):
    """Predict stains by regression with a 2-D U-Net.

    Use it where each stain follows from the bright field; it returns the
    expected image, which is smooth where the bright field does not decide.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    depth, width, norm
        See `napari_virtualstain.nets.unet.UNet`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int = 5,
        width: int = 32,
        norm: UNetNorm = "none",
    ) -> None:
        super().__init__(
            UNet(in_channels, out_channels, depth=depth, width=width, norm=norm),
            in_channels=in_channels,
            out_channels=out_channels,
            multiple_of=2 ** (depth - 1),
        )
