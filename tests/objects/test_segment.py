"""Nuclei and cells are found where they were put, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_virtualstain import simulate
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.objects.match import match_objects
from napari_virtualstain.objects.segment import segment_cells, segment_nuclei

SIZES = (10, 60)


def discs(centres, radius, shape=(120, 150), background=100.0, bright=900.0, noise=8.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, int)
    for n, (cy, cx) in enumerate(centres, 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = n
    picture = background + bright * gaussian_filter((labels > 0).astype(float), 1.0)
    return picture + np.random.default_rng(0).normal(0, noise, shape), labels


APART = [(30, 30), (30, 90), (85, 40), (90, 110)]


def test_nuclei_are_found_where_they_are():
    picture, truth = discs(APART, 12)
    match = match_objects(segment_nuclei(picture, diameter_px=SIZES), truth)
    assert len(match.matched) == 4
    assert min(match.iou) > 0.85


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_a_gain_and_an_offset_change_no_nucleus(gain, offset):
    picture, _ = discs(APART, 12)
    plain = segment_nuclei(picture, diameter_px=SIZES)
    moved = segment_nuclei(gain * picture + offset, diameter_px=SIZES)
    assert (plain != moved).mean() < 0.002


def test_nuclei_that_touch_are_two():
    picture, truth = discs([(50, 50), (50, 72)], 13)
    match = match_objects(segment_nuclei(picture, diameter_px=SIZES), truth)
    assert len(match.matched) == 2


def test_a_bean_is_one_nucleus():
    y, x = np.mgrid[:120, :150]
    bent = np.hypot(y - 90, x - 70)
    bean = (abs(bent - 40) < 9) & (abs(x - 70) < 25) & (y < 90)
    picture = 100 + 900 * gaussian_filter(bean.astype(float), 1.0)
    assert segment_nuclei(picture, diameter_px=SIZES).max() == 1


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("blur", [0.0, 3.0])
def test_there_are_no_nuclei_in_noise(spread, classes, blur):
    empty = gaussian_filter(np.random.default_rng(1).normal(100, spread, (200, 200)), blur)
    assert not segment_nuclei(empty, diameter_px=SIZES, classes=classes).any()


def test_what_is_too_small_or_too_large_is_left_out():
    picture, truth = discs(APART, 12)
    assert segment_nuclei(picture, diameter_px=(40, 60)).max() == 0
    assert segment_nuclei(picture, diameter_px=(5, 15)).max() == 0
    assert segment_nuclei(picture, diameter_px=(15, 40)).max() == len(np.unique(truth)) - 1


def test_nuclei_at_the_edge_can_be_left_out():
    picture, _ = discs([(0, 40), (60, 70)], 14)
    assert segment_nuclei(picture, diameter_px=SIZES).max() == 2
    assert segment_nuclei(picture, diameter_px=SIZES, keep_border=False).max() == 1


def test_missing_pixels_are_background():
    picture, _ = discs(APART, 12)
    picture[:60] = np.nan
    assert segment_nuclei(picture, diameter_px=SIZES).max() == 2
    assert segment_nuclei(picture * np.nan, diameter_px=SIZES).max() == 0


def test_weak_nuclei_are_found_with_three_classes():
    strong, _ = discs([(30, 30), (30, 90)], 12)
    weak, _ = discs([(85, 40), (90, 110)], 12, bright=120.0, noise=0.0)
    picture = strong + weak - 100
    assert segment_nuclei(picture, diameter_px=SIZES, classes=2).max() == 2
    assert segment_nuclei(picture, diameter_px=SIZES).max() == 4


def test_a_cell_has_the_number_of_its_nucleus_and_holds_it():
    dna, _ = discs(APART, 10)
    body, truth = discs(APART, 20)
    nuclei = segment_nuclei(dna, diameter_px=SIZES)
    cells = segment_cells(nuclei, body, reach_px=30)
    assert (cells[nuclei > 0] == nuclei[nuclei > 0]).all()
    assert min(match_objects(cells, truth).iou) > 0.8
    near = segment_cells(nuclei, body, reach_px=2)
    assert (near > 0).sum() < (cells > 0).sum()


def test_without_a_stain_a_cell_is_its_nucleus():
    dna, _ = discs(APART, 10)
    nuclei = segment_nuclei(dna, diameter_px=SIZES)
    np.testing.assert_array_equal(segment_cells(nuclei, np.ones_like(dna), reach_px=9), nuclei)
    nothing = segment_cells(np.zeros_like(nuclei), dna, reach_px=9)
    assert not nothing.any()


def test_cells_of_simulated_fields_that_touch_are_parted_between_their_nuclei():
    matches = []
    for seed in range(3):
        settings, number = simulate.held_out_settings(seed)
        made = simulate.simulate_field(settings, seed=number)
        rim = made.stains[0][simulate.STAINS.index("AGP")]
        found = segment_cells(made.nuclei[0], rim, reach_px=25 / 0.6)
        matches.append(match_objects(found, made.cells[0]))
    assert np.mean([match.recall for match in matches]) > 0.8
    assert np.mean([iou for match in matches for iou in match.iou]) > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_nuclei_of_simulated_fields_are_counted(seed):
    settings, number = simulate.held_out_settings(seed)
    made = simulate.simulate_field(settings, seed=number)
    dna = made.stains[0][simulate.STAINS.index("DNA")]
    found = segment_nuclei(dna, diameter_px=(8 / 0.6, 30 / 0.6))
    match = match_objects(found, made.nuclei[0])
    assert match.recall > 0.8
    assert match.precision > 0.9
    assert np.mean(match.iou) > 0.9


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        pytest.param(lambda p: segment_nuclei(p[None], diameter_px=SIZES), PixelDataError, "Choose one plane", id="a stack"),
        pytest.param(lambda p: segment_nuclei(p, diameter_px=(9, 3)), SettingsError, "smaller one first", id="sizes turned round"),
        pytest.param(lambda p: segment_nuclei(p, diameter_px=SIZES, classes=4), SettingsError, "2 or 3 classes", id="classes"),
        pytest.param(lambda p: segment_cells(np.ones((3, 3), int), p, reach_px=3), PixelDataError, "same field", id="another size"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(np.zeros((20, 20)))
