"""A bridge: noise-free at its ends, and taught so that the stain comes back from what is predicted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.bridge import (
    BrownianBridge,
    bridge_batch,
    clean_weights,
    target_weights,
)
from napari_virtualstain.errors import SettingsError

BRIDGE = BrownianBridge()
OBJECTIVES = ["grad", "noise", "ysubx"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_tables_are_those_of_the_published_code():
    m = np.array([0.001 + 0.998 * t / 999 for t in range(1000)])
    np.testing.assert_allclose(BRIDGE.m, m, rtol=1e-12)
    np.testing.assert_allclose(BRIDGE.variance, 2 * (m - m**2), rtol=1e-12)
    np.testing.assert_allclose(BrownianBridge(scale=0.5).variance, m - m**2, rtol=1e-12)


def test_it_is_a_brownian_bridge():
    """Half the variance of one who is at x_0 at time 0 and at y at time 1: t (1 - t)."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(20_000, 500)) / np.sqrt(500)
    walk = steps.cumsum(1)
    time = np.arange(1, 501) / 500
    bridge = walk - time * walk[:, -1:]
    m = time[[99, 249, 399]]
    np.testing.assert_allclose(2 * bridge.var(0)[[99, 249, 399]], 2 * (m - m**2), rtol=0.05)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_x_and_its_target_tell_the_clean_picture(objective):
    clean, end = torch.randn(2, 32, 2, 6, 6, generator=generator(1), dtype=torch.float64)
    noised = bridge_batch(BRIDGE, clean, end, objective=objective, generator=generator())
    for place in range(32):
        t = int(noised.t[place])
        assert noised.level[place] == BRIDGE.m[t]
        of_x, of_end, of_target = clean_weights(objective, BRIDGE.m[t], BRIDGE.variance[t])
        back = of_x * noised.x[place] + of_end * end[place] + of_target * noised.target[place]
        torch.testing.assert_close(back, clean[place], rtol=0, atol=1e-9)


def test_x_lies_between_the_ends_with_the_variance_of_its_step():
    clean, end = torch.full((64, 1, 64, 64), 2.0), torch.full((64, 1, 64, 64), -1.0)
    noised = bridge_batch(BRIDGE, clean, end, generator=generator())
    t = noised.t.numpy()
    assert len(set(t)) > 50
    np.testing.assert_allclose(noised.x.mean((1, 2, 3)), 2 - 3 * BRIDGE.m[t], atol=5 * 0.71 / 64)
    np.testing.assert_allclose(noised.x.std((1, 2, 3)), np.sqrt(BRIDGE.variance[t]), rtol=5 / 90)


def test_the_default_target_is_how_far_x_is_from_the_stain():
    clean, end = torch.randn(2, 8, 2, 6, 6, generator=generator(2))
    noised = bridge_batch(BRIDGE, clean, end, generator=generator())
    torch.testing.assert_close(noised.target, noised.x - clean)


def test_steps_are_drawn_from_the_whole_bridge_by_the_generator():
    ends = torch.zeros(5000, 1, 1, 1)
    one, again = (bridge_batch(BRIDGE, ends, ends, generator=generator(4)) for _ in range(2))
    assert (one.t.min(), one.t.max()) == (0, 999)
    torch.testing.assert_close(one.x, again.x, rtol=0, atol=0)


def test_missing_stains_are_neither_shown_nor_asked_for():
    clean = torch.ones(2, 3, 4, 4)
    clean[1, 0] = torch.nan
    noised = bridge_batch(BRIDGE, clean, torch.zeros_like(clean), generator=generator())
    assert torch.isfinite(noised.x).all()
    assert torch.isnan(noised.target[1, 0]).all()
    assert torch.isfinite(noised.target).sum() == 5 * 16


BAD = {
    "channels": (
        lambda: bridge_batch(BRIDGE, torch.zeros(1, 5, 8, 8), torch.zeros(1, 3, 8, 8)),
        "got (1, 3, 8, 8) and (1, 5, 8, 8). Make one of as many channels of the bright field first",
    ),
    "objective": (
        lambda: target_weights("eps", 0.5, 0.5),
        "predicts grad, noise, ysubx, got 'eps'. Choose what it was trained to predict.",
    ),
    "objective of a sampler": (lambda: clean_weights("x0", 0.5, 0.5), "got 'x0'."),
    "no steps": (lambda: BrownianBridge(0), "got 0 and 1.0. The paper has 1000 and 1."),
    "no variance": (lambda: BrownianBridge(scale=0.0), "got 1000 and 0.0."),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_a_bridge_that_leads_nowhere_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
