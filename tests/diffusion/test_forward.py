"""What a network is shown in training: levels as published, noise of the right size, NaN left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.forward import draw_levels, noise_batch, standard_normal
from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
from napari_virtualstain.diffusion.prediction import clean_weights
from napari_virtualstain.errors import SettingsError

PALETTE = alphas_cumprod("palette")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_continuous_levels_lie_between_two_steps():
    t, level = draw_levels(PALETTE, 20_000, continuous=True, generator=generator())
    t, level = t.numpy(), level.numpy()
    assert level.dtype == np.float64
    assert (t.min(), t.max()) == (1, 1999)
    assert ((level >= PALETTE[t]) & (level <= PALETTE[t - 1])).all()
    share = (level - PALETTE[t - 1]) / (PALETTE[t] - PALETTE[t - 1])
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.std() == pytest.approx(12**-0.5, abs=0.01)
    assert t.mean() == pytest.approx(1000, abs=20)


def test_levels_of_the_table_begin_with_its_first():
    t, level = draw_levels(PALETTE, 20_000, generator=generator())
    assert (t.min(), t.max()) == (0, 1999)
    np.testing.assert_array_equal(level.numpy(), PALETTE[t.numpy()])


@pytest.mark.parametrize("continuous", [False, True])
def test_draws_follow_from_the_generator_or_else_from_the_state_of_torch(continuous):
    clean = torch.ones(4, 2, 8, 8)

    def drawn(**given):
        noised = noise_batch(PALETTE, clean, continuous=continuous, **given)
        return torch.cat([noised.x.flatten(), noised.level])

    one, again, other = (drawn(generator=generator(seed)) for seed in (3, 3, 4))
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.equal(one, other)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        seeded = drawn()
        state = torch.get_rng_state()
        drawn(generator=generator())
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(5)
        torch.testing.assert_close(drawn(), seeded, rtol=0, atol=0)


def test_noise_has_the_type_of_the_picture():
    noise = standard_normal(torch.zeros(2, 3, dtype=torch.float64), generator=generator())
    assert (noise.dtype, noise.shape) == (torch.float64, (2, 3))


def test_x_is_picture_and_noise_in_the_shares_of_its_level():
    clean = torch.full((64, 1, 64, 64), 2.0)
    noised = noise_batch(PALETTE, clean, continuous=True, generator=generator())
    mean, spread = noised.x.mean((1, 2, 3)), noised.x.std((1, 2, 3))
    np.testing.assert_allclose(mean, 2 * noised.level.sqrt(), atol=5 / 64)
    np.testing.assert_allclose(spread, (1 - noised.level).sqrt(), rtol=5 / 90, atol=1e-6)


def test_the_cleanest_level_still_holds_its_noise():
    """1 - 1e-6 has no digits left in float32: its root of noise would be 2 % off."""
    noised = noise_batch(PALETTE[:1], torch.zeros(1, 1, 400, 400), generator=generator())
    np.testing.assert_allclose(noised.x, 1e-3 * noised.target, rtol=1e-6)


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_the_target_tells_the_clean_picture(predicts):
    clean = torch.randn(16, 2, 8, 8, generator=generator(1))
    noised = noise_batch(PALETTE[:1500], clean, predicts=predicts, generator=generator())
    shape = (-1, 1, 1, 1)
    of_x, of_target = (
        part.float().reshape(shape) if isinstance(part, torch.Tensor) else part
        for part in clean_weights(predicts, noised.level)
    )
    torch.testing.assert_close(
        of_x * noised.x + of_target * noised.target, clean, rtol=0, atol=1e-4
    )


def test_missing_stains_are_neither_shown_nor_asked_for():
    clean = torch.ones(2, 3, 4, 4)
    clean[0, 1] = torch.nan
    noised = noise_batch(PALETTE, clean, predicts="x0", generator=generator())
    assert torch.isfinite(noised.x).all()
    assert torch.isnan(noised.target[0, 1]).all()
    assert torch.isfinite(noised.target).sum() == 5 * 16
    torch.testing.assert_close(noised.known, torch.isfinite(clean))
    assert (noised.clean[0, 1] == 0).all()


def test_a_volume_is_noised_like_a_plane():
    noised = noise_batch(PALETTE, torch.zeros(2, 1, 3, 4, 5), generator=generator())
    assert noised.x.shape == noised.target.shape == (2, 1, 3, 4, 5)


BAD = {
    "one step": (
        lambda: draw_levels(PALETTE[:1], 2, continuous=True),
        "of 1 steps has no level between two of them. Use a longer schedule.",
    ),
    "prediction": (
        lambda: noise_batch(PALETTE, torch.zeros(1, 1, 2, 2), predicts="score"),
        "predicts eps, x0, v, got 'score'.",
    ),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_noised_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
