"""Coarser levels agree with a stupid twin."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.io.pyramid import level_shapes, levels_needed, mean_2x2


def twin(block):
    """Average pixel by pixel."""
    height, width = (-(-n // 2) for n in block.shape)
    out = np.empty((height, width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for y in range(height):
            for x in range(width):
                out[y, x] = np.nanmean(block[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float))
    return out


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan),
    )
)
def test_a_mean_leaves_out_what_is_missing(block):
    np.testing.assert_allclose(mean_2x2(block), twin(block), rtol=1e-5, atol=1e-2)


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_mean_of_integers_is_rounded_to_the_next(block):
    assert np.abs(mean_2x2(block) - twin(block)).max() <= 0.5


@pytest.mark.parametrize("edge", [1, 511, 512, 513, 1024, 1025, 5000])
def test_the_coarsest_level_fits_one_chunk(edge):
    count = levels_needed(edge, 3, 512)
    shapes = level_shapes((1, 1, 1, edge, 3), count)
    assert len(shapes) == count
    assert max(shapes[-1][-2:]) <= 512
    assert count == 1 or max(shapes[-2][-2:]) > 512
