"""A ResNet that tells treatments, or structures, apart.

Trained on real pictures and asked of predicted ones: whether a prediction shows what a treatment
does (Fróes, "Exploring Image-to-Image Translation Techniques for Microscopy Images", UFRGS), or
which structure it is (Venieri, master thesis, Università di Bologna, section 4.3). Its features
are a measure of how alike pictures are (`losses.perceptual`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from napari_virtualstain.encoders.classifier import NetworkClassifier, check_classes
from napari_virtualstain.nets.resnet import ResNet

__all__ = ["ResNetClassifier"]


class ResNetClassifier(NetworkClassifier):
    """A classifier whose features can be asked for, of each scale.

    Parameters
    ----------
    in_channels
        That go in at once.
    classes
        To tell apart.
    ndim, blocks, width, bottleneck
        See `nets.resnet.ResNet`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        ndim: Literal[2, 3] = 2,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        bottleneck: bool = True,
    ) -> None:
        check_classes(classes)
        net = ResNet(
            in_channels, classes, ndim=ndim, blocks=blocks, width=width, bottleneck=bottleneck
        )
        super().__init__(
            net, in_channels=in_channels, classes=classes, ndim=ndim, dim=net.fc.in_features
        )
