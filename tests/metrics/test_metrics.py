"""Metrics agree with those of others, and say what they are blind to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from skimage import metrics as theirs

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics import floor as floor_module
from napari_virtualstain.metrics.floor import LinearFloor, linear_floor, linear_prediction
from napari_virtualstain.metrics.pixel import data_range, mae, mse, pearson, psnr
from napari_virtualstain.metrics.strips import Comparison
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


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_pictures_compared_strip_by_strip_are_those_compared_whole(rows):
    prediction, truth = NEAR.copy(), TRUTH.copy()
    prediction[3:5], truth[:, 8] = np.nan, np.nan
    compared = Comparison()
    for start in range(0, len(truth), rows):
        compared.add(prediction[start : start + rows], truth[start : start + rows])
    for metric, found in {
        pearson: compared.pearson, mae: compared.mae, mse: compared.mse, psnr: compared.psnr,
    }.items():  # fmt: skip
        assert found == pytest.approx(metric(prediction, truth)), metric
    assert compared.data_range == pytest.approx(np.nanmax(truth) - np.nanmin(truth))
    assert compared.missing == pytest.approx(1 - np.isfinite(prediction + truth).mean())


def test_nothing_is_said_of_pictures_without_a_pixel_in_common():
    compared = Comparison()
    compared.add(TRUTH * np.nan, TRUTH)
    assert compared.missing == 1
    assert all(np.isnan(v) for v in (compared.pearson, compared.mae, compared.mse, compared.psnr))


def test_a_truth_without_a_range_has_no_signal_to_noise_ratio():
    assert np.isnan(psnr(TRUTH, np.ones_like(TRUTH)))


@pytest.mark.parametrize("rows", [3, 11, 60])
def test_the_floor_fitted_strip_by_strip_is_that_of_the_whole(rows, monkeypatch):
    monkeypatch.setattr(floor_module, "_ROWS", 5 * 37)
    planes, truth = 1000 + RNG.normal(size=(2, 60, 37)).cumsum(axis=1), RNG.normal(size=(60, 37))
    truth = truth + planes[0] - np.roll(planes[1], 1, axis=0)
    truth[20:25, 3], planes[1, 50, 9] = np.nan, np.nan
    fit = LinearFloor()
    for start in range(0, 60, rows):
        stop = min(start + rows, 60)
        first, last = max(0, start - 1), min(stop + 1, 60)
        fit.add(planes[:, first:last], truth[start:stop], above=start - first, below=last - stop)
    expected = pearson(linear_prediction(planes, truth), truth)
    assert fit.pearson == pytest.approx(expected, abs=1e-6)


def test_a_plane_given_twice_changes_no_floor():
    planes = RNG.normal(size=(1, 40, 40))
    truth = planes[0] + RNG.normal(size=(40, 40))
    twice = linear_floor(np.concatenate([planes, planes]), truth)
    assert twice == pytest.approx(linear_floor(planes, truth), abs=1e-9)
