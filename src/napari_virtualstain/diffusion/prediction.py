"""What does a network's answer say? What the clean picture is, or the noise.

With ``x = sqrt(level) x_0 + sqrt(1 - level) eps``, a network may be taught any mixture of x_0 and
eps; each can be turned into x_0, since x is known.

=========  =====================================  ==========================================
``eps``    the noise                              arXiv:2006.11239, eq. 14; x_0 by eq. 15
``x0``     the clean picture                      the same, section 3.2
``v``      sqrt(level) eps - sqrt(1 - level) x_0  arXiv:2202.00512, section 4 and appendix D
=========  =====================================  ==========================================

``level`` is the papers' alpha-bar (Palette's gamma).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from napari_virtualstain.errors import SettingsError

if TYPE_CHECKING:
    import torch

__all__ = ["Predicts", "check_predicts", "clean_weights", "target_weights"]

Predicts = Literal["eps", "x0", "v"]
"""What a network was taught to predict."""

Level = TypeVar("Level", float, "torch.Tensor")


def check_predicts(predicts: str) -> None:
    """Refuse what no network predicts.

    Raises
    ------
    SettingsError
        If it is not one of `Predicts`.
    """
    if predicts not in get_args(Predicts):
        raise SettingsError(
            f"A diffusion network predicts {', '.join(get_args(Predicts))}, got {predicts!r}. "
            "Choose what it was trained to predict."
        )


def target_weights(predicts: Predicts, level: Level) -> tuple[Level | float, Level | float]:
    """Return how much of x_0 and of eps the target holds.

    Parameters
    ----------
    predicts
        What the network is taught.
    level
        In (0, 1): a number, or float64 of each sample.

    Raises
    ------
    SettingsError
        If nothing of that kind is predicted.

    Examples
    --------
    >>> target_weights("v", 0.64)
    (-0.6, 0.8)
    """
    check_predicts(predicts)
    if predicts == "eps":
        return 0.0, 1.0
    if predicts == "x0":
        return 1.0, 0.0
    return -((1 - level) ** 0.5), level**0.5


def clean_weights(predicts: Predicts, level: Level) -> tuple[Level | float, Level | float]:
    """Return how much of x and of the prediction x_0 is.

    Parameters
    ----------
    predicts, level
        See `target_weights`.

    Raises
    ------
    SettingsError
        If nothing of that kind is predicted.

    Examples
    --------
    >>> clean_weights("v", 0.64)
    (0.8, -0.6)
    """
    check_predicts(predicts)
    if predicts == "eps":
        return level**-0.5, -((1 / level - 1) ** 0.5)
    if predicts == "x0":
        return 0.0, 1.0
    return level**0.5, -((1 - level) ** 0.5)
