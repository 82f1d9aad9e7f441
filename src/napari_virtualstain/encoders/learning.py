"""What an encoder learns from in one step: views of pictures, or pictures with their class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Labelled", "Views"]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Crops of the pictures of one step.

    Parameters
    ----------
    wide
        Of each global view, (B, C, Y, X); teacher and student see them.
    narrow
        Of each local view, (B, C, Y, X), smaller; only the student sees them.
    """

    wide: tuple[torch.Tensor, ...]
    narrow: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Pictures and what they are.

    Parameters
    ----------
    pictures
        (B, C, *S).
    classes
        (B,), from 0.
    """

    pictures: torch.Tensor
    classes: torch.Tensor
