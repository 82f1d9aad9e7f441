"""Pixel losses over what was stained: missing truth (NaN) weighs nothing."""

from __future__ import annotations

from typing import Protocol

import torch

from napari_virtualstain.errors import unknown_name

__all__ = ["LOSSES", "PixelLoss", "get_loss", "masked_mean"]


class PixelLoss(Protocol):
    """What a loss takes."""

    def __call__(
        self, prediction: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss of (B, C, *S) against truth, NaN where missing; weights (C,) by stain."""


def masked_mean(
    values: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean where the mask is set; 0 where nothing is set.

    Parameters
    ----------
    values, mask
        Of one shape; (B, C, *S) with weights.
    weights
        By stain (C,), not negative: a pixel of a stain of weight 2 counts as two. `None` for equal
        weights.
    """
    if weights is None:
        return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
    share = mask * weights.to(values).reshape(-1, *(1,) * (values.ndim - 2))
    total = share.sum()
    return (torch.where(mask, values, 0.0) * share).sum() / torch.where(total > 0, total, 1.0)


def _l1(
    prediction: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    known = torch.isfinite(truth)
    return masked_mean((prediction - torch.where(known, truth, 0.0)).abs(), known, weights)


def _l2(
    prediction: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    known = torch.isfinite(truth)
    return masked_mean((prediction - torch.where(known, truth, 0.0)).square(), known, weights)


LOSSES: dict[str, PixelLoss] = {"l1": _l1, "l2": _l2}
"""Losses by name."""


def get_loss(name: str) -> PixelLoss:
    """Return a loss by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name in LOSSES:
        return LOSSES[name]
    raise unknown_name("loss", name, LOSSES)
