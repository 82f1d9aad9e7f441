"""Agreement by size of structure: spectra and scales, whole and strip by strip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.stats import linregress, spearmanr
from skimage.metrics import structural_similarity

from napari_virtualstain.metrics.multiscale import SCALE_WEIGHTS, MultiScale
from napari_virtualstain.metrics.pixel import spearman
from napari_virtualstain.metrics.spectrum import BANDS_PX, SpectralAgreement
from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import local_ssim

RNG = np.random.default_rng(3)
TRUTH = 100 + 20 * gaussian_filter(RNG.normal(size=(192, 160)), 1.0) / 0.28
NEAR = TRUTH + RNG.normal(0, 8, TRUTH.shape)


def scales(prediction, truth, rows=None):
    found = MultiScale(
        range_=float(np.nanmax(truth) - np.nanmin(truth)), fill=float(np.nanmean(truth))
    )
    for top in range(0, len(truth), rows or len(truth)):
        part = slice(top, top + (rows or len(truth)))
        found.add(prediction[part], truth[part])
    return found.value


def spectra(prediction, truth, rows=None):
    found = SpectralAgreement(truth.shape)
    for top in range(0, len(truth), rows or len(truth)):
        part = slice(top, top + (rows or len(truth)))
        found.add(prediction[part], truth[part])
    return found


# --- structure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 7), (8, 31), (33, 64), (100, 9)])
def test_the_local_similarity_is_that_of_scikit_image(shape):
    p, t = RNG.normal(1e4, 50, shape), RNG.normal(1e4, 50, shape)
    _, theirs = structural_similarity(p, t, win_size=7, data_range=300.0, full=True)
    np.testing.assert_allclose(local_ssim(p, t, range_=300.0, fill=0.0), theirs, atol=1e-8)


def brute_scales(prediction, truth):
    """Every scale at once, window by window as the paper has it."""
    c1, c2 = ((k * np.ptp(truth)) ** 2 for k in (0.01, 0.03))
    value = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        inside = (slice(3, -3), slice(3, -3))
        mean = [uniform_filter(own, 7)[inside] for own in (prediction, truth)]
        more = 49 / 48
        var = [
            (uniform_filter(own * own, 7)[inside] - m * m) * more
            for own, m in zip((prediction, truth), mean, strict=True)
        ]
        cov = (uniform_filter(prediction * truth, 7)[inside] - mean[0] * mean[1]) * more
        structure = (2 * cov + c2) / (var[0] + var[1] + c2)
        luminance = (2 * mean[0] * mean[1] + c1) / (mean[0] ** 2 + mean[1] ** 2 + c1)
        last = scale == len(SCALE_WEIGHTS) - 1
        value *= max((luminance * structure if last else structure).mean(), 0) ** weight
        rows, columns = (n // 2 for n in truth.shape)
        prediction, truth = (
            own[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean((1, 3))
            for own in (prediction, truth)
        )
    return value


def test_the_scales_are_those_of_the_paper_computed_window_by_window():
    assert scales(NEAR, TRUTH) == pytest.approx(brute_scales(NEAR, TRUTH), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 200), missing=st.booleans())
def test_strips_of_any_height_give_the_scales_of_the_whole(rows, missing):
    near = NEAR.copy()
    if missing:
        near[40:45, 30:50] = np.nan
    assert scales(near, TRUTH, rows) == pytest.approx(scales(near, TRUTH), abs=1e-9)


def test_a_picture_that_cannot_be_halved_four_times_has_no_scales():
    assert np.isnan(scales(NEAR[:100], TRUTH[:100]))


def test_a_gain_shows_in_the_scales():
    assert scales(2 * TRUTH, TRUTH) < 0.9 * scales(NEAR, TRUTH)


# --- spectra ---------------------------------------------------------------------------------------


def test_equal_pictures_agree_at_all_sizes_and_unlike_ones_at_none():
    same, other = spectra(TRUTH, TRUTH), spectra(RNG.normal(size=TRUTH.shape), TRUTH)
    np.testing.assert_allclose(same.correlation, 1)
    np.testing.assert_allclose(same.power, 1)
    assert same.finest_px == 2
    assert all(abs(c) < 0.5 for c in other.correlation)
    assert other.finest_px > 10


def test_a_blur_keeps_correlation_where_it_left_power_and_loses_power_from_fine_to_coarse():
    truth = RNG.normal(size=(256, 256))
    found = spectra(gaussian_filter(truth, 1.0), truth)
    assert list(found.power) == sorted(found.power, reverse=True)
    # By theory a Gaussian of 1 px passes exp(-(2 pi f)**2) of the power at a frequency f.
    for (long, short), power in zip(BANDS_PX, found.power, strict=True):
        most, least = (np.exp(-((2 * np.pi / period) ** 2)) for period in (long, short))
        assert least * 0.9 < power < most * 1.1
    assert min(found.correlation[:3]) > 0.95


def test_noise_takes_correlation_from_where_the_truth_has_little_power():
    smooth = gaussian_filter(RNG.normal(size=(256, 256)), 3.0)
    found = spectra(smooth + RNG.normal(0, smooth.std() / 3, smooth.shape), smooth)
    assert found.correlation[0] > 0.9 > 0.3 > found.correlation[3]
    assert 4 < found.finest_px < 16


def brute_rings(prediction, truth):
    """The same of one block, wave by wave over the whole plane of frequencies."""
    n = len(truth)
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)] * 2)
    p, t = (np.fft.fft2((own - own.mean()) * window) for own in (prediction, truth))
    frequency = np.round(np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) * n)
    found = []
    for long, short in BANDS_PX:
        ring = (frequency >= n / long) & (
            (frequency < n / short) | ((short == 2) & (frequency == n / 2))
        )
        cross = (p * t.conj()).real[ring].sum()
        found.append(cross / np.sqrt((abs(p[ring]) ** 2).sum() * (abs(t[ring]) ** 2).sum()))
    return found


def test_half_of_the_waves_stand_for_all():
    p, t = NEAR[:128, :128], TRUTH[:128, :128]
    np.testing.assert_allclose(spectra(p, t).correlation, brute_rings(p, t), rtol=1e-9)


def test_strips_of_whole_blocks_add_up_and_blocks_with_gaps_are_left_out():
    p, t = RNG.normal(size=(2, 512, 600))
    parts = SpectralAgreement(t.shape)
    parts.add(p[:256], t[:256])
    parts.add(p[256:], t[256:])
    np.testing.assert_allclose(parts.correlation, spectra(p, t).correlation)
    assert parts.blocks == 4
    gone = p.copy()
    gone[3, 3] = np.nan
    assert spectra(gone, t).blocks == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (20, 300), (31, 31)])
def test_a_picture_without_coarse_waves_has_no_spectrum(shape):
    found = spectra(np.ones(shape), np.ones(shape))
    assert np.isnan(found.correlation).all()
    assert np.isnan(found.finest_px)


def test_a_constant_prediction_has_no_power_and_no_correlation():
    found = spectra(np.full_like(TRUTH, 5.0), TRUTH)
    np.testing.assert_allclose(found.power, 0, atol=1e-20)
    assert found.finest_px == np.inf


# --- amounts ---------------------------------------------------------------------------------------


@given(gain=st.floats(-3, 3), offset=st.floats(-1e3, 1e3))
def test_gain_and_offset_are_those_of_the_line_through_the_pixels(gain, offset):
    prediction = gain * NEAR + offset
    compared = Comparison()
    compared.add(prediction[:50], TRUTH[:50])
    compared.add(prediction[50:], TRUTH[50:])
    line = linregress(TRUTH.ravel(), prediction.ravel())
    assert compared.gain == pytest.approx(line.slope, abs=1e-8)
    assert compared.offset == pytest.approx(line.intercept, abs=1e-6)
    assert compared.truth_variance == pytest.approx(TRUTH.var())


def test_a_constant_truth_has_no_gain():
    compared = Comparison()
    compared.add(TRUTH, np.ones_like(TRUTH))
    assert np.isnan(compared.gain)
    assert np.isnan(compared.offset)


def test_ranks_are_those_of_scipy_and_blind_to_any_curve_that_grows():
    expected = spearmanr(NEAR.ravel(), TRUTH.ravel()).statistic
    assert spearman(NEAR, TRUTH) == pytest.approx(expected)
    assert spearman(np.exp(NEAR / 50), TRUTH) == pytest.approx(expected)
