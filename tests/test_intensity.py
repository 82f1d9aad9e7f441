"""Normalisations are fitted once, frozen, and inverted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.intensity import (
    Normalisation,
    Rule,
    StatisticsAccumulator,
    contrast_of,
    together,
)

QUANTILES = (0.01, 0.5, 0.99)
PIXELS = {
    "uint8": np.random.default_rng(0).integers(0, 255, 5000).astype(np.uint8),
    "uint16 near the top": np.random.default_rng(1)
    .integers(60_851, 65_535, 5000)
    .astype(np.uint16),
    "int16 below zero": np.random.default_rng(2).integers(-300, 300, 5000).astype(np.int16),
    "float32": np.random.default_rng(3).normal(3, 2, 5000).astype(np.float32),
    "float64 with a large offset": np.random.default_rng(4).normal(1e6, 1, 5000),
    "bool": np.random.default_rng(5).random(5000) > 0.4,
}


def statistics_of(blocks, quantiles=QUANTILES):
    gather = StatisticsAccumulator(quantiles)
    for block in blocks:
        gather.add(block)
    return gather.result()


@pytest.mark.parametrize("pixels", PIXELS.values(), ids=PIXELS)
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_blocks_give_what_numpy_gives_for_the_whole(pixels, n_blocks):
    found = statistics_of(np.array_split(pixels, n_blocks))
    assert found.count == pixels.size
    assert found.mean == pytest.approx(pixels.mean(dtype=float), rel=1e-9)
    assert found.std == pytest.approx(pixels.std(dtype=float), rel=1e-5)
    assert (found.minimum, found.maximum) == (pixels.min(), pixels.max())


@pytest.mark.parametrize("pixels", PIXELS.values(), ids=PIXELS)
def test_quantiles_are_those_of_the_sorted_pixels(pixels):
    found = statistics_of(np.array_split(pixels, 3))
    exact = np.quantile(pixels.astype(float), QUANTILES, method="inverted_cdf")
    tolerance = 0 if pixels.dtype.kind in "iub" else 6e-4
    np.testing.assert_allclose(list(found.quantiles.values()), exact, rtol=tolerance)


@pytest.mark.parametrize("pixels", PIXELS.values(), ids=PIXELS)
@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_what_several_gathered_is_what_one_gathers_of_all(pixels, n_parts):
    joint = StatisticsAccumulator(QUANTILES)
    for part in [*np.array_split(pixels, n_parts), pixels[:0]]:
        own = StatisticsAccumulator(QUANTILES)
        own.add(part)
        joint.merge(own)
    found, whole = joint.result(), statistics_of([pixels])
    assert found.model_copy(update={"mean": 0, "std": 0}) == whole.model_copy(
        update={"mean": 0, "std": 0}
    )
    assert found.mean == pytest.approx(whole.mean, rel=1e-12)
    assert found.std == pytest.approx(whole.std, rel=1e-6)


def test_pixels_that_are_not_finite_are_counted_and_left_out():
    found = statistics_of([np.array([1.0, np.nan, 3.0, np.inf, -np.inf])])
    assert (found.count, found.not_finite, found.mean) == (2, 3, 2.0)


@given(
    arrays(np.float64, st.integers(2, 50), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(["zscore", "percentile", "minmax", "robust", "none"]),
)
def test_normalisations_return_to_grey_values(pixels, kind):
    rule = Rule(kind=kind, clip_sd=None)
    try:
        norm = rule.fit(statistics_of([pixels], rule.quantiles), what="A test")
    except PixelDataError:
        return
    back = norm.invert(norm.apply(pixels))
    np.testing.assert_allclose(back, pixels, atol=1e-6 * (np.abs(pixels).max() + norm.scale))


def test_zscore_has_mean_zero_and_sd_one():
    pixels = PIXELS["uint16 near the top"]
    normal = Rule().fit(statistics_of([pixels]), what="A test").apply(pixels)
    assert normal.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert normal.std(dtype=float) == pytest.approx(1, abs=1e-6)


def test_zscore_clips_at_fifteen_sd():
    pixels = np.zeros(10_000)
    pixels[0] = 1e6
    normal = Rule().fit(statistics_of([pixels]), what="A test").apply(pixels)
    assert normal.max() == 15.0


def test_normalisations_survive_json():
    norm = Normalisation(offset=0.1, scale=1 / 3, low=-15, high=15)
    assert Normalisation.model_validate_json(norm.model_dump_json()) == norm


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        pytest.param(
            [1.0, np.nan], "Plane 2 holds 1 NaN or infinite pixels.*Replace them", id="nan"
        ),
        pytest.param([7.0, 7.0], "Plane 2 is constant.*value 7.*Check that", id="constant"),
        pytest.param([], "Plane 2 has no pixels. Choose", id="empty"),
    ],
)
def test_pixels_that_cannot_be_normalised_are_refused(pixels, message):
    with pytest.raises(PixelDataError, match=message):
        Rule().fit(statistics_of([np.array(pixels)]), what="Plane 2")


def test_a_large_block_is_not_copied_in_double_precision():
    import tracemalloc

    block = np.random.default_rng(0).integers(0, 60_000, 1 << 23, dtype=np.uint16)
    tracemalloc.start()
    gather = StatisticsAccumulator((0.5,))
    gather.add(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * block.nbytes  # float64 alone would be four times as much, twice over
    assert gather.result().mean == pytest.approx(block.mean())
    assert gather.result().std == pytest.approx(block.std())


def test_values_too_large_to_square_are_refused():
    gather = StatisticsAccumulator()
    gather.add(np.array([1e300, -1e300, 5e299]))
    with pytest.raises(PixelDataError, match="^This holds grey values up to 1e\\+300, too large"):
        Rule().fit(gather.result(), what="This")


@pytest.mark.parametrize(
    ("share", "scaled_by"), [(0.1, "usual"), (0.29, "usual"), (0.31, "own"), (2.0, "own")]
)
def test_a_field_with_little_contrast_is_scaled_by_a_usual_one(share, scaled_by):
    pixels = np.array([100.0 - share, 100.0 + share])  # SD is the share
    gather = StatisticsAccumulator()
    gather.add(pixels)
    norm = Rule().fit(gather.result(), what="a field", typical_contrast=0.01)  # of 100: 1
    assert norm.offset == pytest.approx(100.0)
    assert norm.scale == pytest.approx(1.0 if scaled_by == "usual" else share)


def test_contrast_does_not_depend_on_the_gain_and_is_none_around_zero():
    def contrast(pixels):
        gather = StatisticsAccumulator()
        gather.add(pixels)
        return contrast_of(gather.result())

    pixels = np.random.default_rng(0).normal(1000, 50, 5000)
    assert contrast(pixels) == pytest.approx(contrast(pixels * 16))
    assert contrast(pixels - 1000) is None
    assert contrast(np.full(9, 7.0)) is None


def test_planes_together_are_like_one():
    rng = np.random.default_rng(0)
    planes = [rng.normal(5 * n, n + 1, (20, 30 + n)) for n in range(3)]
    gathered = []
    for plane in planes:
        gather = StatisticsAccumulator()
        gather.add(plane)
        gathered.append(gather.result())
    both = together(gathered)
    joined = np.concatenate([plane.ravel() for plane in planes])
    assert both.count == joined.size
    assert both.mean == pytest.approx(joined.mean())
    assert both.std == pytest.approx(joined.std())
    assert (both.minimum, both.maximum) == (joined.min(), joined.max())


def test_robust_is_the_median_and_the_interquartile_range():
    pixels = np.random.default_rng(0).gamma(2.0, 300.0, (60, 70)).astype(np.uint16)
    rule = Rule(kind="robust")
    gather = StatisticsAccumulator(quantiles=rule.quantiles)
    gather.add(pixels)
    norm = rule.fit(gather.result(), what="a test")
    first, median, third = np.percentile(pixels, (25, 50, 75), method="inverted_cdf")
    published = (pixels.astype(float) - median) / (float(third) - float(first) + 1e-8)
    np.testing.assert_allclose(norm.apply(pixels), published, atol=1e-6)


def test_robust_refuses_a_field_of_which_three_quarters_have_one_value():
    gather = StatisticsAccumulator(quantiles=Rule(kind="robust").quantiles)
    gather.add(np.r_[np.zeros(800), np.arange(200)])
    with pytest.raises(PixelDataError, match="nearly all pixels have the value 0"):
        Rule(kind="robust").fit(gather.result(), what="A field")


@pytest.mark.parametrize("kind", ["zscore", "minmax", "robust", "percentile"])
def test_pixels_that_may_be_missing_count_for_nothing(kind):
    rule = Rule(kind=kind)
    pixels = np.random.default_rng(0).normal(100, 20, 1000).astype(np.float32)
    gaps = np.insert(pixels, [0, 500], np.nan)

    def fitted(values, **how):
        seen = StatisticsAccumulator(rule.quantiles)
        seen.add(values)
        return rule.fit(seen.result(), what="stain", **how)

    with pytest.raises(PixelDataError, match="stain holds 2 NaN"):
        fitted(gaps)
    assert fitted(gaps, may_lack=True) == fitted(pixels)
