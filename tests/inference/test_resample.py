"""Regions of a resampled picture are regions of the whole resampled picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import rescale

from napari_virtualstain.inference.resample import (
    resample_region,
    resampled_length,
    source_region,
)

PICTURE = np.random.default_rng(0).normal(size=(2, 53, 61)).astype(np.float32)


def resample_whole(picture, ratios):
    shape = picture.shape[1:]
    region = tuple(slice(0, resampled_length(n, r)) for n, r in zip(shape, ratios, strict=True))
    whole = tuple(slice(0, n) for n in shape)
    return resample_region(picture, whole, region, ratios)


@given(
    st.tuples(st.floats(0.3, 3.5), st.floats(0.3, 3.5)),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1)),
)
def test_a_region_equals_the_same_region_of_the_whole(ratios, where):
    whole = resample_whole(PICTURE, ratios)
    height, width = whole.shape[1:]
    y, x = int(where[0] * height), int(where[1] * width)
    region = (
        slice(y, max(y + 1, min(height, y + int(where[2] * height)))),
        slice(x, max(x + 1, min(width, x + int(where[3] * width)))),
    )
    read = source_region(region, ratios, PICTURE.shape[1:])
    part = resample_region(PICTURE[(slice(None), *read)], read, region, ratios)
    np.testing.assert_allclose(part, whole[(slice(None), *region)], atol=1e-6)


def test_the_same_pixel_size_changes_nothing():
    np.testing.assert_array_equal(resample_whole(PICTURE, (1.0, 1.0)), PICTURE)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_it_is_what_scikit_image_does_in_the_interior(factor):
    picture = PICTURE[:, :52, :60]
    ours = resample_whole(picture, (1 / factor, 1 / factor))
    theirs = np.stack([rescale(p, factor, order=1, anti_aliasing=factor < 1) for p in picture])
    np.testing.assert_allclose(ours[:, 6:-6, 6:-6], theirs[:, 6:-6, 6:-6], atol=2e-3)


def test_a_constant_stays_constant():
    flat = np.full((1, 20, 30), 5.0, np.float32)
    np.testing.assert_allclose(resample_whole(flat, (1.7, 0.6)), 5.0, rtol=1e-6)
