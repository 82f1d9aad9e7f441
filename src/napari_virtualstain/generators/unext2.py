"""UNeXt2 as a generator: VSCyto3D of 2024 and VSNeuromast of VisCy, by regression.

Liu, Hirata-Miyasaki et al. 2024, "Robust virtual staining of landmark organelles",
doi:10.1101/2024.05.31.596901. `nets.unext2` has the network, and
`generators.importers.viscy` what is known of the published weights.

Notes
-----
Published predictions pad a field with zeros on all four sides to a multiple of 64 px; here
it is padded below and to the right, to a multiple of the 32 px that the network makes
one of. As for `generators.fcmae`, only the forward pass of the whole field is as published.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.nets.unext2 import UNeXt2

__all__ = ["UNeXt2Generator"]


class UNeXt2Generator(ForwardGenerator):
    """Predict stains from a window of z planes, for each of them.

    Parameters
    ----------
    in_channels, out_channels
        Kinds of light and stains.
    depth, stem_depth, dims, blocks, decoder_blocks, expansion
        See `napari_virtualstain.nets.unext2.UNeXt2`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int,
        stem_depth: int = 5,
        dims: Sequence[int] = (96, 192, 384, 768),
        blocks: Sequence[int] = (3, 3, 9, 3),
        decoder_blocks: int = 2,
        expansion: int = 4,
    ) -> None:
        net = UNeXt2(
            in_channels, out_channels, depth=depth, stem_depth=stem_depth, dims=tuple(dims),
            blocks=tuple(blocks), decoder_blocks=decoder_blocks, expansion=expansion,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels,
            multiple_of=net.approximate_reach[1], ndim=3, window=depth,
        )  # fmt: skip
