"""A code's distance from a normal one is exact, and a critic pulls as hard as it should."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from napari_virtualstain.losses.autoencoder import adaptive_weight, posterior_kl


def test_the_divergence_is_that_of_the_distributions():
    torch.manual_seed(0)
    mean, logvar = 3 * torch.randn(4, 2, 5, 6).double(), 2 * torch.randn(4, 2, 5, 6).double()
    each = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(posterior_kl(mean, logvar), each.sum(dim=(1, 2, 3)))


def test_the_divergence_is_zero_for_the_normal_code_and_never_below():
    zeros = torch.zeros(1, 8)
    assert posterior_kl(zeros, zeros).item() == 0
    # Written with exp and - 1, single precision would give nothing, or less, here.
    nearly = torch.full((1, 8), 1e-5)
    assert posterior_kl(zeros, nearly).item() == pytest.approx(8 * 0.25e-10, rel=0.1)


def game(pull, layer):
    """Two losses whose gradients at a layer are known: 2 x layer and pull."""
    return layer.square().sum(), (torch.tensor(pull) * layer).sum()


WEIGHTS = {
    "as hard as the reconstruction": ((3.0, 4.0), 10 / (5 + 1e-4)),
    "bounded where the critic does not pull": ((1e-9, 0.0), 1e4),
    "of half the norm": ((12.0, 16.0), 10 / (20 + 1e-4)),
}


@pytest.mark.parametrize(("pull", "wanted"), WEIGHTS.values(), ids=WEIGHTS)
def test_the_critic_is_weighed_by_the_gradients_at_the_last_layer(pull, wanted):
    layer = torch.tensor([3.0, 4.0], requires_grad=True)
    reconstruction, adversarial = game(pull, layer)
    found = adaptive_weight(reconstruction, adversarial, layer)
    assert found.item() == pytest.approx(wanted, rel=1e-6)
    assert not found.requires_grad
    (reconstruction + found * adversarial).backward()  # the graph is still there
    assert layer.grad is not None
