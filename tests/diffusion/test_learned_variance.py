"""The variational bound of a step: zero where it is right, and least at the right variance."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import distributions

from napari_virtualstain.diffusion.forward import noise_batch
from napari_virtualstain.diffusion.learned_variance import variational_bits
from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
from napari_virtualstain.diffusion.posterior import posterior
from napari_virtualstain.errors import SettingsError

TABLE = alphas_cumprod("guided-diffusion")
KNOWN = posterior(TABLE)


def batch(clean, t, seed=0, predicts="eps"):
    """A batch that is noised at given steps."""
    clean = clean.double()
    noised = noise_batch(TABLE, clean, generator=torch.Generator().manual_seed(seed))
    level = torch.from_numpy(TABLE)[t]
    a, b = (part.reshape(-1, 1, 1, 1) for part in (level.sqrt(), (1 - level).sqrt()))
    eps = noised.target
    return replace(noised, x=a * noised.clean + b * eps, target=eps, t=t, level=level)


def pictures(n, seed=1):
    return torch.rand(n, 2, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9


def test_a_network_that_knows_the_noise_pays_nothing_but_at_the_last_step():
    t = torch.tensor([1, 2, 10, 500, 999])
    noised = batch(pictures(5), t)
    bits = variational_bits(TABLE, noised, noised.target, torch.full_like(noised.x, -1))
    assert bits.abs().max() < 1e-6


@pytest.mark.parametrize("t", [1, 30, 700])
def test_it_is_the_distance_of_two_normal_distributions(t):
    noised = batch(pictures(3), torch.full((3,), t))
    rng = torch.Generator().manual_seed(2)
    wrong = noised.target + 0.3 * torch.randn(noised.x.shape, generator=rng)
    fraction = torch.rand(noised.x.shape, generator=rng).double() * 2 - 1
    bits = variational_bits(TABLE, noised, wrong, fraction)
    level = TABLE[t]
    guess = (noised.x - sqrt(1 - level) * wrong) / sqrt(level)
    log_variance = KNOWN.log_low[t] + (fraction + 1) / 2 * (KNOWN.log_high[t] - KNOWN.log_low[t])
    true = distributions.Normal(
        KNOWN.of_clean[t] * noised.clean + KNOWN.of_x[t] * noised.x,
        torch.tensor(np.exp(KNOWN.log_low[t] / 2)),
    )
    said = distributions.Normal(
        KNOWN.of_clean[t] * guess + KNOWN.of_x[t] * noised.x, (log_variance / 2).exp()
    )
    expected = distributions.kl_divergence(true, said) / log(2)
    torch.testing.assert_close(bits, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("limits", [None, (-1.0, 1.0)], ids=str)
def test_the_last_step_pays_for_the_grey_value_it_should_have_met(limits):
    noised = batch(pictures(2), torch.tensor([0, 0]))
    guess = noised.target + 0.5
    fraction = torch.ones_like(noised.x)
    bits = variational_bits(TABLE, noised, guess, fraction, limits=limits)
    mean = (noised.x - sqrt(1 - TABLE[0]) * guess) / sqrt(TABLE[0])
    said = distributions.Normal(mean, torch.tensor(np.exp(KNOWN.log_high[0] / 2)))
    inside = said.cdf(noised.clean + 1 / 255) - said.cdf(noised.clean - 1 / 255)
    torch.testing.assert_close(bits, -inside.log2(), rtol=1e-6, atol=1e-9)


def test_all_grey_values_together_are_certain():
    """The bins of 8 bits, open at both ends, leave no probability over."""
    greys = torch.linspace(-1, 1, 256, dtype=torch.float64).reshape(256, 1, 1, 1)
    noised = batch(greys, torch.zeros(256, dtype=torch.int64))
    noised = replace(noised, x=torch.full_like(noised.x, 0.987))
    bits = variational_bits(TABLE, noised, torch.zeros_like(noised.x), torch.ones_like(noised.x))
    assert (2**-bits).sum().item() == pytest.approx(1, abs=1e-6)


def test_the_mean_is_held_fast_and_the_variance_is_led_to_its_error():
    t = 100
    noised = batch(pictures(4), torch.full((4,), t))
    wrong = noised.target + 0.4
    wrong.requires_grad_()
    fraction = torch.zeros_like(noised.x, requires_grad=True)
    variational_bits(TABLE, noised, wrong, fraction).mean().backward()
    assert wrong.grad is None
    # The spread that pays least is that of the posterior and the error of the mean together.
    error = KNOWN.of_clean[t] * sqrt(1 - TABLE[t]) / sqrt(TABLE[t]) * 0.4
    best = np.log(np.exp(KNOWN.log_low[t]) + error**2)
    place = 2 * (best - KNOWN.log_low[t]) / (KNOWN.log_high[t] - KNOWN.log_low[t]) - 1
    at_best = torch.full_like(noised.x, place, requires_grad=True)
    variational_bits(TABLE, noised, wrong, at_best).mean().backward()
    assert at_best.grad.abs().max() < 1e-6 * fraction.grad.abs().max()


def test_a_missing_stain_leaves_the_gradient_alone():
    clean = pictures(2)
    clean[0, 0] = torch.nan
    noised = noise_batch(TABLE, clean, generator=torch.Generator().manual_seed(0))
    fraction = torch.zeros_like(noised.x, requires_grad=True)
    bits = variational_bits(TABLE, noised, torch.zeros_like(noised.x), fraction)
    torch.where(noised.known, bits, 0.0).sum().backward()
    assert torch.isfinite(fraction.grad).all()
    assert (fraction.grad[0, 0] == 0).all()


def bad_batch(**given):
    return noise_batch(TABLE, torch.zeros(2, 1, 4, 4), **given)


BAD = {
    "continuous": (
        lambda: (bad_batch(continuous=True), (2, 1, 4, 4)),
        "these noise levels are none of it. Train with the table that noised them",
    ),
    "another table": (
        lambda: (noise_batch(alphas_cumprod("cosine"), torch.zeros(2, 1, 4, 4)), (2, 1, 4, 4)),
        "these noise levels are none of it.",
    ),
    "channels": (
        lambda: (bad_batch(), (2, 2, 4, 4)),
        "has the shape of x (2, 1, 4, 4), got (2, 2, 4, 4) and (2, 2, 4, 4). Give the network twice",
    ),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_what_has_no_learned_variance_is_refused(build, sentence):
    noised, shape = build()
    with pytest.raises(SettingsError) as caught:
        variational_bits(TABLE, noised, torch.zeros(shape), torch.zeros(shape))
    assert sentence in str(caught.value)
