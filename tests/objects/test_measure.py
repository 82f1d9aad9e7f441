"""Sizes, shapes and amounts of objects drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.objects.measure import SHAPE_COLUMNS, measure_objects


def disc(radius, shape=(80, 90), centre=(40, 45)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(int) * 7


def test_a_disc_has_the_size_and_the_shape_of_a_disc():
    found = measure_objects(disc(15), {}, pixel_um=0.5)
    assert tuple(found) == SHAPE_COLUMNS
    assert found["object"].tolist() == [7]
    assert found["area"][0] == pytest.approx(np.pi * 7.5**2, rel=0.02)
    assert (found["y"][0], found["x"][0]) == pytest.approx((20, 22.5))
    assert found["eccentricity"][0] < 0.1
    assert found["form_factor"][0] > 0.9
    assert not found["touches_border"][0]


def test_an_amount_is_what_lies_above_the_background():
    labels = disc(10)
    picture = 100.0 + 50.0 * (labels > 0)
    found = measure_objects(labels, {"DNA": picture})
    area = (labels > 0).sum()
    assert found["mean_DNA"][0] == pytest.approx(150)
    assert found["sum_DNA"][0] == pytest.approx(150 * area)
    assert found["excess_DNA"][0] == pytest.approx(50 * area)


def test_missing_pixels_count_for_nothing():
    labels = disc(10)
    picture = np.where(labels > 0, 150.0, 100.0)
    picture[:40] = np.nan
    found = measure_objects(labels, {"DNA": picture, "ER": picture * np.nan})
    assert found["mean_DNA"][0] == pytest.approx(150)
    known = (labels[40:] > 0).sum()
    assert found["excess_DNA"][0] == pytest.approx(50 * known)
    assert np.isnan(found["mean_ER"][0])
    assert np.isnan(found["excess_ER"][0])


def test_what_the_edge_cuts_is_said():
    assert measure_objects(disc(10, centre=(5, 45)), {})["touches_border"][0]
    assert measure_objects(disc(10, centre=(40, 85)), {})["touches_border"][0]


def test_without_objects_the_columns_are_empty():
    found = measure_objects(np.zeros((9, 9), int), {"DNA": np.ones((9, 9))})
    assert set(found) == {*SHAPE_COLUMNS, "mean_DNA", "sum_DNA", "excess_DNA"}
    assert all(len(column) == 0 for column in found.values())
