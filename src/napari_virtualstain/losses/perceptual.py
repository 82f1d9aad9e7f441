"""How alike two pictures are to a network that has learnt to tell such pictures apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["feature_distance"]

_TINY = 1e-10


def feature_distance(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean squared distance of unit features, over positions and scales.

    Parameters
    ----------
    one, other
        Features (B, C_n, *S_n) of each scale, of two pictures by the same network; any number of
        spatial axes.

    Returns
    -------
    torch.Tensor
        (B,), from 0, the same features up to their length, to 4, opposite ones.

    Notes
    -----
    Zhang et al. 2018, arXiv:1801.03924, eq. 1, without the weights that were learnt there of what
    people see in photographs: all channels count alike. The network is a classifier of our own
    stains (`nets.resnet`), as L. Venieri's thesis proposes (section 5), and not one of photographs.
    """
    scales = []
    for a, b in zip(one, other, strict=True):
        unit = [x / (x.pow(2).sum(dim=1, keepdim=True) + _TINY).sqrt() for x in (a, b)]
        scales.append((unit[0] - unit[1]).pow(2).sum(dim=1).flatten(1).mean(dim=1))
    return torch.stack(scales).mean(dim=0)
