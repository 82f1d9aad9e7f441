"""Prediction minus truth, as a layer."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari.layers import Image, Layer

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.napari_io.difference import difference_layer, diverging, same_pixels

SHAPES = {
    "flat": ((6, 8), (6, 8)),
    "a_truth_with_an_axis_of_one": ((6, 8), (1, 6, 8)),
    "a_prediction_with_an_axis_of_one": ((1, 6, 8), (6, 8)),
    "stacks": ((3, 6, 8), (3, 6, 8)),
}


def finest(data, multiscale):
    return np.asarray(data[0] if multiscale else data)


@pytest.mark.parametrize(("a", "b"), SHAPES.values(), ids=SHAPES)
def test_it_is_prediction_minus_truth_on_the_axes_of_the_prediction(a, b):
    rng = np.random.default_rng(0)
    predicted, true = rng.random(a), rng.random(b)
    data, keywords, kind = difference_layer(Image(predicted), Image(true), name="d")
    wanted = predicted.astype(np.float32) - true.astype(np.float32).reshape(a)
    np.testing.assert_array_equal(finest(data, keywords["multiscale"]), wanted)
    assert kind == "image"
    assert Layer.create(data, keywords, kind).name == "d"


@given(
    hnp.arrays(np.uint16, (4, 5), elements=st.integers(0, 65535)),
    hnp.arrays(np.uint16, (4, 5), elements=st.integers(0, 65535)),
)
def test_unsigned_numbers_do_not_wrap(a, b):
    data, keywords, _ = difference_layer(
        Image(a, contrast_limits=(0, 9)), Image(b, contrast_limits=(0, 9)), name="d"
    )
    np.testing.assert_array_equal(
        finest(data, keywords["multiscale"]), a.astype(np.int64) - b.astype(np.int64)
    )


def test_limits_are_half_the_range_of_the_truth_to_either_side():
    true = Image(np.zeros((4, 4)), contrast_limits=(10, 50))
    _, keywords, _ = difference_layer(Image(np.zeros((4, 4))), true, name="d")
    assert keywords["contrast_limits"] == (-20.0, 20.0)


def test_the_map_is_black_at_zero_and_tells_the_signs_apart():
    low, zero, high = diverging().map(np.array([0.0, 0.5, 1.0]))[:, :3]
    np.testing.assert_allclose(zero, 0, atol=1e-6)
    assert low[2] > low[0]
    assert high[0] > high[2]


def test_it_lies_where_the_prediction_lies():
    predicted = Image(
        np.zeros((4, 4)), scale=(0.5, 0.25), translate=(3, 7), units=("um", "um"),
        axis_labels=("y", "x"),
    )  # fmt: skip
    _, keywords, _ = difference_layer(predicted, Image(np.zeros((4, 4))), name="d")
    assert keywords["scale"] == [0.5, 0.25]
    assert keywords["translate"] == [3.0, 7.0]
    assert keywords["units"] == ["micrometer", "micrometer"]
    assert keywords["axis_labels"] == ["y", "x"]


def test_missing_pixels_stay_missing():
    hole = np.zeros((4, 4), np.float32)
    hole[1, 2] = np.nan
    predicted = Image(hole, contrast_limits=(0, 1))
    data, keywords, _ = difference_layer(predicted, Image(np.ones((4, 4))), name="d")
    found = finest(data, keywords["multiscale"])
    assert np.isnan(found[1, 2])
    assert np.isnan(found).sum() == 1


def test_nothing_is_computed_until_somebody_looks():
    asked = []

    def block(part):
        asked.append(part.shape)
        return part

    lazy = da.zeros((8, 8), chunks=4).map_blocks(block, meta=np.zeros((0, 0)))
    image = Image(lazy, contrast_limits=(0, 1))
    asked.clear()
    data, _, _ = difference_layer(image, Image(np.zeros((8, 8))), name="d")
    assert asked == []
    data.compute()
    assert asked


def test_pyramids_give_a_pyramid():
    levels = [np.ones((64, 64)), np.ones((32, 32)), np.ones((16, 16))]
    other = [np.zeros((64, 64)), np.zeros((32, 32))]
    data, keywords, _ = difference_layer(
        Image(levels, multiscale=True, contrast_limits=(0, 1)),
        Image(other, multiscale=True, contrast_limits=(0, 1)),
        name="d",
    )
    assert keywords["multiscale"]
    assert [level.shape for level in data] == [(64, 64), (32, 32)]
    assert float(np.asarray(data[1]).min()) == 1.0


def test_other_sizes_are_one_sentence():
    one, other = Image(np.zeros((4, 4)), name="DNA"), Image(np.zeros((4, 5)), name="truth")
    assert not same_pixels(one, other)
    with pytest.raises(PixelDataError) as caught:
        difference_layer(one, other, name="d")
    assert str(caught.value) == (
        "'DNA' has 4 x 4 and 'truth' 4 x 5 pixels, so there is no difference to show. Choose the "
        "truth of the same field."
    )
