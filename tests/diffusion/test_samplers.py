"""Steps of samplers, held against closed forms: a Gaussian field whose best denoiser is known."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest

from napari_virtualstain.diffusion.noise_schedule import (
    NoiseSchedule,
    cosine_alphas_cumprod,
    linear_alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.diffusion.samplers import Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.inference.noise import noise_of

LINEAR = linear_alphas_cumprod()
N = 96


def schedule(steps, *, table=LINEAR, spacing="trailing"):
    return NoiseSchedule(table, spaced_timesteps(len(table), steps, spacing=spacing))


def spectrum():
    """A field of mean 0 and variance 1 whose large features are strong."""
    frequency = np.hypot(np.fft.fftfreq(N)[:, None], np.fft.fftfreq(N)[None])
    power = (1e-4 + frequency**2) ** -1.5
    return power / power.mean()


def filtered(field, response):
    return np.fft.ifft2(np.fft.fft2(field) * response).real


def run(rule, x, *, power, seed=0):
    """Sample with the best denoiser: E[eps | x] is a Wiener filter."""
    history = np.zeros((rule.memory, *x.shape), np.float32)
    for step in range(rule.steps):
        level = rule.prepare(step).level
        eps = filtered(x, sqrt(1 - level) / (level * power + 1 - level)).astype(np.float32)
        noise = None
        if rule.is_stochastic(step):
            noise = noise_of(seed, (slice(0, N), slice(0, N)), draw=step + 1)
        x, history = rule.step(step, x, eps[None], history, noise)
        assert x.dtype == history.dtype == np.float32
    return x


@pytest.fixture(scope="module")
def field():
    """Noise, the power of the field, and where the exact probability flow takes that noise.

    Each frequency keeps its place in its distribution, which is narrowed from the power of
    x_T to that of the clean field.
    """
    power = spectrum()
    x = noise_of(3, (slice(0, N), slice(0, N)))
    last = LINEAR[-1]
    return x, power, filtered(x, np.sqrt(power / (last * power + 1 - last)))


def error(rule, field):
    x, power, truth = field
    return float(np.sqrt(np.mean((run(rule, x, power=power) - truth) ** 2)) / truth.std())


def test_ddim_converges_to_the_exact_flow(field):
    errors = [error(Ddim(schedule=schedule(k)), field) for k in (10, 20, 50, 200, 1000)]
    assert all(a > 1.6 * b for a, b in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.005
    # First order: ten times the steps, a tenth of the error.
    assert 6 < errors[1] / errors[3] < 14


def test_dpm_solver_converges_to_the_exact_flow(field):
    errors = [error(DpmSolverPlusPlus2M(schedule=schedule(k)), field) for k in (10, 20, 50, 200)]
    assert all(a > 1.6 * b for a, b in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.005


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("steps", [10, 20, 50])
def test_dpm_solver_is_nearer_than_ddim_with_as_many_steps(field, steps, spacing):
    levels = schedule(steps, spacing=spacing)
    ddim, solver = (
        error(Ddim(schedule=levels), field),
        error(DpmSolverPlusPlus2M(schedule=levels), field),
    )
    assert solver < 0.75 * ddim


def test_the_many_step_sampler_is_the_truth_of_the_shorter_ones(field):
    x, power, truth = field
    many = run(Ddim(schedule=schedule(1000)), x, power=power)
    few = run(DpmSolverPlusPlus2M(schedule=schedule(20)), x, power=power)
    assert np.std(few - many) == pytest.approx(np.std(few - truth), rel=0.05)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_have_the_spread_of_the_field(field, eta):
    """With noise or without, all steps taken: the variance of every frequency is right."""
    x, power, _ = field
    result = run(Ddim(schedule=schedule(1000), eta=eta), x, power=power)
    share = np.abs(np.fft.fft2(result[0])) ** 2 / N**2 / power
    assert share.mean() == pytest.approx(1, abs=5 / N)  # N^2 / 2 independent frequencies


@pytest.mark.parametrize("clip", [None, (-0.2, 0.3)], ids=str)
def test_ddim_with_eta_1_is_the_posterior_of_ddpm(clip):
    """Mean and variance of q(x_{t-1} | x_t, x_0), arXiv 2006.11239, eq. 7."""
    rng = np.random.default_rng(0)
    x, eps = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    noise = rng.normal(size=(3, 8, 8)).astype(np.float32)
    rule = Ddim(schedule=schedule(1000), eta=1.0, clip=clip)
    step = 900
    t = rule.prepare(step).t
    here, before = LINEAR[t], LINEAR[t - 1]
    beta = 1 - here / before
    clean = (x - sqrt(1 - here) * eps) / sqrt(here)
    clean = clean if clip is None else np.clip(clean, *clip)
    mean = sqrt(before) * beta / (1 - here) * clean + sqrt(1 - beta) * (1 - before) / (1 - here) * x
    spread = sqrt(beta * (1 - before) / (1 - here))
    stepped, _ = rule.step(step, x, eps[None], np.zeros((0, *x.shape), np.float32), noise)
    np.testing.assert_allclose(stepped, mean + spread * noise, rtol=2e-5, atol=2e-6)


def test_the_first_step_of_dpm_solver_is_a_step_of_ddim():
    """Of first order both are the same (arXiv 2211.01095, section 4)."""
    x, eps = np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32)
    one, _ = Ddim(schedule=schedule(20)).step(0, x, eps[None], np.zeros((0, *x.shape), "f4"), None)
    other, kept = DpmSolverPlusPlus2M(schedule=schedule(20)).step(
        0, x, eps[None], np.zeros((1, *x.shape), "f4"), None
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    level = schedule(20).level(0)
    np.testing.assert_allclose(kept[0], (x - sqrt(1 - level) * eps) / sqrt(level), rtol=1e-5)


@pytest.mark.parametrize("taken", [(700, 640, 620, 600), (700, 680, 640, 600)], ids=str)
def test_dpm_solver_is_of_second_order_with_uneven_steps(taken):
    """A prediction that is a line in lambda leaves an error of the third order in the step.

    The exact solution (arXiv 2211.01095, eq. 8) is x_t = sigma_t (x_s / sigma_s + I), with I
    the integral of exp(lambda) x_0(lambda) over the step.
    """
    rule = DpmSolverPlusPlus2M(schedule=NoiseSchedule(LINEAR, taken))
    before, low, high = (rule.schedule.half_log_snr(step) for step in range(3))
    here, there = rule.schedule.level(1), rule.schedule.level(2)
    slope, h = 0.5, high - low

    def clean(place):
        return 1 + slope * place

    def antiderivative(place):
        return (clean(place) - slope) * np.exp(place)

    x = np.full((1, 1, 1), 0.4)
    eps = (x - sqrt(here) * clean(low)) / sqrt(1 - here)
    history = np.full((1, 1, 1, 1), clean(before), np.float32)
    stepped, _ = rule.step(1, x.astype(np.float32), eps[None].astype(np.float32), history, None)
    exact = sqrt(1 - there) * (x / sqrt(1 - here) + antiderivative(high) - antiderivative(low))
    assert abs(stepped - exact).max() < sqrt(there) * slope * h**3 / 10 + 1e-6
    # What one order less, or the ratio of the two steps upside down, would leave.
    assert sqrt(there) * slope * h**2 / 2 > 10 * (sqrt(there) * slope * h**3 / 10 + 1e-6)


@pytest.mark.parametrize("kind", [Ddim, DpmSolverPlusPlus2M])
def test_the_last_step_gives_the_clean_prediction(kind):
    x, eps = np.random.default_rng(2).normal(size=(2, 1, 4, 4)).astype(np.float32)
    rule = kind(schedule=schedule(20))
    level = rule.prepare(19).level
    result, _ = rule.step(19, x, eps[None], np.ones((rule.memory, *x.shape), np.float32), None)
    np.testing.assert_allclose(
        result, (x - sqrt(1 - level) * eps) / sqrt(level), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", [Ddim, DpmSolverPlusPlus2M])
def test_a_clean_prediction_out_of_range_is_cut(kind):
    x = np.full((1, 2, 2), 50, np.float32)
    rule = kind(schedule=schedule(4), clip=(-1, 1))
    history = np.zeros((rule.memory, *x.shape), np.float32)
    for step in range(4):
        x, history = rule.step(step, x, np.zeros_like(x)[None], history, None)
    np.testing.assert_allclose(x, 1)


def test_only_stochastic_steps_ask_for_noise():
    asks = [
        [rule.is_stochastic(step) for step in range(4)]
        for rule in (
            Ddim(schedule=schedule(4)),
            Ddim(schedule=schedule(4), eta=0.2),
            DpmSolverPlusPlus2M(schedule=schedule(4)),
        )
    ]
    assert asks == [[False] * 4, [True, True, True, False], [False] * 4]


def test_the_linear_schedule_is_that_of_ddpm():
    assert LINEAR.shape == (1000,)
    assert LINEAR[0] == 1 - 1e-4
    assert LINEAR[-1] == pytest.approx(4.0358e-5, rel=1e-4)
    palette = linear_alphas_cumprod(2000, first=1e-6, last=0.01)
    assert 1 - palette[0] == pytest.approx(1e-6, rel=1e-9)  # no digit of it is left in float32


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
    "eta": (lambda: Ddim(schedule=schedule(2), eta=1.5), "got 1.5. Choose a value in this range."),
    "clip": (lambda: Ddim(schedule=schedule(2), clip=(1, -1)), "Put the smaller number first."),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_a_sampler_that_makes_no_sense_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
