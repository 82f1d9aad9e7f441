"""Noise belongs to seed and pixel: any region, in any order and tiling, has the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.errors import SettingsError

PLANE = (slice(0, 512), slice(0, 512))
PINNED = np.array(
    [
        [1.1605669260025024, 0.09598597884178162, 1.5135842561721802],
        [0.34950345754623413, 1.5814266204833984, 0.26639169454574585],
    ],
    dtype=np.float32,
)


def parts(limit=300, longest=90):
    return st.tuples(st.integers(0, limit), st.integers(1, longest)).map(
        lambda start_length: slice(start_length[0], sum(start_length))
    )


def regions(n_axes):
    longest = {1: 5000, 2: 90, 3: 25, 4: 10, 5: 6}[n_axes]
    return st.tuples(*[parts(longest=longest)] * n_axes)


def inside(region, whole):
    return (
        slice(None),
        *(slice(p.start - w.start, p.stop - w.start) for p, w in zip(region, whole, strict=True)),
    )


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(regions(n), regions(n))), st.integers(0, 3))
def test_two_regions_agree_where_they_overlap(pair, seed):
    one, other = pair
    both = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    if any(part.stop <= part.start for part in both):
        # Most pairs are apart; then the region that spans both is held against each.
        both = one
        other = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(one, other, strict=True)
        )
        if np.prod([part.stop - part.start for part in other]) > 2e6:
            return
    np.testing.assert_array_equal(
        noise_of(seed, one, channels=2)[inside(both, one)],
        noise_of(seed, other, channels=2)[inside(both, other)],
    )


@given(st.integers(9, 160), st.integers(9, 160), st.integers(0, 99))
def test_tiles_of_any_size_in_any_order_make_the_same_plane(height, width, shuffle):
    whole = noise_of(5, (slice(0, 140), slice(0, 150)))
    tiles = [
        (slice(y, min(y + height, 140)), slice(x, min(x + width, 150)))
        for y in range(0, 140, height)
        for x in range(0, 150, width)
    ]
    made = np.full_like(whole, np.nan)
    for number in np.random.default_rng(shuffle).permutation(len(tiles)):
        tile = tiles[number]
        made[(slice(None), *tile)] = noise_of(5, tile)
    np.testing.assert_array_equal(made, whole)


@given(st.integers(0, 511), st.integers(0, 511))
def test_one_pixel_read_alone_is_the_pixel_of_the_whole(y, x):
    alone = noise_of(0, (slice(y, y + 1), slice(x, x + 1)), channels=2)
    np.testing.assert_array_equal(alone, noise_of(0, PLANE, channels=2)[:, y : y + 1, x : x + 1])


def test_pixels_far_away_can_be_read():
    region = (slice(10**9, 10**9 + 100), slice(3 * 10**10, 3 * 10**10 + 100))
    far = noise_of(1, region)
    assert abs(far.mean()) < 0.05
    assert not np.isin(far, noise_of(1, (slice(0, 200), slice(0, 200)))).mean() > 0.01


def test_mean_and_spread_are_those_of_a_standard_normal():
    values = noise_of(11, PLANE, channels=4).ravel().astype(np.float64)
    n = values.size  # 2^20: five standard errors below
    assert abs(values.mean()) < 5 / np.sqrt(n)
    assert abs(values.std() - 1) < 5 / np.sqrt(2 * n)
    assert abs((values**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((values**4).mean() - 3) < 5 * np.sqrt(96 / n)


@pytest.mark.parametrize(
    "lag", [(0, 1), (1, 0), (1, 1), (0, 63), (0, 64), (64, 0), (64, 64), (5, 128)], ids=str
)
def test_pixels_are_not_correlated(lag):
    noise = noise_of(12, PLANE)[0].astype(np.float64)
    y, x = lag
    pairs = noise[y:, x:] * noise[: 512 - y, : 512 - x]
    assert abs(pairs.mean()) < 5 / np.sqrt(pairs.size)


def test_the_spectrum_is_flat():
    power = np.abs(np.fft.fft2(noise_of(13, PLANE)[0])) ** 2 / 512**2
    rings = power.reshape(16, 32, 16, 32).mean(axis=(1, 3))  # 1024 frequencies each
    assert np.abs(rings - 1).max() < 6 * np.sqrt(2 / 1024)


OTHERS = {
    "seed": ({"seed": 3}, {"seed": 4}),
    "draw": ({"draw": 0}, {"draw": 1}),
    "seed and draw swapped": ({"seed": 1, "draw": 2}, {"seed": 2, "draw": 1}),
    "large seed": ({"seed": 1}, {"seed": 1 + 2**32}),
    "large draw": ({"draw": 2**64 - 1}, {"draw": 2**32 - 1}),
}


@pytest.mark.parametrize(("one", "other"), OTHERS.values(), ids=OTHERS)
def test_another_seed_or_draw_is_another_field(one, other):
    a = noise_of(**({"seed": 0} | one), region=PLANE).ravel()
    b = noise_of(**({"seed": 0} | other), region=PLANE).ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)


def test_channels_are_independent_and_do_not_depend_on_their_number():
    five = noise_of(2, PLANE, channels=5)
    correlation = np.corrcoef(five.reshape(5, -1)) - np.eye(5)
    assert np.abs(correlation).max() < 5 / 512
    np.testing.assert_array_equal(noise_of(2, PLANE, channels=2), five[:2])


def test_no_two_blocks_share_a_counter():
    """Where channel and place meet in the counter, a mistake would repeat whole blocks."""
    volume = noise_of(9, (slice(0, 64),) * 3, channels=3)
    blocks = volume.reshape(3, 4, 16, 4, 16, 4, 16).transpose(0, 1, 3, 5, 2, 4, 6)
    assert len(np.unique(blocks.reshape(192, -1), axis=0)) == 192


def test_the_numbers_of_a_seed_stay_what_they_were():
    """A NumPy that makes other normal numbers of the same bits makes other stains."""
    np.testing.assert_array_equal(
        noise_of(2026, (slice(100, 102), slice(63, 66)), draw=7)[0], PINNED
    )


def test_an_empty_region_has_no_pixels():
    assert noise_of(0, (slice(5, 5), slice(0, 10))).shape == (1, 0, 10)


BAD = {
    "negative seed": ({"seed": -1, "region": PLANE}, "from 0 to 2^64 - 1, got -1 and 0"),
    "draw too large": ({"seed": 0, "region": PLANE, "draw": 2**64}, "Choose a seed in this range."),
    "no channel": ({"seed": 0, "region": PLANE, "channels": 0}, "at least one channel, got 0"),
    "no axes": ({"seed": 0, "region": ()}, "one to five axes, got a region of 0"),
    "six axes": ({"seed": 0, "region": (slice(0, 1),) * 6}, "one to five axes, got a region of 6"),
    "before the first pixel": ({"seed": 0, "region": (slice(-1, 4),)}, "from pixel 0 on"),
    "every second pixel": ({"seed": 0, "region": (slice(0, 4, 2),)}, "no step"),
}


@pytest.mark.parametrize(("asked", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_drawn_is_said(asked, sentence):
    with pytest.raises(SettingsError) as caught:
        noise_of(**asked)
    assert sentence in str(caught.value)
