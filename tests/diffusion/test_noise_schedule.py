"""Noise levels: tables as the papers have them, and which of their steps a sampler takes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.diffusion.noise_schedule import (
    SCHEDULES,
    NoiseSchedule,
    alphas_cumprod,
    cosine_alphas_cumprod,
    linear_alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.errors import SettingsError, UnknownNameError

LINEAR = linear_alphas_cumprod()


def test_the_linear_schedule_is_that_of_ddpm():
    assert LINEAR.shape == (1000,)
    assert LINEAR[0] == 1 - 1e-4
    assert LINEAR[-1] == pytest.approx(4.0358e-5, rel=1e-4)


PUBLISHED = {
    "palette": (2000, 1e-6, 0.01),
    "palette-test": (1000, 1e-4, 0.09),
    "guided-diffusion": (1000, 1e-4, 0.02),
}


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items(), ids=PUBLISHED)
def test_a_table_by_name_has_the_betas_of_its_paper(name, published):
    train_steps, first, last = published
    table = alphas_cumprod(name)
    betas = 1 - table / np.append(1, table[:-1])
    assert table.shape == (train_steps,)
    # 1e-9 of a beta of 1e-6: no digit of it is left in float32.
    np.testing.assert_allclose(betas, np.linspace(first, last, train_steps), rtol=1e-9)


def test_every_table_is_a_schedule():
    for name in SCHEDULES:
        table = alphas_cumprod(name)
        assert table.dtype == np.float64
        assert NoiseSchedule(table, spaced_timesteps(len(table), 25)).steps == 25


def test_a_schedule_that_nobody_knows_is_named():
    with pytest.raises(
        UnknownNameError, match="No noise schedule named 'palet'. Did you mean 'palette'"
    ):
        alphas_cumprod("palet")


def test_the_cosine_schedule_falls_as_a_cosine_squared():
    table = cosine_alphas_cumprod(1000)
    at = np.arange(1, 1001) / 1000
    cosine = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(table[:-1], cosine[:-1], rtol=1e-9)
    assert table[-1] == pytest.approx(table[-2] * 0.001)  # the last beta is cut


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("train_steps", [1, 2, 3, 10, 999, 1000])
def test_spaced_steps_fall_from_the_noisiest_without_repeating(train_steps, spacing):
    for steps in range(1, min(train_steps, 60) + 1):
        taken = spaced_timesteps(train_steps, steps, spacing=spacing)
        assert len(set(taken)) == steps
        assert list(taken) == sorted(taken, reverse=True)
        assert (taken[0], taken[-1] >= 0) == (train_steps - 1, True)
    assert spaced_timesteps(train_steps, train_steps, spacing=spacing) == tuple(
        range(train_steps)[::-1]
    )


BAD = {
    "no steps": (lambda: spaced_timesteps(1000, 0), "takes 1 to 1000 of them, got 0"),
    "too many steps": (lambda: spaced_timesteps(10, 11), "takes 1 to 10 of them, got 11"),
    "unknown spacing": (
        lambda: spaced_timesteps(10, 2, spacing="leading"),
        "No spacing of steps is named 'leading'. Choose one of trailing, linspace.",
    ),
    "rising table": (lambda: NoiseSchedule(LINEAR[::-1], (3, 1)), "values of alpha_bar that fall"),
    "empty table": (lambda: NoiseSchedule(np.array([]), (0,)), "values of alpha_bar that fall"),
    "table to zero": (lambda: NoiseSchedule(np.array([0.5, 0.0]), (1,)), "to above 0"),
    "rising steps": (lambda: NoiseSchedule(LINEAR, (1, 3)), "got 1, 3. Use spaced_timesteps."),
    "step off the table": (lambda: NoiseSchedule(LINEAR, (1000,)), "from at most 999"),
    "no time steps": (lambda: NoiseSchedule(LINEAR, ()), "got none"),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_a_sampler_that_makes_no_sense_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
