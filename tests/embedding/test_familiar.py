"""How far a field is from training fields: of which axes, on which side of which limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.embedding.familiar import (
    FEWEST_FIELDS,
    FieldPatches,
    block_numbers,
    conformal_limit,
    fit_index,
)
from napari_virtualstain.errors import PixelDataError

FEATURES = 24
ABOUT = {"model": "m", "weights": "w", "layer": "deep", "patch": (64, 64)}
MIX = np.random.default_rng(99).normal(size=(6, FEATURES))


def drawn(seed, *, moved=0.0, along=0, patches=36, pictures=True, group=""):
    """Patches of a field: six things vary from patch to patch, and a little from field to field."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(patches, 6)) + 0.15 * rng.normal(size=6) + moved * np.eye(6)[along]
    features = hidden @ MIX + 0.05 * rng.normal(size=(patches, FEATURES)) + 5
    side = int(patches**0.5)
    places = 64 * np.stack(np.indices((side, side)).reshape(2, -1), axis=1)
    return FieldPatches(
        name=f"f{seed}", features=features.astype(np.float32), places=places.astype(np.int32),
        blocks=np.zeros(patches, np.int32), group=group,
        light=rng.normal(size=(patches, 8, 8)).astype(np.float32) if pictures else None,
        stain=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def index():
    return fit_index([drawn(seed) for seed in range(40)], **ABOUT)


def judged(index, *, seeds, moved):
    found = [drawn(seed, moved=moved) for seed in seeds]
    return np.array([index.of_field(f.features, f.blocks).field for f in found])


def test_training_patches_vary_by_one_in_every_direction(index):
    features = np.concatenate([drawn(seed).features for seed in range(40)])
    codes = index.coordinates(features)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=1e-3)
    assert np.sqrt((index.distances(features) ** 2).mean()) == pytest.approx(1, abs=1e-3)


def test_fields_alike_stay_below_the_limit_and_moved_ones_exceed_it(index):
    alike = judged(index, seeds=range(100, 200), moved=0)
    assert (alike > index.field_limit).mean() < 0.12
    assert (judged(index, seeds=range(200, 230), moved=1.5) > index.field_limit).all()


def test_the_mean_of_a_field_shows_what_no_patch_shows(index):
    moved = [drawn(seed, moved=1.5) for seed in range(200, 230)]
    found = [index.of_field(f.features, f.blocks) for f in moved]
    assert np.mean([one.share for one in found]) < 0.2
    assert min(one.field for one in found) > index.field_limit


def test_a_strange_patch_is_beyond_the_limit_of_patches(index):
    field = drawn(300)
    features = field.features.copy()
    features[7] += 40 * np.random.default_rng(1).normal(size=FEATURES)
    found = index.of_field(features, field.blocks)
    assert found.patches[7] > index.patch_limit
    assert found.share == pytest.approx((found.patches > index.patch_limit).mean())
    assert index.of_field(field.features, field.blocks).patches[7] < found.patches[7]


def test_the_median_of_its_parts_judges_a_large_field(index):
    good, bad = drawn(400), drawn(401, moved=4)
    features = np.concatenate([good.features, good.features, bad.features])
    blocks = np.repeat([0, 1, 2], 36).astype(np.int32)
    one = index.of_field(good.features, good.blocks)
    assert index.of_field(features, blocks).field == pytest.approx(one.field, rel=1e-5)


def test_a_patch_that_is_kept_is_its_own_nearest(index):
    source = int(index.sources[3])
    field = drawn(source)
    at = next(n for n, p in enumerate(field.places) if tuple(p) == tuple(index.places[3]))
    near = index.nearest(field.features[at], 4)
    assert near[0][0] == 3
    assert near[0][1] == pytest.approx(0, abs=1e-3)
    assert [apart for _, apart in near] == sorted(apart for _, apart in near)


def test_kept_patches_are_spread_over_all_fields_with_their_pictures():
    found = fit_index([drawn(seed) for seed in range(8)], **ABOUT, most=24)
    assert np.bincount(found.sources).tolist() == [3] * 8
    assert found.light.shape == (24, 8, 8)
    assert found.light.dtype == np.uint8
    assert found.stain.size == 0
    assert found.fields[int(found.sources[-1])] == "f7"


def test_without_pictures_none_are_kept():
    found = fit_index([drawn(seed, pictures=False) for seed in range(8)], **ABOUT)
    assert found.light.size == 0


def test_fields_that_taught_nothing_count_for_the_limits_alone():
    fields = [drawn(seed) for seed in range(20)]
    plain = fit_index(fields, **ABOUT)
    wide = fit_index(fields, [drawn(seed, moved=3) for seed in range(50, 56)], **ABOUT)
    np.testing.assert_array_equal(plain.basis, wide.basis)
    assert (plain.fitted, wide.fitted, wide.held_out) == (20, 20, 6)
    assert wide.field_limit > 2 * plain.field_limit


def test_a_group_is_left_out_as_a_whole():
    # Each of 6 plates differs from the others in its own way: without the plate nobody knows it.
    fields = [
        drawn(seed, moved=4.0, along=seed % 6, group=f"plate {seed % 6}") for seed in range(36)
    ]
    alone = [replace(field, group="") for field in fields]
    assert fit_index(fields, **ABOUT).field_limit > 1.2 * fit_index(alone, **ABOUT).field_limit


def test_the_share_of_alarms_is_that_which_few_fields_allow():
    assert fit_index([drawn(n) for n in range(79)], **ABOUT).alarms == pytest.approx(0.05)
    assert fit_index([drawn(n) for n in range(9)], **ABOUT).alarms == pytest.approx(0.2)


def test_too_few_fields_are_refused():
    with pytest.raises(PixelDataError, match=r"5 fields do not tell.*Give at least 6"):
        fit_index([drawn(n) for n in range(FEWEST_FIELDS - 1)], **ABOUT)


def test_a_network_that_makes_the_same_of_everything_is_refused():
    flat = [replace(drawn(n), features=np.full((36, FEATURES), 2, np.float32)) for n in range(8)]
    with pytest.raises(PixelDataError, match="makes the same of all patches"):
        fit_index(flat, **ABOUT)


@pytest.mark.parametrize(
    ("shape", "parts"), [((64, 64), 1), ((512, 512), 1), ((1024, 512), 2), ((2048, 2048), 16)]
)
def test_parts_of_a_field_are_about_eight_patches_wide(shape, parts):
    places = np.stack(np.meshgrid(*(np.arange(0, n, 64) for n in shape), indexing="ij"), -1)
    found = block_numbers(places.reshape(-1, 2).astype(np.int32), shape, 64)
    counts = np.bincount(found)
    assert len(counts) == parts
    assert counts.min() == counts.max()


@given(
    scores=st.lists(st.floats(0, 10, width=32), min_size=1, max_size=60),
    alarms=st.floats(0.01, 0.5),
)
def test_no_more_than_the_stated_share_exceeds_a_limit(scores, alarms):
    limit, share = conformal_limit(scores, alarms)
    above = sum(score > limit for score in scores)
    # Of a further score that may take any rank among n + 1.
    assert (above + 1) / (len(scores) + 1) <= share + 1e-9 or above == 0
    assert limit in [np.float64(score) for score in scores]
    assert share >= alarms or share == pytest.approx(alarms)


def test_one_strange_patch_of_a_small_field_is_no_alarm_and_two_are(index):
    def share(count):
        field = drawn(500, patches=16)
        features = field.features.copy()
        features[:count] += 60 * np.random.default_rng(1).normal(size=FEATURES)
        return index.over_limits(index.of_field(features, field.blocks))[1]

    assert share(1) < 1 < share(2)
