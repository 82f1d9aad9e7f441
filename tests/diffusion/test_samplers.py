"""Steps of samplers, held against closed forms: a Gaussian field whose best denoiser is known."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.noise_schedule import (
    NoiseSchedule,
    alphas_cumprod,
    linear_alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.diffusion.prediction import target_weights
from napari_virtualstain.diffusion.samplers import Ancestral, Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.diffusion.walk import walk
from napari_virtualstain.errors import SettingsError

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

    def predict(x, time):
        level = time.level
        return filtered(x, sqrt(1 - level) / (level * power + 1 - level)).astype(np.float32)[None]

    def draw(number):
        return noise_of(seed, (slice(0, N), slice(0, N)), draw=number) if number else x

    return walk(rule, predict, draw)


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


@pytest.mark.parametrize(
    "kind", [Ancestral, lambda **given: Ddim(eta=1.0, **given)], ids=["ancestral", "ddim"]
)
@pytest.mark.parametrize("clip", [None, (-0.2, 0.3)], ids=str)
def test_ancestral_steps_and_ddim_with_eta_1_are_the_posterior_of_ddpm(clip, kind):
    """Mean and variance of q(x_{t-1} | x_t, x_0), arXiv 2006.11239, eq. 7."""
    rng = np.random.default_rng(0)
    x, eps = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    noise = rng.normal(size=(3, 8, 8)).astype(np.float32)
    rule = kind(schedule=schedule(1000), clip=clip)
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


@pytest.mark.parametrize("kind", [Ancestral, Ddim, DpmSolverPlusPlus2M])
def test_the_last_step_gives_the_clean_prediction(kind):
    x, eps = np.random.default_rng(2).normal(size=(2, 1, 4, 4)).astype(np.float32)
    rule = kind(schedule=schedule(20))
    level = rule.prepare(19).level
    result, _ = rule.step(19, x, eps[None], np.ones((rule.memory, *x.shape), np.float32), None)
    np.testing.assert_allclose(
        result, (x - sqrt(1 - level) * eps) / sqrt(level), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", [Ancestral, Ddim, DpmSolverPlusPlus2M])
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
            Ancestral(schedule=schedule(4)),
            DpmSolverPlusPlus2M(schedule=schedule(4)),
        )
    ]
    assert asks == [[False] * 4, [True, True, True, False], [True, True, True, False], [False] * 4]


MEAN, SPREAD = 2.0, 0.7
PALETTE = alphas_cumprod("palette")
RULES = {
    "ddpm, all steps": Ancestral(schedule=schedule(2000, table=PALETTE)),
    "ddpm, 200": Ancestral(schedule=schedule(200, table=PALETTE)),
    "ddim, 200": Ddim(schedule=schedule(200, table=PALETTE)),
    "dpm-solver++, 20": DpmSolverPlusPlus2M(schedule=schedule(20, table=PALETTE)),
}


def eps_of_a_normal(x, level, *, mean=MEAN, spread=SPREAD):
    """The best prediction of the noise in x, where the clean picture is normal."""
    variance = level * spread**2 + 1 - level
    return sqrt(1 - level) * (x - sqrt(level) * mean) / variance


def sample_normal(rule, *, seed=0, n=30_000):
    rng = np.random.default_rng(seed)

    def predict(x, time):
        return eps_of_a_normal(x, time.level).astype(np.float32)[None]

    return walk(rule, predict, lambda _number: rng.normal(size=n).astype(np.float32))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_normal_distribution_is_sampled_with_its_mean_and_spread(rule):
    found = sample_normal(rule)
    assert found.mean() == pytest.approx(MEAN, abs=0.025)
    assert 0.66 < found.std() < 0.71


def test_steps_that_forget_where_they_came_from_would_be_seen():
    """What the test above would say of ancestral steps that take t - 1 for the step before."""
    right = RULES["ddpm, 200"]

    class Wrong:
        memory, steps, initial_scale = 0, right.steps, 1.0
        prepare, is_stochastic = right.prepare, right.is_stochastic

        def step(self, step, x, prediction, history, noise):
            t = right.prepare(step).t
            pair = NoiseSchedule(PALETTE, (t, t - 1))
            return Ancestral(schedule=pair).step(0, x, prediction, history, noise)

    assert abs(sample_normal(Wrong()).mean() - MEAN) > 0.5


def order(kind):
    """How fast the error of the flow falls with the size of the steps, evenly spaced in lambda."""
    table = linear_alphas_cumprod(200_000, first=5e-7, last=1e-4)
    half_log_snr = 0.5 * np.log(table / (1 - table))
    errors = []
    for steps in (16, 32, 64):
        at = np.linspace(-3, 3, steps + 1)
        taken = [int(np.abs(half_log_snr - place).argmin()) for place in at]
        rule = kind(schedule=NoiseSchedule(table, tuple(taken)))
        x = np.array([1.5, -0.8], np.float64)
        first, last = table[taken[0]], table[taken[-1]]
        scale = sqrt((last * SPREAD**2 + 1 - last) / (first * SPREAD**2 + 1 - first))
        exact = sqrt(last) * MEAN + scale * (x - sqrt(first) * MEAN)
        history = np.zeros((rule.memory, 2))
        for step in range(steps):  # without the step to the clean picture, which is of first order
            eps = eps_of_a_normal(x, rule.prepare(step).level)
            x, history = rule.step(step, x, eps[None], history, None)
        errors.append(np.abs(x - exact).max())
    return np.log2(np.array(errors[:-1]) / errors[1:])


def test_ddim_is_of_first_order_and_dpm_solver_of_second():
    np.testing.assert_allclose(order(Ddim), 1, atol=0.15)
    np.testing.assert_allclose(order(DpmSolverPlusPlus2M), 2, atol=0.15)


KINDS = {
    "ddpm": lambda **given: Ancestral(**given),
    "ddpm, large": lambda **given: Ancestral(variance="large", **given),
    "ddpm, learned": lambda **given: Ancestral(variance="learned", **given),
    "ddim": lambda **given: Ddim(eta=0.3, **given),
    "dpm-solver++": lambda **given: DpmSolverPlusPlus2M(**given),
}


def one_step(rule, *, step=5, library=np.asarray, shape=(2, 4, 4), seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    prediction = rng.normal(size=(rule.outputs, *shape))
    history = rng.normal(size=(rule.memory, *shape))
    noise = rng.normal(size=shape)
    x, prediction, history, noise = (
        library(part.astype(np.float32)) for part in (x, prediction, history, noise)
    )
    return rule.step(step, x, prediction, history, noise if rule.is_stochastic(step) else None)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("step", [0, 5, 19])
def test_torch_and_numpy_take_the_same_step(kind, step):
    rule = kind(schedule=schedule(20), clip=(-1, 1), guidance=0.5)
    x, history = one_step(rule, step=step)
    there, then = one_step(rule, step=step, library=torch.from_numpy)
    assert there.dtype == then.dtype == torch.float32
    np.testing.assert_array_equal(there.numpy(), x)
    np.testing.assert_array_equal(then.numpy(), history)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_whatever_a_network_predicts_of_the_same_picture_is_the_same_step(kind, predicts):
    rule, other = (kind(schedule=schedule(20), predicts=name) for name in ("eps", predicts))
    step, rng = 5, np.random.default_rng(0)
    clean, eps, noise = rng.normal(size=(3, 2, 4, 4)).astype(np.float32)
    level = rule.prepare(step).level
    x = (sqrt(level) * clean + sqrt(1 - level) * eps).astype(np.float32)
    of_clean, of_eps = target_weights(predicts, level)
    further = np.zeros((rule.outputs - 1, *x.shape), np.float32)
    history = np.zeros((rule.memory, *x.shape), np.float32)
    noise = noise if rule.is_stochastic(step) else None
    steps = [
        kind.step(step, x, np.stack([target.astype(np.float32), *further]), history, noise)[0]
        for kind, target in ((rule, eps), (other, of_clean * clean + of_eps * eps))
    ]
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-5, atol=1e-5)


def test_a_learned_variance_lies_between_the_two_of_ddpm():
    rules = [
        KINDS[name](schedule=schedule(20)) for name in ("ddpm", "ddpm, large", "ddpm, learned")
    ]
    small, large, learned = rules
    x = np.zeros((1, 3), np.float32)
    noise, none = np.ones_like(x), np.zeros((0, *x.shape), np.float32)
    spreads = [rule.step(18, x, x[None], none, noise)[0] for rule in (small, large)]
    fraction = np.array([[-1, 0, 1]], np.float32)
    found = learned.step(18, x, np.stack([x, fraction]), none, noise)[0]
    assert spreads[0][0, 0] < spreads[1][0, 0] * 0.95
    np.testing.assert_allclose(found[0, [0, 2]], [spreads[0][0, 0], spreads[1][0, 0]], rtol=1e-6)
    np.testing.assert_allclose(found[0, 1] ** 2, found[0, 0] * found[0, 2], rtol=1e-6)


GUIDED = {
    "ddpm, 200": lambda **given: Ancestral(schedule=schedule(200), **given),
    "ddim, 200": lambda **given: Ddim(schedule=schedule(200), **given),
    "dpm-solver++, 50": lambda **given: DpmSolverPlusPlus2M(schedule=schedule(50), **given),
}


@pytest.mark.parametrize("kind", GUIDED.values(), ids=GUIDED)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_guidance_leads_from_all_classes_to_one(kind, scale):
    """Two classes of one spread: half of all samples are of each, and guided all are of one.

    Of two normal distributions of equal shares, with means -1 and 1, the classifier of noised
    pictures is known: log p(1 | x) is log sigmoid(2 sqrt(level) x / variance).
    """
    spread, rng = 0.3, np.random.default_rng(1)

    def predict(x, time):
        level = time.level
        variance = level * spread**2 + 1 - level
        odds = 2 * sqrt(level) / variance
        first = 1 / (1 + np.exp(-odds * x.astype(np.float64)))
        score = (sqrt(level) * (2 * first - 1) - x) / variance
        predicted = [-sqrt(1 - level) * score, *([odds * (1 - first)] if scale else [])]
        return np.stack(predicted).astype(np.float32)

    x = walk(kind(guidance=scale), predict, lambda _: rng.normal(size=20_000).astype(np.float32))
    if scale:
        assert (x > 0).mean() > 0.99
        assert x.mean() == pytest.approx(1, abs=0.05)
        assert x.std() == pytest.approx(spread, rel=0.1)
    else:
        assert (x > 0).mean() == pytest.approx(0.5, abs=0.02)


BAD = {
    "eta": (lambda: Ddim(schedule=schedule(2), eta=1.5), "got 1.5. Choose a value in this range."),
    "clip": (lambda: Ddim(schedule=schedule(2), clip=(1, -1)), "Put the smaller number first."),
    "variance": (
        lambda: Ancestral(schedule=schedule(2), variance="huge"),
        "No variance of a step is named 'huge'. Choose one of small, large, learned.",
    ),
    "prediction": (
        lambda: DpmSolverPlusPlus2M(schedule=schedule(2), predicts="score"),
        "predicts eps, x0, v, got 'score'. Choose what it was trained to predict.",
    ),
    "guidance": (
        lambda: Ancestral(schedule=schedule(2), guidance=-1.0),
        "got -1.0. Choose 0 for none, or about 1.",
    ),
}


@pytest.mark.parametrize(("build", "sentence"), BAD.values(), ids=BAD)
def test_a_sampler_that_makes_no_sense_is_refused(build, sentence):
    with pytest.raises(SettingsError) as caught:
        build()
    assert sentence in str(caught.value)
