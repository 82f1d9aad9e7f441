"""Which kernel a convolution runs, where torch's own choice is a bad one.

For float32 volumes on a processor torch chooses by size between oneDNN and a copy of every
neighbourhood into a matrix (27 times the memory of the volume, measured 9 times slower for 16 x
18 x 256 voxels of 64 channels). Here it is always oneDNN; the difference is rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["convolve", "use_good_kernels"]

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def convolve(
    module: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: torch.Tensor, padding: Sequence[int]
) -> torch.Tensor:
    """Convolve as a module does, with zero padding of so many pixels by axis."""
    weight, bias = module.weight, module.bias
    if x.ndim == 5 and x.device.type == "cpu" and x.dtype == torch.float32 and _has_onednn():
        result: torch.Tensor = torch.mkldnn_convolution(
            x, weight, bias, list(padding), module.stride, module.dilation, module.groups
        )
        return result
    arguments: tuple[Any, ...] = (module.stride, tuple(padding), module.dilation, module.groups)
    return _CONVOLVE[x.ndim - 2](x, weight, bias, *arguments)


def use_good_kernels(module: nn.Module) -> None:
    """Let the convolutions over volumes in a network use `convolve`; the network is changed."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d) and part.padding_mode == "zeros":
            padding = part.padding
            if not isinstance(padding, str):
                part.forward = partial(convolve, part, padding=padding)  # type: ignore[method-assign]


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
