"""Whole runs of our samplers, against those of diffusers on the same table and noise."""

from __future__ import annotations

from importlib import import_module
from math import sqrt

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.noise_schedule import (
    NoiseSchedule,
    alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.diffusion.samplers import Ancestral, Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.diffusion.walk import walk

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TABLES = {"palette": (-15, 15), "guided-diffusion": (-1, 1)}
N = 64


@pytest.fixture(scope="module")
def diffusers():
    """Imported here and not above, since that takes seconds."""
    return pytest.importorskip(
        "diffusers", reason="diffusers is not installed; pip install -e '.[test]'"
    )


def network(x, level):
    """Neither linear nor the right answer, so that every coefficient is seen."""
    return torch.sin(2 * x) * sqrt(1 - level) + 0.3 * x


def theirs(kind, name, steps, **given):
    """A scheduler of theirs, whose tables are in float64 as ours are."""
    table = torch.from_numpy(alphas_cumprod(name))
    betas = 1 - table / torch.cat([torch.ones(1, dtype=torch.float64), table[:-1]])
    scheduler = kind(
        num_train_timesteps=len(table),
        trained_betas=betas.tolist(),
        timestep_spacing="trailing",
        **given,
    )
    scheduler.alphas_cumprod = table
    scheduler.set_timesteps(steps)
    if not hasattr(scheduler, "sigmas"):
        return scheduler
    levels = table[scheduler.timesteps]
    sigmas = ((1 - levels) / levels).sqrt()
    scheduler.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    return scheduler


def ours(rule, x, noises):
    """Our run in torch; noise is given step by step."""
    return walk(
        rule,
        lambda x, time: network(x, time.level)[None],
        lambda number: noises[number - 1] if number else x,
    )


def start(steps):
    drawn = torch.randn(steps + 1, 2, N, generator=torch.Generator().manual_seed(steps))
    return drawn[-1], drawn[:-1]


def given_to(monkeypatch, diffusers, noises):
    """Let their ancestral steps draw these noises, one after the other."""
    given = iter(noises)
    module = import_module(diffusers.DDPMScheduler.__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *_args, **_given: next(given).double())


def schedule(name, steps):
    table = alphas_cumprod(name)
    return NoiseSchedule(table, spaced_timesteps(len(table), steps))


def run(scheduler, x, step):
    x = x.double()
    for number, t in enumerate(scheduler.timesteps):
        x = step(number, t, x)
    return x.float()


def close(found, expected):
    scale = max(1.0, expected.abs().max().item())
    worst = (found - expected).abs().max().item()
    assert worst < 1e-5 * scale


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("steps", [25, 200])
def test_ancestral_steps(diffusers, name, steps, monkeypatch):
    low, high = TABLES[name]
    scheduler = theirs(
        diffusers.DDPMScheduler,
        name,
        steps,
        variance_type="fixed_small_log",
        clip_sample=True,
        clip_sample_range=high,
    )
    x, noises = start(steps)
    given_to(monkeypatch, diffusers, noises)

    def step(_number, t, x):
        return scheduler.step(network(x, scheduler.alphas_cumprod[t]), t, x).prev_sample

    expected = run(scheduler, x, step)
    close(ours(Ancestral(schedule=schedule(name, steps), clip=(low, high)), x, noises), expected)


@pytest.mark.parametrize("name", TABLES)
def test_ancestral_steps_with_a_learned_variance(diffusers, name, monkeypatch):
    steps, (low, high) = 50, TABLES[name]
    scheduler = theirs(
        diffusers.DDPMScheduler,
        name,
        steps,
        variance_type="learned_range",
        clip_sample=True,
        clip_sample_range=high,
    )
    x, noises = start(steps)
    noises[-1] = 0  # theirs adds noise to the clean picture, unless the last step is 0
    given_to(monkeypatch, diffusers, noises)

    def fraction(x):
        return torch.cos(3 * x)

    def step(_number, t, x):
        both = torch.cat([network(x, scheduler.alphas_cumprod[t]), fraction(x)], 1)
        return scheduler.step(both, t, x).prev_sample

    expected = run(scheduler, x, step)
    found = walk(
        Ancestral(schedule=schedule(name, steps), variance="learned", clip=(low, high)),
        lambda x, time: torch.stack([network(x, time.level), fraction(x)]),
        lambda number: noises[number - 1] if number else x,
    )
    close(found, expected)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim(diffusers, name, eta):
    steps, (low, high) = 40, TABLES[name]
    scheduler = theirs(
        diffusers.DDIMScheduler, name, steps, clip_sample=True, clip_sample_range=high
    )
    x, noises = start(steps)

    def step(number, t, x):
        eps = network(x, scheduler.alphas_cumprod[t])
        return scheduler.step(
            eps,
            t,
            x,
            eta=eta,
            use_clipped_model_output=True,
            variance_noise=noises[number].double(),
        ).prev_sample

    rule = Ddim(schedule=schedule(name, steps), eta=eta, clip=(low, high))
    close(ours(rule, x, noises), run(scheduler, x, step))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("steps", [10, 20, 50])
def test_dpm_solver(diffusers, name, steps):
    scheduler = theirs(
        diffusers.DPMSolverMultistepScheduler,
        name,
        steps,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
    x, noises = start(steps)

    def step(_number, t, x):
        return scheduler.step(network(x, scheduler.alphas_cumprod[t]), t, x).prev_sample

    rule = DpmSolverPlusPlus2M(schedule=schedule(name, steps))
    close(ours(rule, x, noises), run(scheduler, x, step))


def test_time_steps_are_the_same(diffusers):
    for steps in (1, 7, 25, 200, 1000):
        scheduler = theirs(diffusers.DDIMScheduler, "guided-diffusion", steps)
        np.testing.assert_array_equal(scheduler.timesteps, spaced_timesteps(1000, steps))
