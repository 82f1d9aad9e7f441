"""Is the light right? Laws of optics, and a twin that sums every wave by hand."""

import numpy as np
import pytest

from napari_virtualstain.simulate.optics import (
    MEDIUM_INDEX,
    bright_field,
    fluorescence,
    point_spread,
    source_points,
)

PIXEL = (0.6, 0.6)


def bump(shape=(48, 40), height=0.02, radius_um=3.0, slices=1):
    """A smooth phase object in the middle of an otherwise empty volume."""
    y = (np.arange(shape[0]) - shape[0] // 2)[:, None] * PIXEL[0]
    x = (np.arange(shape[1]) - shape[1] // 2)[None, :] * PIXEL[1]
    plane = height * np.exp(-(y * y + x * x) / (2 * radius_um**2))
    return np.repeat(plane[None], slices, 0).astype(np.float32)


def image_wave_by_wave(index, *, focus_um, wavelength_um, objective_na, condenser_na, sources):
    """The stupid twin for one slice: Fourier sums written out, one plane wave after another."""
    ny, nx = index.shape
    y, x = np.arange(ny), np.arange(nx)
    total = np.zeros((ny, nx))
    for point in source_points(condenser_na, count=sources) / wavelength_um:
        my, mx = round(point[0] * ny * PIXEL[0]), round(point[1] * nx * PIXEL[1])
        wave = np.exp(2j * np.pi * (my * y[:, None] / ny + mx * x[None, :] / nx))
        wave = wave * np.exp(2j * np.pi / wavelength_um * index * 1.0)
        image = np.zeros((ny, nx), complex)
        for ky in range(-(ny // 2), ny - ny // 2):
            for kx in range(-(nx // 2), nx - nx // 2):
                fy, fx = ky / (ny * PIXEL[0]), kx / (nx * PIXEL[1])
                if np.hypot(fy, fx) > objective_na / wavelength_um:
                    continue
                basis = np.exp(2j * np.pi * (ky * y[:, None] / ny + kx * x[None, :] / nx))
                amplitude = (wave * basis.conj()).mean()
                kz = np.sqrt((MEDIUM_INDEX / wavelength_um) ** 2 - fy * fy - fx * fx)
                image += amplitude * np.exp(2j * np.pi * kz * focus_um) * basis
        total += abs(image) ** 2
    return total / sources


@pytest.mark.parametrize("focus_um", [-4.0, 0.0, 3.0])
def test_one_slice_agrees_with_a_sum_over_waves(focus_um):
    index = np.random.default_rng(0).normal(0.0, 0.02, (14, 11)).astype(np.float32)
    how = {"wavelength_um": 0.55, "objective_na": 0.45, "condenser_na": 0.25, "sources": 5}
    twin = image_wave_by_wave(index, focus_um=focus_um, **how)
    ours = bright_field(index[None], slice_um=1.0, pixel_um=PIXEL, focus_um=[focus_um], **how)
    np.testing.assert_allclose(ours[0], twin, rtol=2e-4, atol=2e-4)


def test_an_index_matched_volume_is_flat():
    empty = np.zeros((4, 36, 45), np.float32)
    image = bright_field(empty, slice_um=1.0, pixel_um=PIXEL, focus_um=[-4.0, 2.0, 4.0])
    np.testing.assert_allclose(image, 1.0, atol=1e-4)


def test_no_light_is_lost_when_the_objective_takes_it_all():
    image = bright_field(
        bump(radius_um=1.2, slices=6),
        slice_um=1.0,
        pixel_um=PIXEL,
        focus_um=[0.0, 4.0],
        objective_na=1.3,
    )
    assert image.std() > 0.01
    np.testing.assert_allclose(image.mean((1, 2)), 1.0, atol=1e-3)


def test_contrast_turns_round_with_the_defocus():
    below, focus, above = bright_field(
        bump(height=0.01, radius_um=2.0), slice_um=1.0, pixel_um=PIXEL, focus_um=[-4.0, 0.0, 4.0]
    )
    assert np.corrcoef(below.ravel(), above.ravel())[0, 1] < -0.95
    assert focus.std() < 0.15 * above.std()
    middle = above.shape[0] // 2, above.shape[1] // 2
    assert above[middle] > 1.01, "a dense bump is a lens: it gathers light above itself"


def test_slices_are_not_one_projection():
    thick = bump(height=0.03, radius_um=1.5, slices=8)
    thin = np.zeros_like(thick)
    thin[0] = thick.sum(0)
    a, b = (
        bright_field(v, slice_um=1.0, pixel_um=PIXEL, focus_um=[8.0], sources=6)
        for v in (thick, thin)
    )
    assert np.abs(a - b).max() > 0.05


def test_oblique_light_shades_one_side():
    tilted = bright_field(
        bump(), slice_um=1.0, pixel_um=PIXEL, focus_um=[0.5], condenser_na=0.1, tilt_na=(0.0, 0.35)
    )[0]
    middle = tilted.shape[1] // 2
    left, right = tilted[:, :middle].mean(), tilted[:, middle + 1 :].mean()
    straight = bright_field(bump(), slice_um=1.0, pixel_um=PIXEL, focus_um=[0.5], condenser_na=0.1)[
        0
    ]
    level = abs(straight[:, :middle].mean() - straight[:, middle + 1 :].mean())
    assert abs(left - right) > 2 * level


@pytest.mark.parametrize("defocus_um", [0.0, 2.5, -6.0])
@pytest.mark.parametrize("pixel_um", [(0.6, 0.6), (0.3, 0.4)])
def test_a_point_spread_sums_to_one_and_sits_on_its_point(defocus_um, pixel_um):
    spread = point_spread(pixel_um=pixel_um, defocus_um=defocus_um, wavelength_um=0.6, na=0.45)
    assert spread.sum() == pytest.approx(1.0, abs=1e-5)
    # Mirror images about index 0 are equal: the spread is centred on its point.
    for axis in (0, 1):
        np.testing.assert_allclose(np.roll(np.flip(spread, axis), 1, axis), spread, atol=1e-6)


def test_defocus_dims_the_peak_alike_on_both_sides():
    peak = {
        z: point_spread(pixel_um=PIXEL, defocus_um=z, wavelength_um=0.6, na=0.45)[0, 0]
        for z in (-5.0, 0.0, 5.0)
    }
    assert peak[-5.0] == pytest.approx(peak[5.0], rel=1e-4)
    assert peak[5.0] < 0.5 * peak[0.0]


def test_fluorescence_loses_no_light_out_of_focus():
    emission = np.zeros((4, 60, 66), np.float32)
    emission[1, 30, 33], emission[3, 25, 30] = 5.0, 2.0
    image = fluorescence(
        emission, slice_um=1.0, pixel_um=PIXEL, focus_um=[0.0, 3.0, 8.0], wavelength_um=0.6
    )
    np.testing.assert_allclose(image.sum((1, 2)), 7.0, rtol=1e-3)
    assert np.unravel_index(image[1].argmax(), image[1].shape) == (30, 33)


def test_source_points_fill_the_condenser_about_the_tilt():
    points = source_points(0.25, tilt_na=(0.02, -0.03), count=200) - (0.02, -0.03)
    radius = np.hypot(*points.T)
    assert radius.max() <= 0.25
    assert np.abs(points.mean(0)).max() < 0.01
    assert (radius < 0.25 / np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.01)
