"""Pixel losses over what was stained: missing truth (NaN) weighs nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch

from napari_virtualstain.errors import unknown_name

__all__ = ["LOSSES", "get_loss", "masked_mean"]

PixelLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean where the mask is set; 0 where nothing is set."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def _l1(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    known = torch.isfinite(truth)
    return masked_mean((prediction - torch.where(known, truth, 0.0)).abs(), known)


def _l2(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    known = torch.isfinite(truth)
    return masked_mean((prediction - torch.where(known, truth, 0.0)).square(), known)


LOSSES: dict[str, PixelLoss] = {"l1": _l1, "l2": _l2}
"""Losses by name; both take (B, C, *S) prediction and truth, NaN for missing stains."""


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
