"""The U-Net as a generator: one forward pass, the same stain every time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.nets.unet import UNet, UNetNorm

__all__ = ["UNetGenerator"]


class UNetGenerator:
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
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.multiple_of = 2 ** (depth - 1)
        self._net = UNet(in_channels, out_channels, depth=depth, width=width, norm=norm)

    def module(self) -> UNet:
        """Return the torch module."""
        return self._net

    def predict(self, planes: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
        """Predict normalised stains; see `Generator.predict`."""
        del seed  # the same planes always give the same stain
        self._net.eval()
        device = next(self._net.parameters()).device
        with torch.inference_mode():
            # (B, C, Y, X) -> (B, stains, Y, X)
            output = self._net(torch.from_numpy(np.ascontiguousarray(planes)).to(device))
        result: NDArray[np.float32] = output.float().cpu().numpy()
        return result
