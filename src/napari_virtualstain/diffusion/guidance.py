"""How is a sample led? Towards a class, or towards what it is conditioned on.

=============  ==============  ========================================================
here           papers          where
=============  ==============  ========================================================
``scale``      s               arXiv:2105.05233, algorithms 1 and 2
``gradient``   grad log p(y |  the same; taken at the current x
               x_t)
``variance``   Sigma           the same, algorithm 1
``scale``      1 + w           arXiv:2207.12598, eq. 6; s of arXiv:2207.00050
=============  ==============  ========================================================

The published code of guided-I2I, which has guidance by a class commented out, multiplied the
gradient by the *logarithm* of the variance, and took it at another picture than x; here it is as
in the paper. What is predicted is cut to its range first and led afterwards, as in the code of
arXiv:2105.05233.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import SettingsError

if TYPE_CHECKING:
    import torch

__all__ = ["class_gradient", "classifier_free", "guided_clean", "guided_mean"]


def guided_mean(mean: Any, variance: Any, gradient: Any, scale: float) -> Any:
    """Return the mean of an ancestral step, led: ``mean + s variance gradient``.

    Parameters
    ----------
    mean, gradient
        Arrays or tensors of one shape.
    variance
        Of the step: a number, or of each pixel.
    scale
        s, 0 for none.
    """
    return mean + scale * variance * gradient


def guided_clean(clean: Any, gradient: Any, level: float, scale: float) -> Any:
    """Return the clean picture, led, for samplers that go by it (DDIM, DPM-Solver++).

    The paper states it as ``eps' = eps - s sqrt(1 - level) gradient``; with x fixed, that is
    ``x_0' = x_0 + s (1 - level) / sqrt(level) gradient``.

    Parameters
    ----------
    clean, gradient
        Arrays or tensors of one shape.
    level
        alpha-bar of x.
    scale
        s, 0 for none.
    """
    return clean + scale * (1 - level) / level**0.5 * gradient


def classifier_free(unconditional: Any, conditional: Any, scale: float) -> Any:
    """Return ``e_0 + s (e_c - e_0)`` of two predictions, whatever their number of channels.

    Parameters
    ----------
    unconditional, conditional
        Predictions of one shape, without and with what the network is conditioned on. Where a
        network also says its variance, that is no part of this: take the conditional one.
    scale
        s: 0 without the condition, 1 as the network was trained, more to overdo it. The published
        code of arXiv:2207.00050 leads the first three channels only, and only for s > 1.

    Raises
    ------
    SettingsError
        If the two are of different shapes.
    """
    if unconditional.shape != conditional.shape:
        raise SettingsError(
            f"Guidance compares two predictions of one shape, got {tuple(unconditional.shape)} "
            f"and {tuple(conditional.shape)}. Give both the same x."
        )
    return unconditional + scale * (conditional - unconditional)


def class_gradient(
    classify: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return by which change of x a class becomes more likely.

    Parameters
    ----------
    classify
        Takes x (B, C, *S), returns a score of each class (B, K) before softmax; knows the planes
        and the noise level. Only x is followed, so that the planes stay what they are; under
        `torch.inference_mode` give it clones of them that were made outside.
    x
        The current x, (B, C, *S).
    labels
        The class of each sample, (B,) integers.

    Returns
    -------
    torch.Tensor
        grad_x log p(label | x), (B, C, *S).

    Raises
    ------
    SettingsError
        If a label is none of the classifier's classes.
    """
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        followed = x.detach().clone().requires_grad_()
        scores = classify(followed)
        known = scores.shape[1]
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < known:
            raise SettingsError(
                f"The classifier knows the classes 0 to {known - 1}, got {labels.tolist()}. "
                "Choose a class that it was trained on."
            )
        chosen = torch.log_softmax(scores.float(), 1).gather(1, labels[:, None].long().clone())
        (gradient,) = torch.autograd.grad(chosen.sum(), followed)
    return gradient
