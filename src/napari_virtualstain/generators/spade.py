"""SPADE as a generator: the bright field in every normalisation.

Park et al. 2019, "Semantic image synthesis with spatially-adaptive normalization",
arXiv:1903.07291; for Cell Painting Xing et al. 2024, arXiv:2407.09507, put its blocks
in the place of pix2pix's norms and train it as pix2pix, which is what is done here.
See `napari_virtualstain.nets.spade` for the network and where it departs.
"""

from __future__ import annotations

from typing import Literal

from napari_virtualstain.generators.adversarial import Game, patch_game
from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.pix2pix import Pix2PixSettings
from napari_virtualstain.nets.spade import SpadeGenerator as SpadeNet
from napari_virtualstain.nets.spade import SpadeNorm

__all__ = ["SpadeGenerator"]


class SpadeGenerator(ForwardGenerator):
    """Predict stains with a network that is told of the bright field at every resolution.

    Parameters
    ----------
    in_channels, out_channels
        Planes and stains.
    depth, width, hidden, norm, start, resize, spectral
        See `napari_virtualstain.nets.spade.SpadeGenerator`.
    """

    learning = Pix2PixSettings

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int = 7,
        width: int = 64,
        hidden: int = 128,
        norm: SpadeNorm = "batch",
        start: Literal["encoder", "map"] = "map",
        resize: Literal["nearest", "mean"] = "mean",
        spectral: bool = False,
    ) -> None:
        super().__init__(
            SpadeNet(
                in_channels, out_channels, depth=depth, width=width, hidden=hidden, norm=norm,
                start=start, resize=resize, spectral=spectral,
            ),
            in_channels=in_channels, out_channels=out_channels, multiple_of=2 ** (depth - 1),
        )  # fmt: skip

    def learner(self, settings: Pix2PixSettings) -> Game:  # type: ignore[override]
        """Return the game of the network and its discriminator."""
        return patch_game(self.module(), self.in_channels + self.out_channels, settings)
