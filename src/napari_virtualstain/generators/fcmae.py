"""FCMAE as a generator: the networks VSCyto2D and VSCyto3D of VisCy, by regression.

Liu, Hirata-Miyasaki et al. 2024, "Robust virtual staining of landmark organelles",
doi:10.1101/2024.05.31.596901. `nets.fcmae` has the network, and
`generators.importers.viscy` what is known of the published weights.

Notes
-----
Published predictions pad a field with zeros on all four sides, to a multiple of 16
(VSCyto2D) or 256 px (VSCyto3D), and cut the middle out. Here zeros are added below and to
the right, to the stride of the network (16 or 32 px). Both are the same where a field
has such a size already; elsewhere they differ near the border, and slightly
everywhere, since the zeros take part in the norms of all channels.

Those norms are of all that goes through the network at once. So the forward pass of
the whole field (``--mode whole``, which is taken if memory allows) is as published, and
tiles are approximate.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.nets.fcmae import FCMAE

__all__ = ["FcmaeGenerator"]


class FcmaeGenerator(ForwardGenerator):
    """Predict stains from a window of z planes, for each of them.

    Parameters
    ----------
    in_channels, out_channels
        Kinds of light and stains.
    depth, stem_depth, stem, dims, blocks, decoder_blocks
        See `napari_virtualstain.nets.fcmae.FCMAE`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        depth: int,
        stem_depth: int = 5,
        stem: int = 4,
        dims: Sequence[int] = (96, 192, 384, 768),
        blocks: Sequence[int] = (3, 3, 9, 3),
        decoder_blocks: int = 2,
    ) -> None:
        net = FCMAE(
            in_channels, out_channels, depth=depth, stem_depth=stem_depth, stem=stem,
            dims=tuple(dims), blocks=tuple(blocks), decoder_blocks=decoder_blocks,
        )  # fmt: skip
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels,
            multiple_of=net.approximate_reach[1], ndim=3, window=depth,
        )  # fmt: skip
