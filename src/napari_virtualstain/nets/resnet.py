"""ResNet: which class is a picture of, over planes or volumes, with features of each scale.

He et al. 2016, "Deep residual learning for image recognition", doi:10.1109/CVPR.2016.90,
arXiv:1512.03385, table 1. Strides are in the 3 x 3 convolution of a bottleneck, as in what is
published for torch, whose names the weights have, so that such state dicts load with
``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional

__all__ = ["ResNet"]

_PARTS = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
}
_EXPANSION = 4


class _Block(nn.Module):
    """Add to what comes in what two or, in a bottleneck, three convolutions make of it."""

    def __init__(
        self, ndim: int, in_channels: int, width: int, *, stride: int, bottleneck: bool
    ) -> None:
        super().__init__()
        conv, norm, _ = _PARTS[ndim]
        out = width * (_EXPANSION if bottleneck else 1)
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        widths = (in_channels, *(width,) * (len(kernels) - 1), out)
        self._count = len(kernels)
        for n, (kernel, step) in enumerate(zip(kernels, strides, strict=True)):
            layer = conv(
                widths[n], widths[n + 1], kernel, stride=step, padding=kernel // 2, bias=False
            )
            self.add_module(f"conv{n + 1}", layer)
            self.add_module(f"bn{n + 1}", norm(widths[n + 1]))
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != out:
            self.downsample = nn.Sequential(
                conv(in_channels, out, 1, stride=stride, bias=False), norm(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        for n in range(1, self._count + 1):
            x = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(x))
            if n < self._count:
                x = functional.relu(x)
        return functional.relu(x + kept)


class ResNet(nn.Module):
    """Map pictures (B, C, *S) to scores (B, classes).

    Parameters
    ----------
    in_channels, classes
        Of the pictures, and to choose from.
    ndim
        2 for planes, 3 for volumes.
    blocks
        Of each scale; (3, 4, 6, 3) is ResNet-50, with bottlenecks, and ResNet-34 without.
    width
        Channels of the first scale; each further one has twice as many.
    bottleneck
        Whether blocks go through a quarter of their channels.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = ResNet(3, 1000)
    >>> sum(p.numel() for p in net.parameters())
    25557032
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        ndim: Literal[2, 3] = 2,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        bottleneck: bool = True,
    ) -> None:
        super().__init__()
        conv, norm, pool = _PARTS[ndim]
        self._ndim, self._scales = ndim, len(blocks)
        self.conv1 = conv(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = pool(3, stride=2, padding=1)
        inner = width
        for scale, count in enumerate(blocks):
            layers = []
            for n in range(count):
                stride = 2 if scale and not n else 1
                layers.append(
                    _Block(ndim, inner, width * 2**scale, stride=stride, bottleneck=bottleneck)
                )
                inner = width * 2**scale * (_EXPANSION if bottleneck else 1)
            self.add_module(f"layer{scale + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inner, classes)
        for module in self.modules():
            if isinstance(module, conv):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def scales(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return features (B, C_n, *S_n) of each scale, from the finest: 1/4, 1/8, ..."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        found = []
        for scale in range(self._scales):
            x = getattr(self, f"layer{scale + 1}")(x)
            found.append(x)
        return found

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean of the coarsest scale, (B, D)."""
        return self.scales(x)[-1].flatten(2).mean(dim=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of the classes, before the softmax."""
        return cast(torch.Tensor, self.fc(self.features(x)))
