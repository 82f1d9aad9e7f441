"""The posterior of a step, against the product of the two normal distributions that it is."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.diffusion.noise_schedule import SCHEDULES, alphas_cumprod
from napari_virtualstain.diffusion.posterior import posterior


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_what_bayes_says(name):
    """q(x_{t-1} | x_0) times q(x_t | x_{t-1}), as precisions that add up."""
    table = alphas_cumprod(name)
    found = posterior(table)
    for t in range(1, len(table)):
        alpha = table[t] / table[t - 1]
        precision = 1 / (1 - table[t - 1]) + alpha / (1 - alpha)
        of_clean = np.sqrt(table[t - 1]) / (1 - table[t - 1]) / precision
        of_x = np.sqrt(alpha) / (1 - alpha) / precision
        assert found.of_clean[t] == pytest.approx(of_clean, rel=1e-8)
        assert found.of_x[t] == pytest.approx(of_x, rel=1e-8)
        assert found.log_variance[t] == pytest.approx(-np.log(precision), abs=1e-8)
        assert found.log_high[t] == pytest.approx(np.log(1 - alpha), abs=1e-8)


def test_the_last_step_is_the_clean_picture_without_spread():
    found = posterior(alphas_cumprod("palette"))
    assert (found.of_clean[0], found.of_x[0]) == pytest.approx((1, 0))
    assert found.log_variance[0] == pytest.approx(np.log(1e-20))
    assert found.log_low[0] == found.log_low[1] == found.log_variance[1]
    np.testing.assert_array_equal(found.log_low[1:], found.log_variance[1:])
    assert (found.log_low[1:] < found.log_high[1:]).all()


def test_a_step_of_a_shorter_sampler_reaches_back_to_the_level_before_it():
    table = alphas_cumprod("palette")
    few = posterior(table[9::10])
    assert few.log_high[7] == pytest.approx(np.log(1 - table[79] / table[69]))
    assert few.log_variance[7] > posterior(table).log_variance[79] + np.log(5)


def test_a_single_step_has_a_posterior():
    found = posterior(np.array([0.3]))
    assert (found.of_clean[0], found.of_x[0]) == (1, 0)
    assert found.log_low[0] == found.log_high[0] == pytest.approx(np.log(0.7))
