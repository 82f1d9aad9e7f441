"""Metrics agree with those of others, and say what they are blind to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from skimage import metrics as theirs

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics.floor import linear_floor, linear_prediction
from napari_virtualstain.metrics.pixel import data_range, mae, mse, pearson, psnr
from napari_virtualstain.metrics.structure import ssim

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(100, 20, (40, 50))
NEAR = TRUTH + RNG.normal(0, 5, TRUTH.shape)


def test_a_perfect_prediction_scores_perfectly():
    assert pearson(TRUTH, TRUTH) == pytest.approx(1)
    assert ssim(TRUTH, TRUTH) == pytest.approx(1)
    assert (mae(TRUTH, TRUTH), mse(TRUTH, TRUTH), psnr(TRUTH, TRUTH)) == (0, 0, np.inf)


def test_they_agree_with_scipy_and_scikit_image():
    peak = data_range(TRUTH)
    assert pearson(NEAR, TRUTH) == pytest.approx(pearsonr(NEAR.ravel(), TRUTH.ravel()).statistic)
    assert mse(NEAR, TRUTH) == pytest.approx(theirs.mean_squared_error(NEAR, TRUTH))
    assert psnr(NEAR, TRUTH) == pytest.approx(
        theirs.peak_signal_noise_ratio(TRUTH, NEAR, data_range=peak)
    )


def test_ssim_is_the_mean_of_the_map_of_scikit_image():
    _, local = theirs.structural_similarity(NEAR, TRUTH, data_range=data_range(TRUTH), full=True)
    assert ssim(NEAR, TRUTH) == pytest.approx(local.mean())


@given(st.floats(0.1, 10), st.floats(-100, 100))
def test_pearson_is_blind_to_gain_and_offset_and_the_others_are_not(gain, offset):
    moved = gain * NEAR + offset
    assert pearson(moved, TRUTH) == pytest.approx(pearson(NEAR, TRUTH), abs=1e-9)
    if abs(gain - 1) > 0.1 or abs(offset) > 5:
        assert mae(moved, TRUTH) != pytest.approx(mae(NEAR, TRUTH), rel=1e-6)
        assert psnr(moved, TRUTH) != pytest.approx(psnr(NEAR, TRUTH), rel=1e-9)


def test_an_outlier_of_the_prediction_does_not_change_the_range():
    wild = NEAR.copy()
    wild[0, 0] = 1e6
    assert ssim(wild, TRUTH) < ssim(NEAR, TRUTH)


@pytest.mark.parametrize("metric", [pearson, mae, mse, psnr, ssim])
def test_missing_pixels_are_left_out(metric):
    half = TRUTH.copy()
    half[:20] = np.nan
    if metric is ssim:
        assert metric(NEAR, half) == pytest.approx(metric(NEAR[20:], TRUTH[20:]), abs=0.02)
    else:
        assert metric(NEAR, half) == pytest.approx(metric(NEAR[20:], TRUTH[20:]))


def test_a_constant_prediction_has_no_correlation():
    assert np.isnan(pearson(np.ones_like(TRUTH), TRUTH))


@pytest.mark.parametrize(
    ("prediction", "truth", "sentence"),
    [
        pytest.param(TRUTH[1:], TRUTH, "Compare pictures of the same field", id="other size"),
        pytest.param(
            TRUTH * np.nan, TRUTH, "no pixel in common.*run was finished", id="all missing"
        ),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(prediction, truth, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        pearson(prediction, truth)


def test_ssim_needs_a_window():
    with pytest.raises(PixelDataError, match="Use PCC and MAE"):
        ssim(np.zeros((5, 9)), np.zeros((5, 9)))


def test_the_floor_finds_a_linear_filter():
    planes = RNG.normal(size=(2, 30, 30))
    shifted = np.roll(planes[0], 1, axis=1)
    truth = 3 * shifted - planes[1] + 7
    predicted = linear_prediction(planes, truth)
    np.testing.assert_allclose(predicted[1:-1, 1:-1], truth[1:-1, 1:-1], atol=0.6)
    assert linear_floor(planes, truth) > 0.95


def test_the_floor_of_noise_is_low_and_of_a_wider_filter_not_lower():
    planes, truth = RNG.normal(size=(3, 60, 60)), RNG.normal(size=(60, 60))
    near = linear_floor(planes, truth, reach=0)
    assert near < 0.1
    assert linear_floor(planes, truth, reach=2) >= near


def test_the_floor_leaves_missing_truth_out():
    planes = RNG.normal(size=(1, 20, 20))
    truth = planes[0] * 2
    truth[3:7] = np.nan
    assert linear_floor(planes, truth, reach=0) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3)])
def test_the_floor_of_a_tiny_picture_is_a_number_or_nan(shape):
    value = linear_floor(RNG.normal(size=(3, *shape)), RNG.normal(size=shape))
    assert np.isnan(value) or -1 <= value <= 1.000001
