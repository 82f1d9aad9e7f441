"""EfficientNet-lite: which class is a picture of, for few operations a pixel.

Tan and Le 2019, "EfficientNet", arXiv:1905.11946, table 1, in the *lite* form that its authors
published beside it: no squeeze-and-excitation, ReLU6 in the place of swish, stem and head of one
width. Weights have the names of the port to torch that is on PyPI (`efficientnet_lite_pytorch`), so
that its state dicts load with ``strict=True``.

Departs from the published training by leaving out dropout and the dropping of blocks: what is not
drawn is the same when a training is gone on with. Neither is there when pictures are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

__all__ = ["LITE0", "EfficientNet"]

LITE0: tuple[tuple[int, int, int, int, int], ...] = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
"""Stages of EfficientNet-lite0: blocks, kernel, stride, expansion, width."""
_EPS, _MOMENTUM = 1e-3, 0.01


class _Same(nn.Conv2d):
    """A convolution without bias that gives ``ceil(edge / stride)`` pixels, as TensorFlow pads.

    An odd row of zeros lies below and to the right.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for edge in (x.shape[-1], x.shape[-2]):  # as `pad` wants them, the last axis first
            step, kernel = self.stride[0], self.kernel_size[0]
            missing = max((-(-edge // step) - 1) * step + kernel - edge, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(x, pads))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS, momentum=_MOMENTUM)


class _Block(nn.Module):
    """Widen, look around channel by channel, narrow again; added to what came in where it fits."""

    def __init__(
        self, in_channels: int, width: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self._expand_conv: nn.Module | None = None
        if expansion > 1:
            self._expand_conv, self._bn0 = _Same(in_channels, inner, 1), _norm(inner)
        self._depthwise_conv = _Same(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv, self._bn2 = _Same(inner, width, 1), _norm(width)
        self._adds = stride == 1 and in_channels == width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x
        if self._expand_conv is not None:
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + kept if self._adds else x


class EfficientNet(nn.Module):
    """Map pictures (B, C, Y, X) to scores (B, classes).

    Parameters
    ----------
    in_channels, classes
        Of the pictures, and to choose from; without classes there are features alone.
    stages
        Blocks, kernel, stride, expansion and width of each.
    stem, head
        Channels of the first layer, and of the features.
    middle, half
        Grey values from ``middle - half`` to ``middle + half`` are brought to -1 to 1, which the
        published networks look at.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     net = EfficientNet(3, 1000)
    >>> sum(p.numel() for p in net.parameters())
    4652008
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        stages: Sequence[Sequence[int]] = LITE0,
        stem: int = 32,
        head: int = 1280,
        middle: float = 0.0,
        half: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim, self._range = head, (middle, half)
        self._conv_stem, self._bn0 = _Same(in_channels, stem, 3, stride=2), _norm(stem)
        blocks: list[nn.Module] = []
        width = stem
        self._ends: list[int] = []
        for count, kernel, stride, expansion, wanted in stages:
            if stride > 1 and blocks:
                self._ends.append(len(blocks))
            for n in range(count):
                blocks.append(
                    _Block(
                        width, wanted, kernel=kernel, stride=1 if n else stride,
                        expansion=expansion,
                    )
                )  # fmt: skip
                width = wanted
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _Same(width, head, 1), _norm(head)
        self._fc = nn.Linear(head, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def scales(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return features (B, C_n, Y_n, X_n) of each scale, from the finest: 1/2, 1/4, ..."""
        middle, half = self._range
        x = functional.relu6(self._bn0(self._conv_stem((x - middle) / half)))
        found = []
        for n, block in enumerate(self._blocks):
            if n in self._ends:
                found.append(x)
            x = block(x)
        return [*found, functional.relu6(self._bn1(self._conv_head(x)))]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean of the coarsest scale, (B, D)."""
        return self.scales(x)[-1].mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of the classes, before the softmax."""
        if self._fc is None:
            raise RuntimeError("it tells no classes apart")
        return cast(torch.Tensor, self._fc(self.features(x)))
