"""How alike two pictures are to a network that has learnt to tell such pictures apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

__all__ = ["feature_distance"]

_TINY = 1e-10


def feature_distance(
    one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], known: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean squared distance of unit features, over positions and scales.

    Parameters
    ----------
    one, other
        Features (B, C_n, *S_n) of each scale, of two pictures by the same network; any number of
        spatial axes.
    known
        Which pixels count, (B, 1, *S) from 0 to 1; a position counts by the share of its pixels
        that does. `None` for all.

    Returns
    -------
    torch.Tensor
        (B,), from 0, the same features up to their length, to 4, opposite ones; 0 where no pixel
        counts.

    Notes
    -----
    Zhang et al. 2018, arXiv:1801.03924, eq. 1, without the weights that were learnt there of what
    people see in photographs: all channels count alike. The network is a classifier of our own
    stains (`nets.resnet`), as L. Venieri's thesis proposes (section 4.3), and not one of
    photographs.
    """
    scales = []
    for a, b in zip(one, other, strict=True):
        unit = [x / (x.pow(2).sum(dim=1, keepdim=True) + _TINY).sqrt() for x in (a, b)]
        each = (unit[0] - unit[1]).pow(2).sum(dim=1, keepdim=True)
        share = torch.ones_like(each) if known is None else _shares(known, each)
        weighed = (each * share).flatten(1).sum(dim=1)
        scales.append(weighed / share.flatten(1).sum(dim=1).clamp(min=_TINY))
    return torch.stack(scales).mean(dim=0)


def _shares(known: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return which share of the pixels of each position counts, (B, 1, *S_n)."""
    # In mode "area" this is the mean over the pixels of a position, along any number of axes.
    return functional.interpolate(known.to(like), size=tuple(like.shape[2:]), mode="area")
