"""What keeps an autoencoder's code near a normal distribution, and its game in balance.

Terms of the training of latent diffusion's autoencoder (R. Rombach et al. 2022, arXiv:2112.10752,
appendix G); its game of two networks is "hinge" of `losses.adversarial`.

Notes
-----
The published code halves the critic's hinge term, which ours does not: that is a matter of the
critic's rate. It sums the absolute differences of a picture over pixels and channels and divides by
the batch, and gives `posterior_kl` a weight of 1e-6 beside that sum. Beside a *mean* over the P
pixels and channels of a picture the same weight is 1e-6 / P.
"""

from __future__ import annotations

import torch

__all__ = ["adaptive_weight", "posterior_kl"]

_TINY = 1e-4
_LARGEST = 1e4


def posterior_kl(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Return how far codes are from a standard normal distribution, in nats.

    Parameters
    ----------
    mean, logvar
        (B, ...), of a normal distribution for each number; the logarithm of its variance.

    Returns
    -------
    torch.Tensor
        (B,), the Kullback-Leibler divergence of each code, summed over its numbers: not negative.
    """
    # expm1(v) - v has no cancellation where the variance is nearly one.
    each = mean.square() + torch.expm1(logvar) - logvar
    return 0.5 * each.flatten(1).sum(dim=1)


def adaptive_weight(
    reconstruction: torch.Tensor, adversarial: torch.Tensor, last_layer: torch.Tensor
) -> torch.Tensor:
    """Return the weight that makes a critic pull at the last layer as hard as the reconstruction.

    Parameters
    ----------
    reconstruction, adversarial
        What the generator makes small of either, scalars of one graph, which is kept.
    last_layer
        Weights that both depend on.

    Returns
    -------
    torch.Tensor
        ||d reconstruction / d last_layer|| / (||d adversarial / d last_layer|| + 1e-4), from 0 to
        10,000, as a constant. P. Esser et al. 2021, arXiv:2012.09841, equation 7; latent diffusion
        multiplies it by 0.5.
    """
    own, others = (
        torch.linalg.vector_norm(torch.autograd.grad(loss, last_layer, retain_graph=True)[0])
        for loss in (reconstruction, adversarial)
    )
    weight: torch.Tensor = own / (others + _TINY)
    return weight.clamp(0.0, _LARGEST).detach()
