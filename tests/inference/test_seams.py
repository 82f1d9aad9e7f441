"""The seam index says 1 for pictures that tiles left alone, and more the more they disagree."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.inference.seams import SeamIndex, WorstBorder
from napari_virtualstain.tiling.plan import plan_tiles

EPS = np.finfo(np.float32).eps


def tiles_of(picture, core):
    plan = plan_tiles(picture.shape[1:], core=core, halo=0, multiple_of=1)
    return [(tile.write, picture[(slice(None), *tile.write)]) for tile in plan]


def measured(picture, core, *, order=None):
    tiles = tiles_of(picture, core)
    seams = SeamIndex(picture.shape[1:])
    for number in range(len(tiles)) if order is None else order:
        seams.add(*tiles[number])
    assert not seams._waiting
    return seams


def texture(seed, shape, *, sigma=0.0, channels=1):
    noise = np.random.default_rng(seed).normal(size=(channels, *shape))
    return np.stack([ndimage.gaussian_filter(plane, sigma) for plane in noise]).astype(np.float32)


def twin(picture, core):
    """The whole picture, its differences along each axis, and the lines of the formula.

    Returns the index by channel and that of every line.
    """
    lines = {}
    for axis, length in enumerate(picture.shape[1:]):
        if length <= core:
            continue
        steps = np.abs(np.diff(picture.astype(np.float64), axis=axis + 1))
        steps = np.moveaxis(steps, axis + 1, 1).reshape(len(picture), length - 1, -1)
        for b in range(core, length, core):
            # steps[i] is from line i to line i + 1: g(b) is steps[b - 1]
            sides = [b - 3, b - 4] if core >= 4 else [b - 3] * (core == 3)
            after = min(core, length - b)
            sides += [b + 1, b + 2][: max(0, after - 2)]
            if not sides:
                continue
            beside = steps[:, sides].reshape(len(picture), -1)
            across = steps[:, b - 1]
            if not np.isfinite(across).any() or not np.isfinite(beside).any():
                continue
            lines[axis, b] = (
                np.nanmean(across, axis=1),
                np.nanmean(beside, axis=1),
                np.isfinite(across).sum(axis=1),
            )
    if not lines:
        return np.full(len(picture), np.nan), {}
    looked_at = np.zeros(picture.shape[1:], bool)
    for axis, length in enumerate(picture.shape[1:]):
        for b in range(core, length, core):
            along = np.moveaxis(looked_at, axis, 0)
            along[max(b - 4, b - core) : min(b + 4, b + core)] = True
    least = EPS * np.nanmax(np.abs(picture[:, looked_at]), axis=1)
    least = np.maximum(least, np.finfo(float).tiny)
    n = sum(weight for _, _, weight in lines.values())
    across = sum(a * weight for a, _, weight in lines.values()) / n
    beside = sum(b * weight for _, b, weight in lines.values()) / n
    return (across + least) / (beside + least), {
        line: (a + least) / (b + least) for line, (a, b, _) in lines.items()
    }


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14)),
    ),
    core=st.integers(1, 25),
    seed=st.integers(0, 1000),
    sigma=st.sampled_from([0.0, 1.5]),
)
def test_tiles_in_any_order_give_what_the_whole_picture_gives(shape, core, seed, sigma):
    core = max(core, 3) if len(shape) == 3 else core
    picture = texture(seed, shape, sigma=sigma, channels=2) + 5
    count = len(plan_tiles(shape, core=core, halo=0, multiple_of=1))
    order = np.random.default_rng(seed).permutation(count)
    seams = measured(picture, core, order=order)
    expected, lines = twin(picture, core)
    np.testing.assert_allclose(seams.seam, expected, rtol=1e-9)
    assert seams.borders == len(lines)
    if lines:
        worst = max(lines, key=lambda line: lines[line].max())
        assert seams.worst.seam == pytest.approx(lines[worst].max(), rel=1e-9)
        assert lines[seams.worst.axis, seams.worst.position][seams.worst.channel] == pytest.approx(
            seams.worst.seam, rel=1e-9
        )
    else:
        assert seams.worst is None
        assert np.isnan(seams.seam).all()


# Five times the spread over 200 seeds (0.021, 0.029, 0.041): 256 x 256 px have 1536 pixels
# at borders, and fewer independent ones the smoother the texture is.
TOLERANCE = {0.0: 0.11, 1.0: 0.14, 4.0: 0.21}


@pytest.mark.parametrize(("sigma", "tolerance"), TOLERANCE.items(), ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_a_picture_that_was_only_cut_has_no_seam(sigma, tolerance, seed):
    seams = measured(texture(seed, (256, 256), sigma=sigma), 64)
    assert seams.seam[0] == pytest.approx(1, abs=tolerance)
    assert seams.worst.seam == pytest.approx(1, abs=4 * tolerance)


@pytest.mark.parametrize("sigma", TOLERANCE)
@given(seed=st.integers(0, 10_000))
def test_the_seam_grows_with_the_offset_of_the_tiles(sigma, seed):
    picture = texture(seed, (128, 128), sigma=sigma)
    step = np.abs(np.diff(picture, axis=1)).mean()
    found = []
    for offset in (0, 4, 8, 16):
        moved = picture.copy()
        for number, (region, _) in enumerate(tiles_of(picture, 32)):
            # Chequered, so that every border is a step.
            moved[(slice(None), *region)] += offset * step * ((number + number // 4) % 2)
        found.append(measured(moved, 32).seam[0])
    assert found[0] < 1.4
    assert found[1] > 2
    assert all(a < b for a, b in pairwise(found))
    assert found[3] == pytest.approx(16, rel=0.35)


def test_the_worst_border_is_found():
    picture = texture(0, (96, 128), channels=3)
    picture[1, 64:] += 30
    seams = measured(picture, 32)
    assert (seams.worst.channel, seams.worst.axis, seams.worst.position) == (1, 0, 64)
    assert seams.worst.seam > 20
    assert seams.seam.argmax() == 1
    assert seams.seam[[0, 2]] == pytest.approx([1, 1], abs=0.2)


def test_what_a_step_and_its_neighbours_are():
    """One border by hand: steps of 1 everywhere, 10 across, and 100 right beside, left out."""
    line = np.cumsum([0, 1, 1, 1, 1, 1, 1, 100, 10, 100, 1, 1, 1, 1, 1, 1])
    seams = measured(np.tile(line.astype(np.float32), (1, 16, 1)), 8)
    assert seams.worst == WorstBorder(pytest.approx(10, rel=1e-4), 0, 1, 8)


CONSTANT = {"zero": 0.0, "one": 1.0, "large": 6e4, "smallest": 1e-40}


@pytest.mark.parametrize("value", CONSTANT.values(), ids=CONSTANT)
def test_a_constant_picture_has_no_seam(value):
    seams = measured(np.full((2, 40, 40), value, np.float32), 16)
    np.testing.assert_array_equal(seams.seam, 1)
    assert seams.worst.seam == 1


def test_rounding_is_no_seam_and_a_step_is():
    picture = np.full((1, 40, 40), 1000, np.float32)
    picture[:, :16] = np.nextafter(np.float32(1000), np.float32(2000))
    assert measured(picture, 16).worst.seam < 2.5
    picture[:, :16] += 1
    assert measured(picture, 16).worst.seam > 1000


def test_missing_pixels_are_left_out():
    picture = texture(1, (96, 96), channels=2)
    picture[0, 30:34, 10:50] = np.nan
    picture[0, 60:70, 63] = np.inf
    picture[0, 60:70, 64] = np.inf
    picture[0, 5, 66] = np.inf
    seams = measured(picture, 32)
    assert np.isfinite(seams.seam).all()
    assert seams.seam[0] == pytest.approx(1, abs=0.2)
    alone = measured(picture[1:], 32)
    np.testing.assert_allclose(seams.seam[1], alone.seam[0], rtol=1e-12)


def test_a_channel_without_values_is_not_measured():
    picture = texture(2, (64, 64), channels=2)
    picture[1] = np.nan
    seams = measured(picture, 32)
    assert np.isnan(seams.seam).tolist() == [False, True]
    assert seams.worst.channel == 0


def test_a_picture_of_one_tile_has_no_border():
    seams = measured(texture(3, (64, 64)), 64)
    assert (seams.borders, seams.worst) == (0, None)
    assert np.isnan(seams.seam).all()
    assert SeamIndex((64, 64)).seam.size == 0


def test_planes_of_a_stack_are_no_neighbours():
    stack = [texture(seed, (64, 64)) + 100 * seed for seed in range(3)]
    seams = SeamIndex((64, 64))
    tiles = [tiles_of(plane, 32) for plane in stack]
    for number in range(4):
        for plane in range(3):
            seams.add(*tiles[plane][number], plane=plane)
    assert seams.seam[0] == pytest.approx(1, abs=0.1)
    assert not seams._waiting


def test_whole_numbers_are_taken_as_they_are():
    picture = np.random.default_rng(0).integers(0, 200, (1, 64, 64))
    expected = measured(picture.astype(np.float32), 16).seam
    np.testing.assert_allclose(measured(picture.astype(np.uint8), 16).seam, expected, rtol=1e-9)


def test_only_lines_of_open_borders_are_kept():
    picture = texture(4, (32 * 16, 32 * 8))
    seams = SeamIndex(picture.shape[1:])
    most = 0
    for region, pixels in tiles_of(picture, 32):
        seams.add(region, pixels)
        kept = [line for _, line in seams._waiting.values()]
        assert all(line.base is None for line in kept)  # a view would keep its tile
        most = max(most, sum(line.size for line in kept))
    assert most <= 32 * 8 + 2 * 32  # a row of tiles, and one border more


def test_a_tile_that_comes_again_before_its_neighbour_replaces_itself():
    picture = texture(5, (32, 64))
    (left, l_pixels), (right, r_pixels) = tiles_of(picture, 32)
    seams = SeamIndex((32, 64))
    seams.add(left, l_pixels * 100)
    seams.add(left, l_pixels)
    seams.add(right, r_pixels)
    across = np.abs(picture[0, :, 32].astype(float) - picture[0, :, 31]).mean()
    assert seams._lines[1, 32].across[0] / 32 == pytest.approx(across)


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 31), (2, 32, 32)], ids=str)
def test_pixels_that_do_not_fill_the_region_are_refused(shape):
    seams = SeamIndex((64, 64))
    seams.add((slice(0, 32), slice(0, 32)), np.zeros((1, 32, 32), np.float32))
    with pytest.raises(PixelDataError, match="1 channels and .* was handed in as .* its region."):
        seams.add((slice(0, 32), slice(32, 64)), np.zeros(shape, np.float32))


def test_what_several_have_gathered_is_merged_to_what_one_gathers():
    picture = texture(6, (96, 160), channels=2)
    tiles = list(tiles_of(picture, 32))
    whole, parts = measured(picture, 32), [SeamIndex((96, 160)) for _ in range(3)]
    for number, (region, pixels) in enumerate(tiles):
        parts[number % 3].add(region, pixels)
    merged = SeamIndex((96, 160))
    for part in (*parts, SeamIndex((96, 160))):
        merged.merge(part)
    np.testing.assert_allclose(merged.seam, whole.seam, rtol=1e-12)
    assert merged.borders == whole.borders
    assert not merged._waiting
