"""A bridge is walked back with the variance of its forward process, whatever the noise of a step."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.bridge import BrownianBridge, target_weights
from napari_virtualstain.diffusion.bridge_sampler import BridgeSteps, bridge_timesteps
from napari_virtualstain.diffusion.walk import walk
from napari_virtualstain.errors import SettingsError

BRIDGE = BrownianBridge()
OBJECTIVES = ["grad", "noise", "ysubx"]
ETAS = [0.0, 0.5, 1.0]


def rule(steps=200, **given):
    return BridgeSteps(bridge=BRIDGE, timesteps=bridge_timesteps(1000, steps), **given)


def test_steps_are_those_of_the_published_code():
    taken = bridge_timesteps(1000, 200)
    assert taken == (*(int(999 - 999 * k / 198) for k in range(198)), 1, 0)
    assert bridge_timesteps(1000, 1000) == tuple(range(1000)[::-1])


@pytest.mark.parametrize("train_steps", [2, 3, 7, 10, 1000])
def test_steps_fall_from_the_known_end_without_repeating(train_steps):
    for steps in [*range(1, min(train_steps, 40) + 1), train_steps - 1, train_steps]:
        taken = bridge_timesteps(train_steps, steps)
        assert len(set(taken)) == steps
        assert list(taken) == sorted(taken, reverse=True)
        assert taken[0] == train_steps - 1
        assert steps == 1 or taken[-1] == 0


def sampled(steps, *, end=1.5, n=60_000, seed=0):
    """Sample where the stain is standard normal, whatever the end, with its best predictor."""
    rng = np.random.default_rng(seed)

    def predict(x, time):
        m, variance = BRIDGE.m[time.t], BRIDGE.variance[time.t]
        clean = (1 - m) / ((1 - m) ** 2 + variance) * (x.astype(np.float64) - m * end)
        # The best prediction of eps follows from that of x_0: x is known.
        eps = (x - (1 - m) * clean - m * end) / sqrt(variance)
        parts = zip(target_weights(steps.objective, m, variance), (clean, end, eps), strict=True)
        return np.asarray(sum(share * part for share, part in parts), np.float32)[None]

    def draw(_number):
        return rng.normal(size=n).astype(np.float32)

    return walk(steps, predict, draw, start=np.full(n, end, np.float32))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("eta", ETAS)
def test_a_normal_distribution_is_sampled_with_its_mean_and_spread(eta, objective):
    found = sampled(rule(eta=eta, objective=objective))
    assert found.std() == pytest.approx(0.983, abs=0.012)
    assert found.mean() == pytest.approx(0, abs=0.05)


def test_as_published_it_is_right_at_eta_1_only():
    spreads = [sampled(rule(eta=eta, as_published=True)).std() for eta in ETAS]
    np.testing.assert_allclose(spreads, [0, 0.49, 0.98], atol=0.012)


@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("eta", ETAS)
def test_a_step_from_the_bridge_lands_on_the_bridge(eta, as_published):
    """With x_0 known, x is after the step as the forward process would have made it."""
    steps, n, step = rule(20, eta=eta, as_published=as_published), 200_000, 8
    t, s = steps.timesteps[step : step + 2]
    clean, end = 2.0, -1.0
    rng = np.random.default_rng(0)
    x = (
        (1 - BRIDGE.m[t]) * clean
        + BRIDGE.m[t] * end
        + sqrt(BRIDGE.variance[t]) * rng.normal(size=n)
    )
    noise = rng.normal(size=n).astype(np.float32) if eta else None
    history = np.full((1, n), end, np.float32)
    x = x.astype(np.float32)
    x, _ = steps.step(step, x, (x - np.float32(clean))[None], history, noise)
    assert x.mean() == pytest.approx((1 - BRIDGE.m[s]) * clean + BRIDGE.m[s] * end, abs=0.01)
    is_right = x.var() == pytest.approx(BRIDGE.variance[s], rel=0.015)
    assert is_right == (not as_published or eta == 1)


def test_the_first_x_is_the_known_end_with_the_noise_that_the_bridge_has_there():
    assert rule().initial_scale == sqrt(BRIDGE.variance[999])
    assert rule(as_published=True).initial_scale == 0


def test_the_last_step_gives_the_clean_prediction_cut_to_its_range():
    x = np.array([[0.5, 3.0]], np.float32)
    prediction = np.array([[[0.25, 0.5]]], np.float32)
    last = rule(clip=(-1, 1))
    found, _ = last.step(199, x, prediction, np.zeros((1, 1, 2), np.float32), None)
    np.testing.assert_array_equal(found, [[0.25, 1]])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_torch_and_numpy_take_the_same_step(objective):
    steps = rule(20, objective=objective, eta=0.5, clip=(-2, 2))
    x, prediction, end, noise = (
        np.random.default_rng(0).normal(size=(4, 2, 5, 5)).astype(np.float32)
    )
    one, _ = steps.step(7, x, prediction[None], end[None], noise)
    x, prediction, end, noise = map(torch.from_numpy, (x, prediction, end, noise))
    other, kept = steps.step(7, x, prediction[None], end[None], noise)
    np.testing.assert_array_equal(other.numpy(), one)
    assert torch.equal(kept[0], end)


def test_only_stochastic_steps_ask_for_noise():
    asks = [[rule(4, eta=eta).is_stochastic(step) for step in range(4)] for eta in (0.0, 0.3)]
    assert asks == [[False] * 4, [True, True, True, False]]


def other_channels():
    steps = rule(4)
    x = np.zeros((5, 4, 4), np.float32)
    steps.step(0, x, x[None], np.zeros((1, 3, 4, 4), np.float32), x)


BAD = {
    "no steps": (lambda: bridge_timesteps(1000, 0), "takes 1 to 1000 of them, got 0. Choose"),
    "too many steps": (lambda: bridge_timesteps(10, 11), "takes 1 to 10 of them, got 11"),
    "eta": (lambda: rule(eta=1.2), "between 0 (no noise) and 1 (the paper's), got 1.2. Choose"),
    "negative eta": (lambda: rule(eta=-0.1), "got -0.1."),
    "objective": (lambda: rule(objective="eps"), "predicts grad, noise, ysubx, got 'eps'."),
    "clip": (lambda: rule(clip=(1, -1)), "Put the smaller number first."),
    "rising steps": (
        lambda: BridgeSteps(bridge=BRIDGE, timesteps=(1, 5)),
        "from at most 999 to at least 0, got 1, 5. Use bridge_timesteps.",
    ),
    "steps beyond": (lambda: BridgeSteps(bridge=BRIDGE, timesteps=(1000, 0)), "got 1000, 0."),
    "no time steps": (lambda: BridgeSteps(bridge=BRIDGE, timesteps=()), "got none."),
    "channels": (other_channels, "got (3, 4, 4) and (5, 4, 4). Make one of as many channels"),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_a_sampler_that_makes_no_sense_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
