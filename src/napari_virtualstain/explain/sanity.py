"""Does a map show what a network learnt? It is compared with maps that have nothing to say.

A map that does not change when the weights are random shows the picture (its edges, often) and not
what the network learnt: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292.
There all weights are drawn anew; here the numbers of each tensor are put in random order, which
keeps their size, so that a random network is neither silent nor saturated. The second check puts
blocks of the picture in random order.

How far a map falls off around the pixel that it explains follows from the layers alone, whatever
they learnt. It is taken out before two maps of a pixel are compared (`beyond_distance`), or any two
would look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.metrics.pixel import spearman

__all__ = [
    "PARTLY", "SAME", "Sanity", "beyond_distance", "compared", "randomise_weights", "shuffled",
]  # fmt: skip

SAME = 0.8
"""Correlation of ranks from which on two maps are the same for whoever reads them."""
PARTLY = 0.5
"""From which on much of one is in the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sanity:
    """How alike a map is to those that have nothing to say.

    Parameters
    ----------
    weights
        Correlation of ranks with the map of random weights; `None` if it was not made.
    picture
        With the map of a shuffled picture.
    """

    weights: float | None
    picture: float | None

    @property
    def verdict(self) -> str:
        """``"depends"``, ``"partly"``, ``"same"``, or ``"unknown"`` if a map is constant."""
        known = [value for value in (self.weights, self.picture) if value is not None]
        if not known or not np.isfinite(known).all():
            return "unknown"
        worst = max(known)
        return "same" if worst >= SAME else "partly" if worst >= PARTLY else "depends"

    def words(self) -> str:
        """Say how the map may be read.

        Examples
        --------
        >>> Sanity(weights=0.93, picture=0.1).words()[:61]
        'It does not depend on what the network learnt: do not read it'
        """
        numbers = ", ".join(
            f"Spearman {value:.2f} with {what}"
            for value, what in (
                (self.weights, "random weights"),
                (self.picture, "a shuffled picture"),
            )
            if value is not None
        )
        if self.verdict == "unknown":
            said = "Whether it depends on what the network learnt cannot be told"
            why = f" ({numbers})" if numbers else ""
            return f"{said}{why}: read it with doubt."
        if (self.weights or 0) >= SAME:
            return f"It does not depend on what the network learnt: do not read it ({numbers})."
        if (self.picture or 0) >= SAME:
            return f"It does not depend on what the picture shows: do not read it ({numbers})."
        if self.verdict == "partly":
            return f"Much of it is there in a map that says nothing: read it with care ({numbers})."
        return f"It depends on what the network learnt and on the picture ({numbers})."


def randomise_weights(module: nn.Module, seed: int) -> None:
    """Put the numbers of each tensor of weights in random order; the network is changed.

    Parameters
    ----------
    module
        Any.
    seed
        Decides the order.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))


def shuffled(planes: NDArray[np.float32], edge: int, seed: int) -> NDArray[np.float32]:
    """Return a picture whose blocks are in random order, the same in each plane.

    Parameters
    ----------
    planes
        (P, Y, X).
    edge
        Of a block in pixels; what is left over at the far sides stays.
    seed
        Decides the order.
    """
    found = planes.copy()
    p, height, width = planes.shape
    edge = min(edge, height, width)
    rows, columns = height // edge, width // edge
    part = planes[:, : rows * edge, : columns * edge]
    blocks = part.reshape(p, rows, edge, columns, edge).swapaxes(2, 3).reshape(p, -1, edge, edge)
    blocks = blocks[:, np.random.default_rng(seed).permutation(rows * columns)]
    mixed = blocks.reshape(p, rows, columns, edge, edge).swapaxes(2, 3)
    found[:, : rows * edge, : columns * edge] = mixed.reshape(part.shape)
    return found


def beyond_distance(values: NDArray[np.float32], at: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map over the mean of all pixels as far from one as each.

    Parameters
    ----------
    values
        (Y, X), not negative.
    at
        The pixel.
    """
    y, x = np.indices(values.shape)
    ring = np.rint(np.hypot(y - at[0], x - at[1])).astype(int)
    count = np.bincount(ring.ravel())
    mean = np.bincount(ring.ravel(), values.ravel()) / np.maximum(count, 1)
    usual = mean[ring]
    found = np.zeros_like(values)
    np.divide(values, usual, out=found, where=usual > 0)
    return found


def compared(
    one: NDArray[np.float32], other: NDArray[np.float32], at: tuple[int, int] | None = None
) -> float:
    """Return the correlation of ranks of a map (Y, X) and one that says nothing.

    Parameters
    ----------
    one, other
        Not negative.
    at
        The pixel that both explain: how they fall off around it counts for nothing. `None` for
        maps of no single pixel.

    Returns
    -------
    float
        -1 to 1; 0 if nothing is left of the map in the other, NaN if it is constant itself.
    """
    if at is not None:
        seen = (one > 0) | (other > 0)
        one, other = beyond_distance(one, at)[seen], beyond_distance(other, at)[seen]
    if not one.size or np.ptp(one) == 0:
        return float("nan")
    # Where nothing is left of it, for example below zero in Grad-CAM, nothing is alike.
    return spearman(one.ravel(), other.ravel()) if np.ptp(other) > 0 else 0.0
