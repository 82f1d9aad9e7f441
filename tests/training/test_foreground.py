"""Of sparse cells, patches are drawn where cells are; the rest lies anywhere, decided by the step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.intensity import Rule
from napari_virtualstain.training.foreground import find_foreground
from napari_virtualstain.training.patches import draw_batch


def sparse(*places, shape=(160, 192), name="f"):
    """A field of noise whose stain is bright in squares of 16 px."""
    rng = np.random.default_rng(0)
    planes = rng.normal(100, 10, (2, *shape)).astype(np.float32)
    stain = rng.normal(10, 0.1, (1, *shape)).astype(np.float32)
    for y, x in places:
        stain[..., y : y + 16, x : x + 16] += 100
    return PairedField(name, planes, stain)


def paired(*fields):
    return pair_up(fields, input_rule=Rule(), output_rule=Rule(clip_sd=None), stain_names=("a",))


def share_with_cells(pairs, share, patch=(32, 32), steps=40):
    foreground = find_foreground(pairs)
    seen = [
        (stains > 2).any(axis=(1, 2, 3))
        for step in range(steps)
        for stains in [
            draw_batch(
                pairs, step=step, batch=8, patch=patch, augment=True, seed=0,
                foreground=foreground, share=share,
            )[1]
        ]
    ]  # fmt: skip
    return float(np.mean(seen))


def test_patches_are_drawn_where_cells_are_as_often_as_is_said():
    pairs = paired(sparse((128, 160)))
    anywhere, half, always = (share_with_cells(pairs, s) for s in (0.0, 0.5, 1.0))
    assert anywhere < 0.15
    assert always > 0.95
    assert half == pytest.approx((anywhere + always) / 2, abs=0.1)


def test_a_field_without_cells_is_drawn_by_the_rest_alone():
    pairs = paired(sparse((64, 64), name="cells"), sparse(name="empty"))
    foreground = find_foreground(pairs)
    drawn = [
        draw_batch(
            pairs, step=n, batch=8, patch=(32, 32), augment=False, seed=1, foreground=foreground,
            share=1.0,
        )[2]
        for n in range(20)
    ]  # fmt: skip
    assert np.mean(drawn) < 0.05


def test_blocks_are_the_shares_of_bright_pixels():
    """A stupid twin: block by block, the last of them cut."""
    pairs = paired(sparse((8, 20), (100, 100), shape=(150, 170)))
    (blocks,) = find_foreground(pairs).blocks
    _, stains = pairs.read(0, (slice(0, 150), slice(0, 170)))
    bright = np.zeros((160, 176))
    bright[:150, :170] = stains[0] > 0
    expected = [
        [bright[y : y + 16, x : x + 16].mean() for x in range(0, 176, 16)]
        for y in range(0, 160, 16)
    ]
    np.testing.assert_allclose(blocks, expected)


@given(
    height=st.integers(8, 70), width=st.integers(8, 70), edge=st.integers(8, 64),
    depth=st.sampled_from([None, 1, 5]), cells=st.integers(0, 2), seed=st.integers(0, 5),
)  # fmt: skip
def test_a_patch_lies_in_its_field_whatever_the_sizes(height, width, edge, depth, cells, seed):
    edge = min(edge, height, width)
    shape = (height, width) if depth is None else (depth, height, width)
    patch = (edge, edge) if depth is None else (1, edge, edge)
    rng = np.random.default_rng(seed)
    planes = rng.normal(size=(1, *shape)).astype(np.float32)
    stain = rng.normal(size=(1, *shape)).astype(np.float32)
    stain[..., : 4 * cells, : 4 * cells] += 50
    if cells == 2:
        stain[..., -3:] = np.nan
    pairs = paired(PairedField("f", planes, stain))
    drawn, truth, _ = draw_batch(
        pairs, step=seed, batch=3, patch=patch, augment=True, seed=seed,
        foreground=find_foreground(pairs), share=1.0,
    )  # fmt: skip
    assert drawn.shape == truth.shape == (3, 1, *patch)
