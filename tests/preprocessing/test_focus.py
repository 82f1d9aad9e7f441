"""How sharp a plane is: against twins, and where the direction comes from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_virtualstain.errors import PixelDataError, UnknownNameError
from napari_virtualstain.preprocessing.focus import (
    MEASURES,
    FocusProfile,
    brenner,
    focus_profile,
    laplacian_energy,
    normalised_variance,
    power_log_log_slope,
)


def scene(shape=(64, 80), seed=0):
    rng = np.random.default_rng(seed)
    return 500 + 100 * ndimage.gaussian_filter(rng.normal(size=shape), 1.0)


def slope_twin(plane):
    """Power by the definition of the Fourier transform, rings by a loop over frequencies."""
    plane = plane - plane.mean()
    n_y, n_x = plane.shape
    transform_y = np.exp(-2j * np.pi * np.outer(np.arange(n_y), np.arange(n_y)) / n_y)
    transform_x = np.exp(-2j * np.pi * np.outer(np.arange(n_x), np.arange(n_x)) / n_x)
    power = np.abs(transform_y @ plane @ transform_x) ** 2
    sums = dict.fromkeys(range(2, min(n_y, n_x) // 8), 0.0)
    for v in range(n_y):
        for u in range(n_x):
            # CellProfiler's distance to the nearest corner of the unshifted spectrum
            ring = int(np.hypot(min(v, n_y - 1 - v), min(u, n_x - 1 - u))) + 1
            if ring in sums:
                sums[ring] += power[v, u]
    x, y = np.log(list(sums)), np.log(list(sums.values()))
    return ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()


def test_the_slope_is_that_of_the_definition():
    plane = scene()
    assert power_log_log_slope(plane) == pytest.approx(slope_twin(plane), abs=1e-8)


def test_the_slope_of_white_noise_falls_with_blur_as_cellprofiler_has_it():
    noise = np.random.default_rng(0).normal(size=(128, 128))
    slopes = [power_log_log_slope(ndimage.gaussian_filter(noise, s)) for s in (0, 1, 2, 4)]
    np.testing.assert_allclose(slopes, [1.41, 1.15, 0.41, -1.69], atol=0.006)


@given(st.floats(0.1, 50), st.floats(-400, 1e4))
def test_gain_and_offset_leave_the_slope_alone(gain, offset):
    plane = scene()
    changed = power_log_log_slope(gain * plane + offset)
    assert changed == pytest.approx(power_log_log_slope(plane), abs=1e-6)


def test_a_sparse_plane_has_a_slope_though_its_median_deviation_is_zero():
    plane = np.zeros((64, 64))
    plane[30:33, 40:43] = 1000
    assert np.isfinite(power_log_log_slope(plane))


def brenner_twin(p):
    down = np.mean(
        [(p[y + 2, x] - p[y, x]) ** 2 for y in range(len(p) - 2) for x in range(p.shape[1])]
    )
    right = np.mean(
        [(p[y, x + 2] - p[y, x]) ** 2 for y in range(len(p)) for x in range(p.shape[1] - 2)]
    )
    return (down + right) / p.mean() ** 2


def variance_twin(p):
    return sum((v - p.mean()) ** 2 for v in p.ravel()) / p.size / p.mean() ** 2


def laplacian_twin(p):
    at = np.arange(-8, 9)
    r2 = at[:, None] ** 2 + at[None, :] ** 2
    kernel = np.exp(-r2 / 8.0)
    kernel /= kernel.sum()
    kernel *= (r2 - 8.0) / 16.0
    return ndimage.convolve(p, kernel, mode="reflect").var() / p.mean() ** 2


TWINS = [
    (brenner, brenner_twin, 1e-9),
    (normalised_variance, variance_twin, 1e-9),
    (laplacian_energy, laplacian_twin, 0.01),
]


@pytest.mark.parametrize(
    ("measure", "twin", "close"), TWINS, ids=lambda f: getattr(f, "__name__", "")
)
def test_measures_agree_with_their_twins(measure, twin, close):
    plane = scene((40, 48))
    assert measure(plane) == pytest.approx(twin(plane), rel=close)


@pytest.mark.parametrize("name", MEASURES)
def test_a_gain_changes_no_measure_and_missing_pixels_stop_none(name):
    plane = scene()
    assert MEASURES[name](3.5 * plane) == pytest.approx(MEASURES[name](plane))
    plane[3:5, 7] = np.nan
    assert np.isfinite(MEASURES[name](plane))


def test_a_plane_without_a_picture_has_no_slope_and_no_relative_measure():
    assert np.isnan(power_log_log_slope(np.full((40, 40), 7)))
    assert np.isnan(brenner(np.zeros((40, 40), np.uint16)))
    assert normalised_variance(np.full((40, 40), 7)) == 0


BAD = [
    (
        np.zeros((3, 40, 40)),
        r"^Focus is measured on planes of at least 32 x 32 px, got shape \(3, 40, 40\)\. Give",
    ),
    (
        np.zeros((31, 40)),
        r"^Focus is measured on planes of at least 32 x 32 px, got shape \(31, 40\)\. Give",
    ),
    (
        np.full((40, 40), np.nan),
        r"^Focus cannot be measured on a plane without a finite pixel\. Leave",
    ),
]


@pytest.mark.parametrize(("plane", "sentence"), BAD, ids=["stack", "small", "NaN"])
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_no_plane_is_refused(name, plane, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        MEASURES[name](plane)


def test_an_unknown_measure_is_named():
    with pytest.raises(
        UnknownNameError, match="No focus measure named 'brener'. Did you mean 'brenner'"
    ):
        focus_profile([scene()], ["brener"])


def test_a_profile_takes_planes_one_at_a_time():
    taken = []

    def planes():
        for z in range(3):
            taken.append(z)
            yield scene(seed=z)

    profile = focus_profile(planes(), ["brenner"])
    assert taken == [0, 1, 2]
    assert profile.values == {"brenner": tuple(brenner(scene(seed=z)) for z in range(3))}


LINES = {
    "peak": ((1, 2, 6, 2, 1), 1),
    "dip": ((9, 7, 1, 7, 9), -1),
    "dip between two maxima, no deeper than the ends": ((1, 4, 9, 2, 8.5, 4, 1.2), -1),
    "peak between two minima, no higher than the ends": ((9, 6, 1, 8, 1.5, 6, 8.8), 1),
    "rising": ((1, 2, 3, 4), 0),
    "flat": ((2, 2, 2, 2), 0),
    "one plane": ((3,), 0),
    "not finite": ((1, float("nan"), 1), 0),
    "plateau": ((1, 5, 5, 1), 1),
}


@pytest.mark.parametrize(("line", "direction"), LINES.values(), ids=LINES)
def test_the_direction_is_read_off_the_profile(line, direction):
    assert FocusProfile({"m": line}).direction("m") == direction
    assert FocusProfile({"m": tuple(-v for v in line)}).direction("m") == -direction
