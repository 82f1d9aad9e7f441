"""Stitching as published: streamed strip by strip, the same numbers as all tiles at once."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import windows

from napari_virtualstain.errors import PixelDataError, SettingsError, UnknownNameError
from napari_virtualstain.inference.stitch import STITCH_METHODS, stitch_tiles

METHODS = sorted(STITCH_METHODS)


@st.composite
def layouts(draw):
    """Shape, tile and stride of two or three axes, images smaller than a tile included."""
    ndim = draw(st.integers(2, 3))
    longest = 30 if ndim == 2 else 12
    shape = tuple(draw(st.integers(1, longest)) for _ in range(ndim))
    tile = tuple(draw(st.integers(1, longest // 2)) for _ in range(ndim))
    # A stride of a tenth of a tile is legal, and slow for the twin.
    stride = tuple(draw(st.integers(max(1, t // 4), t)) for t in tile)
    return shape, tile, stride


def opinion(region):
    """Each tile has its own mind: (2, *tile), decided by where it starts."""
    extent = [part.stop - part.start for part in region]
    rng = np.random.default_rng([part.start for part in region])
    return rng.normal(size=(2, *extent)).astype(np.float32)


def stitched(predict, shape, **settings):
    result, seen = None, np.zeros(shape, int)
    for region, pixels in stitch_tiles(predict, shape, **settings):
        if result is None:
            result = np.full((pixels.shape[0], *shape), np.nan, np.float32)
        assert pixels.dtype == np.float32
        assert pixels.shape[1:] == tuple(part.stop - part.start for part in region)
        result[(slice(None), *region)] = pixels
        seen[region] += 1
    assert (seen == 1).all()
    return result


def places(length, tile, stride, moves_back):
    found = [0]
    while found[-1] + tile < length:
        found.append(found[-1] + stride)
    if moves_back and found[-1] + tile > length >= tile:
        found[-1] = length - tile
    return found


def outer(lines):
    product_ = np.ones(())
    for line in lines:
        product_ = np.multiply.outer(product_, line)
    return product_


WEIGHTS = {
    "gaussian": lambda tile: np.maximum(outer([windows.gaussian(t, t / 8) for t in tile]), 1e-3),
    "triangular": lambda tile: outer([windows.triang(t) for t in tile]),
    "constant": np.ones,
}


def twin(predict, shape, *, method, tile, stride):
    """All predictions kept, combined at the end."""
    back = method in ("gaussian", "constant")
    lines = [places(*line, back) for line in zip(shape, tile, stride, strict=True)]
    canvas = tuple(line[-1] + t for line, t in zip(lines, tile, strict=True))
    opinions, weights = [], []
    last = None
    for place in product(*lines):
        region = tuple(slice(s, s + t) for s, t in zip(place, tile, strict=True))
        said = np.full((2, *canvas), np.nan)
        said[(slice(None), *region)] = predict(region)
        opinions.append(said)
        if last is None:
            last = said.copy()
        last[(slice(None), *region)] = said[(slice(None), *region)]
        if method in WEIGHTS:
            share = np.zeros(canvas)
            share[region] = WEIGHTS[method](tile)
            weights.append(share)
    if method in WEIGHTS:
        total = sum(np.nan_to_num(o) * w for o, w in zip(opinions, weights, strict=True))
        result = total / sum(weights)
    else:
        result = np.nanmedian(np.stack(opinions), axis=0)
    if method == "median_at_last":
        inner = tuple(slice(s, n - s) for s, n in zip(stride, canvas, strict=True))
        rim = np.ones(canvas, bool)
        rim[inner] = False
        result[:, rim] = last[:, rim]
    return result[(slice(None), *(slice(0, n) for n in shape))]


@pytest.mark.parametrize("method", METHODS)
@given(layout=layouts(), value=st.sampled_from([0.0, 1.0, -3.7, 30000.0]))
def test_constant_in_constant_out(method, layout, value):
    shape, tile, stride = layout
    result = stitched(
        lambda region: np.full((2, *(p.stop - p.start for p in region)), value, np.float32),
        shape,
        method=method,
        tile=tile,
        stride=stride,
    )
    np.testing.assert_allclose(result, value, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@given(layout=layouts())
def test_strips_equal_all_tiles_at_once(method, layout):
    shape, tile, stride = layout
    asked = {"method": method, "tile": tile, "stride": stride}
    np.testing.assert_allclose(
        stitched(opinion, shape, **asked), twin(opinion, shape, **asked), rtol=1e-5, atol=2e-6
    )


@pytest.mark.parametrize("method", METHODS)
@given(layout=layouts())
def test_tiles_that_agree_are_left_alone(method, layout):
    """An identity network reproduces its input."""
    shape, tile, stride = layout
    canvas = tuple(n + 2 * t for n, t in zip(shape, tile, strict=True))
    image = np.random.default_rng(0).normal(size=(1, *canvas)).astype(np.float32)
    result = stitched(
        lambda region: image[(slice(None), *region)],
        shape,
        method=method,
        tile=tile,
        stride=stride,
    )
    expected = image[(slice(None), *(slice(0, n) for n in shape))]
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)


def test_the_published_median_keeps_at_the_rim_what_was_written_last():
    """The layout of Cross-Zamirski et al., 1024 px in 7 x 7 tiles, an eighth in size."""
    tile, stride, n = 32, 16, 7
    numbers = np.random.default_rng(1).permutation(n * n).reshape(n, n).astype(np.float32)

    def predict(region):
        value = numbers[region[0].start // stride, region[1].start // stride]
        return np.full((1, tile, tile), value, np.float32)

    result = stitched(predict, (128, 128), method="median_at_last", tile=tile)[0]
    for r, c in product(range(8), range(8)):
        block = result[r * stride : (r + 1) * stride, c * stride : (c + 1) * stride]
        if r == 0:
            expected = numbers[0, min(c, 6)]
        elif c == 0:
            expected = numbers[min(r, 6), 0]
        elif r == 7:
            expected = numbers[6, min(c, 6)]
        elif c == 7:
            expected = numbers[min(r, 6), 6]
        else:
            expected = np.median(numbers[r - 1 : r + 1, c - 1 : c + 1])
        np.testing.assert_array_equal(block, expected)


def test_a_picture_of_998_px_is_covered_by_49_tiles_of_256():
    asked = []

    def predict(region):
        asked.append(region)
        return np.zeros((1, 256, 256), np.float32)

    result = stitched(predict, (998, 998), method="median", tile=256)
    assert len(asked) == 49
    assert result.shape == (1, 998, 998)
    assert asked[-1] == (slice(768, 1024), slice(768, 1024))


def test_the_sliding_window_moves_its_last_tile_back():
    asked = []

    def predict(region):
        asked.append(region[0])
        return np.zeros((1, 100, 100), np.float32)

    stitched(predict, (310, 100), method="gaussian", tile=100)
    assert asked == [slice(0, 100), slice(75, 175), slice(150, 250), slice(210, 310)]


@pytest.mark.parametrize("length", [1, 2, 7, 8, 255, 256])
def test_windows_are_those_of_the_sources(length):
    for method, window in (
        ("gaussian", windows.gaussian(length, length / 8)),
        ("triangular", windows.triang(length)),
        ("constant", np.ones(length)),
    ):
        np.testing.assert_allclose(STITCH_METHODS[method].window(length), window, rtol=1e-12)


@pytest.mark.parametrize("method", ["median", "median_at_last"])
def test_a_missing_prediction_stays_missing(method):
    def predict(region):
        pixels = opinion(region)
        if region[0].start == region[1].start == 8:
            pixels[0, 4, 4] = np.nan
        return pixels

    result = stitched(predict, (64, 64), method=method, tile=16)
    assert np.argwhere(np.isnan(result)).tolist() == [[0, 12, 12]]


def test_a_median_takes_out_what_a_mean_keeps():
    def predict(region):
        return np.full((1, 16, 16), 1000.0 if region[0].start == 8 == region[1].start else 1.0)

    shape = (40, 40)
    assert stitched(predict, shape, method="median", tile=16).max() == 1
    assert stitched(predict, shape, method="constant", tile=16, stride=8).max() > 200


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_height(method):
    def peak(height):
        tracemalloc.start()
        try:
            for _ in stitch_tiles(
                lambda region: np.zeros((2, 64, 64), np.float32),
                (height, 256),
                method=method,
                tile=64,
            ):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(128)  # what is imported at the first use
    # Eight times the height; what other threads of the process take meanwhile counts too.
    assert peak(2048) < 2 * peak(256)


def test_strips_come_as_soon_as_they_are_final():
    asked = []

    def predict(region):
        asked.append(region)
        return opinion(region)

    strips = stitch_tiles(predict, (64, 16), method="median", tile=16)
    region, _ = next(strips)
    assert region == (slice(0, 8), slice(0, 16))
    assert len(asked) == 1


BAD = {
    "unknown method": (
        {"method": "gausian", "tile": 8},
        UnknownNameError,
        "No stitching method named 'gausian'. Did you mean 'gaussian'?",
    ),
    "gaps": (
        {"method": "median", "tile": 8, "stride": 9},
        SettingsError,
        "leave gaps. Choose a stride from 1 to the edge of a tile.",
    ),
    "no stride": ({"method": "median", "tile": 8, "stride": 0}, SettingsError, "leave gaps"),
    "no tile": ({"method": "median", "tile": 0, "stride": 0}, SettingsError, "leave gaps"),
    "another number of axes": (
        {"method": "median", "tile": (8, 8, 8)},
        SettingsError,
        "Give one number for all axes.",
    ),
}


@pytest.mark.parametrize(("asked", "kind", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_stitched_is_said_at_the_call(asked, kind, sentence):
    with pytest.raises(kind) as caught:
        stitch_tiles(opinion, (20, 20), **asked)
    assert sentence in str(caught.value)


def test_a_prediction_of_another_size_is_said():
    strips = stitch_tiles(lambda region: np.zeros((1, 4, 4)), (20, 20), method="median", tile=8)
    with pytest.raises(PixelDataError) as caught:
        next(strips)
    assert str(caught.value) == (
        "A tile of (8, 8) px was predicted as (4, 4) px. "
        "Choose a tile that the network's stride divides."
    )
