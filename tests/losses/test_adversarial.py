"""Critics learn what they should, and nothing from stains that were not measured."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from napari_virtualstain.errors import UnknownNameError
from napari_virtualstain.losses.adversarial import (
    ADVERSARIAL,
    feature_distance,
    fill_missing,
    get_adversarial,
    gradient_norms,
    gradient_penalty,
)
from napari_virtualstain.nets.critic3d import Critic3d
from napari_virtualstain.nets.patchgan import PatchGan

NAN = float("nan")


def cross_entropy(scores, wanted):
    return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, wanted))


def squares(scores, wanted):
    return functional.mse_loss(scores, torch.full_like(scores, wanted))


TWINS = {
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
    "lsgan": (lambda r, f: 0.5 * (squares(r, 1.0) + squares(f, 0.0)), lambda f: squares(f, 1.0)),
    "vanilla": (
        lambda r, f: 0.5 * (cross_entropy(r, 1.0) + cross_entropy(f, 0.0)),
        lambda f: cross_entropy(f, 1.0),
    ),
    "hinge": (
        lambda r, f: (
            sum(max(0.0, 1 - float(s)) for s in r.flatten()) / r.numel()
            + sum(max(0.0, 1 + float(s)) for s in f.flatten()) / f.numel()
        ),
        lambda f: -f.mean(),
    ),
}


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_terms_equal_their_twins(name):
    torch.manual_seed(0)
    real, fake = 3 * torch.randn(2, 1, 4, 5), 3 * torch.randn(2, 1, 4, 5)
    found, (critic, generator) = get_adversarial(name), TWINS[name]
    torch.testing.assert_close(found.critic(real, fake), torch.as_tensor(critic(real, fake)))
    torch.testing.assert_close(found.generator(fake), torch.as_tensor(generator(fake)))


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_truth_is_pushed_up_and_prediction_down_and_by_the_generator_up(name):
    real, fake = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 1, 2, 2)
    fake.requires_grad_()
    up, down = torch.autograd.grad(get_adversarial(name).critic(real, fake), (real, fake))
    if name == "lsgan":  # prediction is where it should be, at 0
        fake = (fake + 1).detach().requires_grad_()
        (down,) = torch.autograd.grad(get_adversarial(name).critic(real, fake), fake)
        fake = (fake - 1).detach().requires_grad_()
    (lifted,) = torch.autograd.grad(get_adversarial(name).generator(fake), fake)
    assert (up < 0).all()
    assert (down > 0).all()
    assert (lifted < 0).all()


def test_sure_scores_overflow_nowhere():
    sure = torch.full((1, 1, 2, 2), 1e4)
    for terms in ADVERSARIAL.values():
        assert torch.isfinite(terms.critic(-sure, sure))
        assert torch.isfinite(terms.generator(-sure))


def test_features_are_apart_by_the_mean_over_layers_whatever_their_sizes():
    real = [torch.zeros(2, 3, 8, 8), torch.ones(2, 6, 4, 4)]
    fake = [torch.full((2, 3, 8, 8), -0.5), torch.full((2, 6, 4, 4), 3.0)]
    for one in (*real, *fake):
        one.requires_grad_()
    found = feature_distance(fake, real)
    assert found.item() == pytest.approx((0.5 + 2.0) / 2)
    found.backward()
    assert all(one.grad is None for one in real)
    assert all(one.grad.abs().min() > 0 for one in fake)


def test_an_unknown_game_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'hinge'"):
        get_adversarial("hinges")


# --- what is missing ------------------------------------------------------------------------------


def stained(*shape):
    """Return predicted and true stains, one of the first sample's missing, and half of another."""
    torch.manual_seed(0)
    fake, real = torch.randn(shape), torch.randn(shape)
    real[0, 1] = NAN
    real[1, 0, : shape[2] // 2] = NAN
    return fake.requires_grad_(), real


def test_missing_stains_are_zeros_at_the_same_places_of_both():
    fake, real = stained(2, 3, 4, 4)
    filled_fake, filled_real = fill_missing(fake, real)
    missing = torch.isnan(real)
    for filled, given in ((filled_fake, fake), (filled_real, real)):
        assert (filled[missing] == 0).all()
        assert torch.equal(filled[~missing], given[~missing])


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_what_is_predicted_where_nothing_was_stained_has_no_say_and_no_gradient(name):
    fake, real = stained(2, 3, 12, 12)
    planes, missing = torch.randn(2, 1, 12, 12), torch.isnan(real)
    critic, terms = PatchGan(4, width=4, layers=2), get_adversarial(name)
    losses = []
    for guess in (fake, torch.where(missing, 1e3, fake)):
        filled_fake, filled_real = fill_missing(guess, real)
        fake_scores = critic(filled_fake, planes)
        losses.append(terms.critic(critic(filled_real, planes), fake_scores))
        losses.append(terms.generator(fake_scores))
    assert torch.equal(losses[0], losses[2])
    assert torch.equal(losses[1], losses[3])
    losses[1].backward()
    assert (fake.grad[missing] == 0).all()
    assert (fake.grad[~missing] != 0).all()


def test_a_critic_learns_the_same_whatever_is_predicted_where_nothing_was_stained():
    fake, real = stained(2, 3, 12, 12)
    planes, eps = torch.randn(2, 1, 12, 12), torch.tensor([0.3, 0.8])
    critic, missing = PatchGan(4, width=4, layers=2, norm="instance"), torch.isnan(real)
    for norm in ("sample", "as-published"):
        learned = []
        for guess in (fake, torch.where(missing, 1e3, fake)):
            norms = gradient_norms(critic, guess, real, planes, eps, norm=norm)
            learned.append(
                torch.autograd.grad(
                    gradient_penalty(norms), list(critic.parameters()), allow_unused=True
                )
            )
        for one, other in zip(*learned, strict=True):
            assert one is other is None or torch.equal(one, other)


# --- the penalty ----------------------------------------------------------------------------------


def brute_force(critic, fake, real, planes, eps):
    """One sample after the other; what is missing is not even a variable."""
    norms = []
    for b in range(real.shape[0]):
        known = torch.isfinite(real[b])
        values = eps[b] * real[b][known] + (1 - eps[b]) * fake[b][known]
        values = values.detach().requires_grad_()
        stains = torch.zeros_like(real[b]).masked_scatter(known, values)
        score = critic(stains[None], planes[b : b + 1]).mean()
        (gradient,) = torch.autograd.grad(score, values, create_graph=True)
        norms.append(gradient.square().sum().sqrt())
    return torch.stack(norms)


CRITICS = {
    "2-D": lambda: (PatchGan(4, width=4, layers=2), (2, 3, 13, 14)),
    "2-D with InstanceNorm": lambda: (
        PatchGan(4, width=4, layers=2, norm="instance"),
        (2, 3, 13, 14),
    ),
    "3-D": lambda: (Critic3d(4, width=2), (2, 3, 9, 16, 18)),
}


@pytest.mark.parametrize("make", CRITICS.values(), ids=CRITICS)
def test_norms_and_what_is_learned_from_them_equal_those_of_samples_one_by_one(make):
    torch.manual_seed(0)
    critic, shape = make()
    critic = critic.double()
    fake, real = (x.double() for x in stained(*shape))
    planes = torch.randn(shape[0], 1, *shape[2:], dtype=torch.float64)
    eps = torch.tensor([0.25, 0.9], dtype=torch.float64)
    norms = gradient_norms(critic, fake, real, planes, eps)
    expected = brute_force(critic, fake, real, planes, eps)
    torch.testing.assert_close(norms, expected)
    weights = [p for p in critic.parameters() if p.ndim > 1]
    found = torch.autograd.grad(gradient_penalty(norms), weights)
    wanted = torch.autograd.grad((expected - 1).square().mean(), weights)
    torch.testing.assert_close(found, wanted)
    assert any((g != 0).any() for g in found)


def test_the_penalty_looks_between_truth_and_prediction_and_not_at_the_planes():
    seen = []

    def critic(stains, planes):
        seen.append(stains.detach())
        return (stains * planes).sum(dim=1, keepdim=True)

    fake, real = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    planes = torch.full((2, 1, 2, 2), 8.0)
    norms = gradient_norms(critic, fake, real, planes, torch.tensor([0.0, 0.75]))
    assert torch.equal(seen[0], torch.tensor([0.0, 0.75]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2))
    # d mean / d stain = 8 / 4 at each of four pixels
    torch.testing.assert_close(norms, torch.tensor([4.0, 4.0]))
    torch.testing.assert_close(gradient_penalty(norms), torch.tensor(9.0))


def test_as_published_the_norm_is_over_channels_at_each_pixel_planes_included():
    torch.manual_seed(0)
    critic = PatchGan(4, width=4, layers=2)
    fake, real = stained(2, 3, 12, 12)
    planes, eps = torch.randn(2, 1, 12, 12), torch.tensor([0.3, 0.8])
    norms = gradient_norms(critic, fake, real, planes, eps, norm="as-published")
    filled_fake, filled_real = fill_missing(fake.detach(), real)
    share = eps.reshape(2, 1, 1, 1)
    joined = torch.cat([share * filled_real + (1 - share) * filled_fake, planes], dim=1)
    joined.requires_grad_()
    (gradient,) = torch.autograd.grad(critic(joined[:, :3], joined[:, 3:]).sum(), joined)
    gradient = torch.where(torch.cat([torch.isnan(real), planes.isnan()], dim=1), 0, gradient)
    torch.testing.assert_close(norms, gradient.square().sum(dim=1).sqrt())
    assert norms.shape == (2, 12, 12)


def test_a_sample_without_any_truth_is_not_penalised():
    torch.manual_seed(0)
    critic = PatchGan(3, width=4, layers=2)
    fake, real = torch.randn(2, 2, 12, 12), torch.randn(2, 2, 12, 12)
    real[0] = NAN
    planes, eps = torch.randn(2, 1, 12, 12), torch.rand(2)
    for norm in ("sample", "as-published"):
        both = gradient_penalty(gradient_norms(critic, fake, real, planes, eps, norm=norm))
        alone = gradient_penalty(
            gradient_norms(critic, fake[1:], real[1:], planes[1:], eps[1:], norm=norm)
        )
        torch.testing.assert_close(both, alone)
        weights = [p for p in critic.parameters() if p.ndim > 1]
        pairs = zip(
            torch.autograd.grad(both, weights), torch.autograd.grad(alone, weights), strict=True
        )
        for one, other in pairs:
            torch.testing.assert_close(one, other)


def test_trained_with_the_penalty_the_norm_comes_to_one():
    torch.manual_seed(0)
    critic = PatchGan(2, width=8, layers=1)
    optimiser = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.0, 0.9))
    terms = get_adversarial("wasserstein")
    norms = torch.zeros(())
    for _ in range(80):
        # Stains that differ little: the critic gains more from a norm above 1 the more they do.
        planes = torch.randn(8, 1, 8, 8)
        real, fake = 0.1 * planes, 0.1 * torch.randn_like(planes)
        norms = gradient_norms(critic, fake, real, planes, torch.rand(8))
        loss = terms.critic(critic(real, planes), critic(fake, planes))
        optimiser.zero_grad()
        (loss + 10 * gradient_penalty(norms)).backward()
        optimiser.step()
    assert 0.8 < norms.mean().item() < 1.2
