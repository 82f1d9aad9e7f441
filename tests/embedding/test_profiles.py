"""Profiles are what loops over crops, fields and plates make them, and NaN stays NaN."""

from __future__ import annotations

import warnings
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.embedding.profiles import (
    aggregate,
    median_of_crops,
    treatment_profiles,
    unit_length,
)
from napari_virtualstain.errors import PixelDataError

RNG = np.random.default_rng(0)
NAN = np.nan


def test_the_median_of_four_crops_is_the_mean_of_the_middle_two():
    features = np.array([[4.0, 0.0], [1.0, 0.0], [2.0, 9.0], [9.0, 9.0]])
    assert median_of_crops(features).tolist() == [3.0, 4.5]  # torch.median: [2, 0]


def test_a_picture_without_crops_is_refused():
    with pytest.raises(PixelDataError, match="at least one crop"):
        median_of_crops(np.zeros((0, 3)))


def test_a_feature_that_a_crop_lacks_is_missing_of_the_picture():
    features = np.array([[1.0, 2.0], [NAN, 2.0], [3.0, 2.0]])
    assert np.isnan(median_of_crops(features)).tolist() == [True, False]


def twin(features, treatments, plates):
    """Loops over treatments, plates and features."""
    rows = []
    for name in dict.fromkeys(treatments):
        row = []
        for column in range(features.shape[1]):
            of_plates = []
            for plate in dict.fromkeys(plates):
                inside = [
                    features[i, column]
                    for i in range(len(features))
                    if (treatments[i], plates[i]) == (name, plate)
                    and not np.isnan(features[i, column])
                ]
                if inside:
                    of_plates.append(mean(inside))
            row.append(median(of_plates) if of_plates else NAN)
        rows.append(row)
    return np.array(rows)


@given(
    arrays(np.float64, (12, 3), elements=st.one_of(st.floats(-9, 9), st.just(NAN))),
    st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
    st.lists(st.sampled_from([1, 2, 3]), min_size=12, max_size=12),
)
def test_profiles_are_those_of_plain_loops(features, treatments, plates):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names, profiles = treatment_profiles(features, treatments, plates)
    assert names == list(dict.fromkeys(treatments))
    np.testing.assert_allclose(profiles, twin(features, treatments, plates), atol=1e-12)


def test_a_plate_with_many_fields_counts_no_more_than_one_with_few():
    features = np.array([[0.0]] * 9 + [[1.0], [3.0]])
    _, profiles = treatment_profiles(features, ["a"] * 11, [1] * 9 + [2, 3], "mean")
    assert profiles[0, 0] == pytest.approx(4 / 3)


def test_a_channel_that_every_field_lacks_stays_missing():
    features = np.array([[1.0, NAN], [3.0, NAN]])
    _, profiles = aggregate(features, ["a", "a"], "median")
    np.testing.assert_equal(profiles, [[2.0, NAN]])


@given(arrays(np.float64, (4, 3), elements=st.floats(-100, 100)))
def test_rows_of_unit_length_keep_their_direction(features):
    scaled = unit_length(features)
    for row, one in zip(features, scaled, strict=True):
        if np.linalg.norm(row) < 1e-100:
            continue
        assert np.linalg.norm(one) == pytest.approx(1)
        assert one @ row == pytest.approx(np.linalg.norm(row))


def test_what_is_missing_has_no_part_in_the_length_and_nothing_has_no_direction():
    np.testing.assert_allclose(unit_length([[3.0, NAN, 4.0]]), [[0.6, NAN, 0.8]])
    assert np.isnan(unit_length([[0.0, 0.0]])).all()
