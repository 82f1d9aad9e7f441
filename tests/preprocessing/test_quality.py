"""What a plane is like as a measurement: against known noise, light, saturation, cover."""

import re

import numpy as np
import pytest
from scipy import ndimage

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.preprocessing.focus import MEASURES
from napari_virtualstain.preprocessing.quality import (
    bit_depth,
    empty_fraction,
    noise_level,
    plane_quality,
    saturation,
)
from napari_virtualstain.simulate import FieldSettings, simulate_field
from napari_virtualstain.simulate.camera import shading


def counts(shape=(256, 256), *, level=1000.0, sd=20.0, seed=0):
    return np.rint(np.random.default_rng(seed).normal(level, sd, shape)).astype(np.uint16)


def immerkaer(plane):
    """The published estimator, by a convolution with its mask and a mean over the plane."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    response = ndimage.convolve(plane.astype(float), mask)[1:-1, 1:-1]
    return np.sqrt(np.pi / 2) / 6 * np.abs(response).mean()


@pytest.mark.parametrize("sd", [1.0, 7.0, 200.0])
def test_white_noise_is_measured_within_five_percent_as_the_paper_does(sd):
    plane = counts(level=5000, sd=sd)
    truth = np.hypot(sd, 1 / np.sqrt(12))  # rounding to whole counts is noise too
    assert noise_level(plane) == pytest.approx(truth, rel=0.05)
    assert immerkaer(plane) == pytest.approx(truth, rel=0.05)


def test_the_noise_of_the_simulated_camera_is_found_under_cells_and_uneven_light():
    settings = FieldSettings(shape_px=(256, 256), focus_offsets_um=(0.0,), density_per_mm2=450)
    noisy = np.squeeze(simulate_field(settings, seed=3).brightfield)
    # 2 counts an electron, 2.5 electrons of read noise, an offset of 100
    truth = 2 * np.sqrt((np.median(noisy) - 100) / 2 + 2.5**2)
    assert truth <= noise_level(noisy) < 1.35 * truth


def test_structure_misleads_less_than_in_the_paper():
    plane = counts(sd=5).astype(float)
    plane[:, :100] += 300 * (np.indices((256, 100)).sum(axis=0) % 4 < 2)
    assert noise_level(plane) == pytest.approx(5, rel=0.1)
    assert immerkaer(plane) > 50


def test_padding_and_missing_pixels_do_not_lower_the_noise():
    plane = counts(sd=10).astype(float)
    plane[:64] = 0
    plane[100:120, 30:60] = np.nan
    assert noise_level(plane) == pytest.approx(10, rel=0.1)
    assert noise_level(np.full((64, 64), 9)) == 0
    assert np.isnan(noise_level(np.full((64, 64), np.nan)))


def ramp_clipped_at(top, dtype=np.uint16):
    rng = np.random.default_rng(0)
    return np.minimum(rng.normal(0.8 * top, 0.15 * top, (128, 128)).clip(0), top).astype(dtype)


SATURATION = {
    "12 bit in 16 bit": (ramp_clipped_at(4095), 4095),
    "16 bit": (ramp_clipped_at(65535), 65535),
    "8 bit": (ramp_clipped_at(255, np.uint8), 255),
    "floats from 0 to 1": (ramp_clipped_at(1.0, np.float32), 1.0),
    "signed": (ramp_clipped_at(32767, np.int16), 32767),
}


@pytest.mark.parametrize(("plane", "top"), SATURATION.values(), ids=SATURATION)
def test_saturation_is_counted_at_the_top_of_the_type_and_where_values_pile_up(plane, top):
    fraction, value = saturation(plane)
    assert value == top
    assert fraction == pytest.approx(np.mean(plane == plane.max()))
    assert 0.05 < fraction < 0.15


UNSATURATED = {
    "noise": counts(),
    "dim 8 bit": np.random.default_rng(0).poisson(2, (128, 128)).astype(np.uint8),
    "constant": np.full((64, 64), 4095, np.uint16),
    "all at the top": np.full((64, 64), 65535, np.uint16),
    "mask": (np.indices((64, 64)).sum(axis=0) > 60).astype(np.uint16),
    "bool": np.indices((64, 64)).sum(axis=0) > 60,
    "NaN": np.full((64, 64), np.nan),
}


@pytest.mark.parametrize("plane", UNSATURATED.values(), ids=UNSATURATED)
def test_what_is_not_saturated_is_not_said_to_be(plane):
    assert saturation(plane) == (0.0, None)


@pytest.mark.parametrize(
    ("plane", "bits", "step"),
    [
        (np.arange(4096, dtype=np.uint16).reshape(64, 64), 12, 1),
        (16 * np.arange(4096, dtype=np.uint16).reshape(64, 64), 12, 16),
        (1000 + (np.arange(4096) % 256).astype(np.uint16).reshape(64, 64), 8, 1),
        (np.linspace(0, 1, 4096, dtype=np.float64).reshape(64, 64), 12, 1 / 4095),
        (np.full((64, 64), 7), 0, 0),
    ],
    ids=["12 bit", "12 bit stretched to 16", "8 bit above an offset", "floats", "constant"],
)
def test_the_bits_that_are_used_are_counted(plane, bits, step):
    found_bits, found_step = bit_depth(plane)
    assert found_bits == pytest.approx(bits, abs=0.01)
    assert found_step == pytest.approx(step, abs=1e-9)


def test_a_hot_pixel_adds_no_bits():
    plane = (np.arange(65536) % 256).astype(np.uint16).reshape(256, 256)
    plane[3, 3] = 60000
    assert bit_depth(plane)[0] == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize("amplitude", [0.0, 0.05, 0.2, 0.4])
def test_unevenness_is_the_range_of_the_light(amplitude):
    light = shading((256, 256), amplitude=amplitude, rng=np.random.default_rng(2))
    plane = counts(level=4000) * light
    truth = 100 * float(np.ptp(light)) / float(np.median(light))
    found = plane_quality(plane).unevenness_percent
    assert 0.75 * truth - 0.5 < found < 1.02 * truth + 0.5


@pytest.mark.parametrize("cells", [0, 4, 9, 16])
def test_the_empty_part_of_a_defocused_field_is_that_without_cells(cells):
    settings = FieldSettings(
        shape_px=(256, 256), focus_offsets_um=(4.0,), n_cells=cells, debris=0.3
    )
    field = simulate_field(settings, seed=2)
    truth = float(np.mean(field.cells == 0))
    assert empty_fraction(np.squeeze(field.brightfield)) == pytest.approx(truth, abs=0.15)


def test_half_a_field_of_structure_is_half_empty():
    plane = counts(sd=5).astype(float)
    plane[:, :128] += 100 * ndimage.gaussian_filter(
        np.random.default_rng(1).normal(size=(256, 128)), 2
    )
    assert empty_fraction(plane) == pytest.approx(0.5, abs=0.05)
    assert empty_fraction(counts()) > 0.98
    assert empty_fraction(plane[:, :112]) < 0.02


def test_one_card_says_it_all():
    plane = counts(level=1000, sd=10)
    plane[:10, :20] = 65535
    quality = plane_quality(plane)
    assert quality.saturated_fraction == pytest.approx(200 / 65536)
    assert quality.bits_stored == 16
    assert quality.noise_percent == pytest.approx(1.0, rel=0.1)
    assert quality.missing_fraction == 0
    assert quality.focus == {name: measure(plane) for name, measure in MEASURES.items()}
    assert quality.notes == ()


@pytest.mark.parametrize("value", [0, 500, 65535])
def test_a_constant_plane_has_a_card_too(value):
    quality = plane_quality(np.full((48, 48), value, np.uint16))
    assert quality.notes[0] == "All pixels have one value: there is no picture in this plane."
    assert (quality.noise, quality.saturated_fraction, quality.empty_fraction) == (0, 0, 1)
    assert (quality.noise_percent is None) == (value == 0)


def test_missing_pixels_are_counted_and_nothing_else_is_lost():
    plane = counts(sd=10).astype(np.float32)
    plane[:64] = np.nan
    quality = plane_quality(plane)
    assert quality.missing_fraction == 0.25
    assert quality.noise == pytest.approx(10, rel=0.1)
    assert quality.unevenness_percent < 1
    assert quality.empty_fraction > 0.95


BAD = {
    "stack": (
        np.zeros((3, 64, 64)),
        "Quality is measured on planes of at least 32 x 32 px, got shape (3, 64, 64).",
    ),
    "small": (
        np.zeros((20, 64)),
        "Quality is measured on planes of at least 32 x 32 px, got shape (20, 64).",
    ),
    "NaN": (np.full((64, 64), np.nan), "A plane without a finite pixel has no quality."),
}


@pytest.mark.parametrize(("plane", "sentence"), BAD.values(), ids=BAD)
def test_what_is_no_plane_is_refused(plane, sentence):
    with pytest.raises(PixelDataError, match="^" + re.escape(sentence)):
        plane_quality(plane)


@pytest.mark.realdata
def test_a_tenth_of_the_flat_fielded_bright_field_of_bacteria_is_clipped(realdata):
    from tifffile import imread

    quality = plane_quality(imread(realdata / "ecoli_bf/02/brightfield_stack.tif", key=0))
    assert quality.saturation_value == 65535
    assert 0.05 < quality.saturated_fraction < 0.15
    assert quality.empty_fraction > 0.9
