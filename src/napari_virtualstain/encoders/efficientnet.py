"""An EfficientNet-lite that tells classes apart, or, without any, gives the features of one.

A ResNet-50 has five times its weights. Without classes it is the body of a network that photographs
have taught, whose features Fréchet distances are stated over (`encoders.packaged`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_virtualstain.encoders.classifier import NetworkClassifier, check_classes
from napari_virtualstain.nets.efficientnet import LITE0, EfficientNet

__all__ = ["EfficientNetClassifier"]


class EfficientNetClassifier(NetworkClassifier):
    """A classifier of planes; see `nets.efficientnet.EfficientNet`.

    Parameters
    ----------
    in_channels
        That go in at once.
    classes
        To tell apart; 0 for features alone, which nothing is taught by.
    stages, stem, head, middle, half
        See `nets.efficientnet.EfficientNet`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        stages: Sequence[Sequence[int]] = LITE0,
        stem: int = 32,
        head: int = 1280,
        middle: float = 0.0,
        half: float = 1.0,
    ) -> None:
        if classes:
            check_classes(classes)
        net = EfficientNet(
            in_channels, classes, stages=stages, stem=stem, head=head, middle=middle, half=half
        )
        # Convolutions of single channels take a third of the time on a CPU with channels last.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(net, in_channels=in_channels, classes=classes, ndim=2, dim=net.dim)
