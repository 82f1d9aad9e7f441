"""A distribution over intensities is learned from what was stained, and read out without steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.losses.bins import IntensityBins, bin_loss, expectation, median, quantiles

BINS = IntensityBins(low=(-1.0, 0.0), high=(3.0, 10.0), count=8)
NAN = float("nan")


def random_logits(*space, stains=2, count=8, spread=2.0):
    torch.manual_seed(0)
    return spread * torch.randn(2, stains * count, *space)


def test_edges_divide_each_range_evenly():
    edges = BINS.edges()
    assert edges.shape == (2, 9)
    torch.testing.assert_close(edges[0], torch.linspace(-1, 3, 9))
    torch.testing.assert_close(edges[1], torch.linspace(0, 10, 9))


@given(st.floats(-20, 20), st.sampled_from([2, 5, 256]))
def test_a_value_lies_between_the_edges_of_its_bin_or_counts_to_the_nearest(value, count):
    bins = IntensityBins(low=(-1.5,), high=(7.0,), count=count)
    at = int(bins.index(torch.full((1, 1, 1), value)))
    edges = bins.edges()[0].double().numpy()
    low, high = edges[at], edges[at + 1]
    assert at == 0 or value >= low - 1e-5
    assert at == count - 1 or value <= high + 1e-5


def test_the_loss_is_the_mean_of_minus_the_log_of_the_share_of_the_right_bin():
    logits = random_logits(2, 3)
    truth = torch.tensor([-1.0, 0.4, 2.9, 50.0, -9.0, 1.1]).repeat(4).reshape(2, 2, 2, 3).clone()
    truth[1, 1, 0] = NAN
    total, number = 0.0, 0
    for b, s, y, x in np.ndindex(2, 2, 2, 3):
        value = float(truth[b, s, y, x])
        if math.isnan(value):
            continue
        low, high = BINS.low[s], BINS.high[s]
        at = min(7, max(0, math.floor((value - low) / (high - low) * 8)))
        share = torch.softmax(logits[b, 8 * s : 8 * s + 8, y, x], dim=0)[at]
        total, number = total - math.log(float(share)), number + 1
    assert float(bin_loss(logits, truth, BINS)) == pytest.approx(total / number, rel=1e-5)


def test_a_flat_guess_costs_the_logarithm_of_the_number_of_bins():
    bins = IntensityBins(low=(0.0,), high=(1.0,))
    loss = bin_loss(torch.zeros(1, 256, 4), torch.rand(1, 1, 4), bins)
    assert float(loss) == pytest.approx(math.log(256), rel=1e-6)


def test_missing_stains_cost_nothing_and_have_no_gradient():
    logits = random_logits(4, 4).requires_grad_()
    truth = torch.randn(2, 2, 4, 4)
    truth[0, 1] = NAN
    loss = bin_loss(logits, truth, BINS)
    loss.backward()
    apart = logits.grad.reshape(2, 2, 8, 4, 4)
    assert (apart[0, 1] == 0).all()
    assert (apart[1, 1] != 0).any()
    changed = logits.detach().clone()
    changed[0, 8:] = 1e3
    assert torch.equal(bin_loss(changed, truth, BINS), loss)
    assert bin_loss(logits, torch.full_like(truth, NAN), BINS) == 0


def test_weights_count_the_pixels_of_a_stain_more_or_not_at_all():
    logits, truth = random_logits(4), torch.randn(2, 2, 4)
    single = IntensityBins(low=BINS.low[:1], high=BINS.high[:1], count=8)
    only = bin_loss(logits, truth, BINS, weights=torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(only, bin_loss(logits[:, :8], truth[:, :1], single))


@pytest.mark.parametrize("level", [0.01, 0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.0, 2.0, 30.0])
def test_a_quantile_is_where_the_distribution_reaches_it(level, spread):
    logits = random_logits(3, 2, spread=spread)
    found = quantiles(logits, BINS, [level])[0].numpy()
    edges = BINS.edges().double().numpy()
    for b, s, y, x in np.ndindex(2, 2, 3, 2):
        share = torch.softmax(logits[b, 8 * s : 8 * s + 8, y, x].double(), dim=0).numpy()
        below = np.concatenate([[0.0], share.cumsum()])
        assert found[b, s, y, x] == pytest.approx(np.interp(level, below, edges[s]), abs=1e-3)


@given(
    st.lists(st.floats(-200, 200), min_size=6, max_size=6),
    st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=5),
)
def test_quantiles_rise_with_their_level_and_stay_in_the_range(values, levels):
    bins = IntensityBins(low=(2.0,), high=(5.0,), count=6)
    found = quantiles(torch.tensor(values).reshape(1, 6, 1), bins, sorted(levels)).flatten()
    assert torch.isfinite(found).all()
    assert (found.diff() >= -1e-5).all()
    assert found.min() >= 2.0
    assert found.max() <= 5.0


def test_the_median_of_a_sure_answer_lies_in_the_middle_of_its_bin():
    logits = torch.full((1, 16, 1), -1e4)
    logits[0, 3], logits[0, 8 + 7] = 1e4, 1e4
    edges = BINS.edges()
    expected = torch.stack([(edges[0, 3] + edges[0, 4]) / 2, (edges[1, 7] + edges[1, 8]) / 2])
    torch.testing.assert_close(median(logits, BINS).flatten(), expected)


def test_half_precision_logits_are_read_out_in_single():
    logits = random_logits(3, count=256, stains=1)
    bins = IntensityBins(low=(0.0,), high=(1.0,))
    found = median(logits.half(), bins)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, median(logits, bins), atol=2e-3, rtol=0)


def test_learned_bins_give_back_median_and_interval_of_what_they_were_shown():
    torch.manual_seed(0)
    bins = IntensityBins(low=(-5.0,), high=(15.0,), count=64)
    shown = 3 + 2 * torch.randn(1, 1, 4000)
    logits = torch.zeros(1, 64, 1, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(100):
        optimiser.zero_grad()
        bin_loss(logits.expand(1, 64, 4000), shown, bins).backward()
        optimiser.step()
    found = quantiles(logits.detach(), bins, [0.05, 0.5, 0.95]).flatten()
    expected = torch.quantile(shown.flatten(), torch.tensor([0.05, 0.5, 0.95]))
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


WRONG = {
    "ends of other number": {"low": (0.0,), "high": (1.0, 2.0)},
    "no stain": {"low": (), "high": ()},
    "one bin": {"low": (0.0,), "high": (1.0,), "count": 1},
    "upside down": {"low": (1.0,), "high": (0.0,)},
    "empty": {"low": (1.0,), "high": (1.0,)},
    "endless": {"low": (0.0,), "high": (math.inf,)},
    "not a number": {"low": (NAN,), "high": (1.0,)},
}


@pytest.mark.parametrize("settings", WRONG.values(), ids=WRONG)
def test_ranges_that_cannot_be_divided_are_refused(settings):
    with pytest.raises(SettingsError, match=r"Give "):
        IntensityBins(**settings)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, NAN])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(SettingsError, match=r"Use 0\.5 for the median"):
        quantiles(torch.zeros(1, 16, 1), BINS, [level])


def test_cross_entropy_is_that_of_torch_where_all_is_stained():
    logits, truth = random_logits(4), torch.randn(2, 2, 4)
    expected = sum(
        functional.cross_entropy(logits[:, 8 * s : 8 * s + 8], BINS.index(truth)[:, s])
        for s in range(2)
    )
    torch.testing.assert_close(bin_loss(logits, truth, BINS), expected / 2)


def test_the_expectation_is_the_mean_of_the_bins_and_has_a_gradient():
    bins = IntensityBins(low=(0.0, -2.0), high=(1.0, 2.0), count=4)
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 8, 3, 5))).float()
    logits.requires_grad_(True)
    found = expectation(logits, bins)
    edges = bins.edges().numpy()
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    shares = logits.detach().reshape(2, 2, 4, 3, 5).softmax(2).numpy()
    wanted = np.einsum("bckyx,ck->bcyx", shares, middles)
    np.testing.assert_allclose(found.detach(), wanted, atol=1e-5)
    found.sum().backward()
    assert logits.grad.abs().min() > 0
