"""Maps of attention are rows of the whole matrix, and masks hold the mass that they say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.explain.attention import (
    agreement,
    attention_maps,
    enlarged,
    rollout_map,
    token_at,
    top_mass,
)


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("dino", in_channels=2, preset="tiny", seed=3)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).normal(size=(2, 24, 40)).astype(np.float32)


def matrices(encoder, picture):
    """Return the whole softmax matrix of each block, head by head: (blocks, H, N, N)."""
    net, found = encoder.module().eval(), []
    with torch.no_grad():
        x = net.tokens(torch.from_numpy(picture[None]))
        for block in net.blocks:
            n, dim = x.shape[1:]
            query, key, _ = (
                block.attn.qkv(block.norm1(x)).reshape(n, 3, encoder.heads, -1).unbind(1)
            )
            scores = torch.einsum("nhd,mhd->hnm", query, key) / (dim / encoder.heads) ** 0.5
            found.append(torch.softmax(scores, dim=-1).numpy())
            x = block(x)
    return np.stack(found)


@pytest.mark.parametrize("token", [0, 1, 7], ids=["picture", "first patch", "eighth"])
@pytest.mark.parametrize("block", [0, 1, -1])
def test_maps_are_rows_of_the_whole_matrix(encoder, picture, block, token):
    wanted = matrices(encoder, picture)[block][:, token, 1:].reshape(-1, 3, 5)
    got = attention_maps(encoder, picture, block=block, token=token)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("token", [0, 7], ids=["picture", "a patch"])
@pytest.mark.parametrize("held", [1, 1 << 26], ids=["row by row", "at once"])
def test_rollout_is_the_product_of_whole_matrices(encoder, picture, monkeypatch, token, held):
    monkeypatch.setattr("napari_virtualstain.nets.vit._HELD_BYTES", held)
    product = np.eye(16)
    for matrix in matrices(encoder, picture):
        product = (matrix.mean(axis=0) + np.eye(16)) / 2 @ product
    got = rollout_map(encoder, picture, token=token)
    np.testing.assert_allclose(got, product[token, 1:].reshape(3, 5), atol=1e-6)


def test_a_pixel_lies_in_the_patch_that_its_token_is_of():
    shape, patch = (24, 40), 8
    order = np.arange(15).reshape(3, 5)
    for y in range(24):
        for x in range(40):
            assert token_at((y, x), shape, patch) == 1 + order[y // 8, x // 8]


@pytest.mark.parametrize("at", [(24, 0), (0, 40), (-1, 3)])
def test_a_pixel_outside_of_whole_patches_is_refused(at):
    with pytest.raises(SettingsError, match="outside.*--at"):
        token_at(at, (24, 40), 8)


def published_mask(values, fraction):
    """Return what `visualize_attention.py` of DINO keeps, of one map."""
    flat = values.ravel().astype(np.float64) / values.sum(dtype=np.float64)
    order = np.argsort(flat, kind="stable")
    kept = np.cumsum(flat[order]) > 1 - fraction
    return kept[np.argsort(order, kind="stable")].reshape(values.shape)


@given(
    arrays(np.float32, (4, 5), elements=st.floats(0.0625, 1, width=32)),
    st.sampled_from([0.1, 0.25, 0.6, 0.9]),
)
def test_a_mask_holds_its_fraction_with_the_fewest_patches(values, fraction):
    mask = top_mass(values, fraction)
    total = values.sum(dtype=np.float64)
    held = values[mask].sum(dtype=np.float64)
    assert held >= fraction * total * (1 - 1e-6)
    assert held - values[mask].min() < fraction * total * (1 + 1e-6)
    assert values[mask].min() >= (values[~mask].max() if (~mask).any() else 0)
    differs = mask != published_mask(values, fraction)
    # Only where rounding decides whether exactly the fraction is held.
    assert differs.sum() <= 1


def test_each_head_has_a_mask_of_its_own():
    values = np.stack([np.arange(1.0, 7).reshape(2, 3), np.arange(6.0, 0, -1).reshape(2, 3)])
    masks = top_mass(values.astype(np.float32), 0.5)
    assert masks[0].tolist() == masks[1][::-1, ::-1].tolist()


@pytest.mark.parametrize("fraction", [0, 50, -0.1])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(SettingsError, match="between 0 and 1.*--mass"):
        top_mass(np.ones((2, 2), np.float32), fraction)


def test_a_patch_becomes_a_square():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert enlarged(values, 4).shape == (8, 12)
    assert (enlarged(values, 4)[4:8, 8:12] == 5).all()


def test_a_map_agrees_with_itself_and_with_no_other():
    random = np.random.default_rng(1)
    one, other = random.random((2, 40, 40)).astype(np.float32)
    same, none = agreement(one, one, 0.6), agreement(one, other, 0.6)
    assert (same.rank, same.overlap) == (1, 1)
    assert abs(none.rank) < 0.1
    assert none.overlap == pytest.approx(none.chance, abs=0.05)
    assert "Spearman 1.00" in same.words()
    assert "60%" in same.words()
