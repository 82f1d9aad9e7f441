"""At which features of a depth does a predicted pixel hang? Grad-CAM, for networks that paint.

Selvaraju et al. 2017, arXiv:1610.02391: features of a layer are summed, each with the mean of its
gradient as its weight, and what is below zero is dropped. What is explained is not a class but one
pixel of a stain, as in Seg-Grad-CAM (Vinogradova et al. 2020, arXiv:2002.11434).

The depths of a network are the last convolution before each change of resolution, in the order in
which they are computed, so that a user chooses among a handful and not among all layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.explain.probe import Pixel, Planes, Probe
from napari_virtualstain.inference.deepest import Depth, depths_in

__all__ = ["Depth", "depths_of", "grad_cam", "middle_depth"]


def depths_of(probe: Probe, planes: Planes) -> tuple[Depth, ...]:
    """Return the depths of a network, in the order in which they are computed.

    Parameters
    ----------
    probe
        With a network that has derivatives.
    planes
        A crop (P, Y, X) of any size that it takes.
    """
    module = probe.differentiable()

    def run() -> None:
        with torch.no_grad():
            module(probe.tensor(planes))

    seen = depths_in(module, run, planes.shape[-1])
    # The last is the stain itself, where nothing is left to explain.
    return seen[:-1] if len(seen) > 1 else seen


def middle_depth(depths: Sequence[Depth]) -> int:
    """Return the number of the coarsest depth, where features stand for most of the picture."""
    return max(range(len(depths)), key=lambda n: depths[n].shrink)


def grad_cam(probe: Probe, planes: Planes, at: Pixel, *, layer: str) -> NDArray[np.float32]:
    """Return where the features that raise a pixel are strong: (Y, X), not negative.

    Parameters
    ----------
    probe, planes, at
        See `gradients.input_gradient`.
    layer
        Name of a `Depth`.

    Raises
    ------
    SettingsError
        If there is no such layer.
    """
    module = probe.differentiable()
    parts = dict(module.named_modules())
    if layer not in parts:
        raise SettingsError(
            f"The network has no layer {layer!r}. Choose a depth by its number with --depth."
        )
    kept: list[torch.Tensor] = []

    def hook(_module: object, _given: object, found: torch.Tensor) -> None:
        kept.append(found)

    handle = parts[layer].register_forward_hook(hook)
    try:
        value = probe.asked(at)(probe.tensor(planes).requires_grad_())
        (gradient,) = torch.autograd.grad(value, kept[-1], allow_unused=True)
    finally:
        handle.remove()
    features = kept[-1].detach()
    if gradient is None:
        return np.zeros(planes.shape[1:], np.float32)
    spatial = tuple(range(2, features.ndim))
    strength = functional.relu((gradient.mean(dim=spatial, keepdim=True) * features).sum(dim=1))
    if strength.ndim == 4:  # (B, Z, Y, X) of a network over volumes
        strength = strength.mean(dim=1)
    wide = functional.interpolate(
        strength[:, None], size=planes.shape[1:], mode="bilinear", align_corners=False
    )
    found: NDArray[np.float32] = wide[0, 0].float().cpu().numpy()
    return found
