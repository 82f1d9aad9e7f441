"""How does a picture become another? Along a Brownian bridge, from noise-free to noise-free.

Noise is highest half-way and gone at both ends: the stain at one, at the other a picture of as many
channels that is known, such as a first prediction, or a latent.

=================  ==============================================================================
here               BBDM (arXiv:2205.07680) and its code
=================  ==============================================================================
``clean``          x_0, the stain
``end``            y, the other end of the bridge
``m``              m_t; from 0.001 to 0.999 in T steps, as the code has it (paper: t / T)
``variance``       delta_t = 2 s (m_t - m_t^2)
``scale``          s, ``max_var`` of the code
``x``              x_t = (1 - m_t) x_0 + m_t y + sqrt(delta_t) eps, of its forward process
``ysubx``          y - x_0                                                   )
``grad``           x_t - x_0 = m_t (y - x_0) + sqrt(delta_t) eps; the paper  ) objectives: what
``noise``          eps                                                       ) a network predicts
=================  ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.diffusion.forward import (
    Noised,
    mixed,
    standard_normal,
    without_missing,
)
from napari_virtualstain.errors import SettingsError

__all__ = [
    "BrownianBridge",
    "Objective",
    "bridge_batch",
    "check_ends",
    "check_objective",
    "clean_weights",
    "target_weights",
]

Objective = Literal["grad", "noise", "ysubx"]
"""What the network of a bridge predicts."""

Number = TypeVar("Number", float, torch.Tensor)


@dataclass(frozen=True, slots=True, eq=False)
class BrownianBridge:
    """The tables of a bridge.

    Parameters
    ----------
    train_steps
        T.
    scale
        s: the largest variance, half-way, is s / 2.

    Attributes
    ----------
    m, variance
        (T,) float64, the stain's end first.

    Raises
    ------
    SettingsError
        If there are fewer than two steps, or no variance.

    Examples
    --------
    >>> bridge = BrownianBridge()
    >>> len(bridge.m), bridge.m[[0, -1]].tolist(), bridge.variance.max().round(3).item()
    (1000, [0.001, 0.999], 0.5)
    """

    train_steps: int = 1000
    scale: float = 1.0
    m: NDArray[np.float64] = field(init=False, repr=False)
    variance: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.train_steps < 2 or not 0 < self.scale < float("inf"):
            raise SettingsError(
                "A bridge has two steps or more and a variance above 0, got "
                f"{self.train_steps} and {self.scale}. The paper has 1000 and 1."
            )
        m = np.linspace(0.001, 0.999, self.train_steps)
        object.__setattr__(self, "m", m)
        object.__setattr__(self, "variance", 2 * self.scale * (m - m**2))


def check_ends(clean: Any, end: Any) -> None:
    """Refuse a bridge between pictures of different shapes.

    Raises
    ------
    SettingsError
        If they differ.
    """
    if clean.shape != end.shape:
        raise SettingsError(
            "A bridge leads from a picture to one of the same shape, got "
            f"{tuple(end.shape)} and {tuple(clean.shape)}. Make one of as many channels of the "
            "bright field first (a first prediction, or a latent)."
        )


def check_objective(objective: str) -> None:
    """Refuse what no network of a bridge predicts.

    Raises
    ------
    SettingsError
        If it is not one of `Objective`.
    """
    if objective not in get_args(Objective):
        raise SettingsError(
            f"The network of a bridge predicts {', '.join(get_args(Objective))}, got "
            f"{objective!r}. Choose what it was trained to predict."
        )


def target_weights(
    objective: Objective, m: Number, variance: Number
) -> tuple[Number | float, Number | float, Number | float]:
    """Return how much of x_0, of y and of eps the target holds.

    Parameters
    ----------
    objective
        What the network is taught.
    m, variance
        Of the step: numbers, or float64 of each sample.

    Raises
    ------
    SettingsError
        If there is no such objective.
    """
    check_objective(objective)
    if objective == "grad":
        return -m, m, variance**0.5
    if objective == "noise":
        return 0.0, 0.0, 1.0
    return -1.0, 1.0, 0.0


def clean_weights(
    objective: Objective, m: Number, variance: Number
) -> tuple[Number | float, Number | float, Number | float]:
    """Return how much of x, of y and of the prediction x_0 is.

    Parameters
    ----------
    objective, m, variance
        See `target_weights`.

    Raises
    ------
    SettingsError
        If there is no such objective.
    """
    check_objective(objective)
    if objective == "grad":
        return 1.0, 0.0, -1.0
    if objective == "noise":
        return 1 / (1 - m), -m / (1 - m), -(variance**0.5) / (1 - m)
    return 0.0, 1.0, -1.0


def bridge_batch(
    bridge: BrownianBridge,
    clean: torch.Tensor,
    end: torch.Tensor,
    *,
    objective: Objective = "grad",
    generator: torch.Generator | None = None,
) -> Noised:
    """Return what a network is shown of a batch, and what it should answer.

    Parameters
    ----------
    bridge
        The tables; t is drawn evenly from all of them.
    clean
        Normalised stains or their latents, (B, C, *S); NaN is missing.
    end
        The other end, (B, C, *S), without gaps.
    objective
        What the network is taught.
    generator
        Of the CPU; torch's own state if `None`.

    Returns
    -------
    Noised
        Its level is m.

    Raises
    ------
    SettingsError
        If the two ends are of different shapes, or there is no such objective.
    """
    check_ends(clean, end)
    t = torch.randint(0, bridge.train_steps, (len(clean),), generator=generator)
    m, variance = torch.from_numpy(bridge.m)[t], torch.from_numpy(bridge.variance)[t]
    clean, known = without_missing(clean)
    pictures = (clean, end, standard_normal(clean, generator=generator))
    x = mixed((1 - m, m, variance**0.5), pictures)
    target = mixed(target_weights(objective, m, variance), pictures)
    return Noised(x, torch.where(known, target, torch.nan), clean, known, t, m)
