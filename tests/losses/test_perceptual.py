"""The distance of features is that of the formula, and knows nothing of their length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.losses.perceptual import feature_distance

RNG = np.random.default_rng(0)


def scales(*shapes):
    return [torch.from_numpy(RNG.normal(size=shape)) for shape in shapes]


@pytest.mark.parametrize("space", [(4, 6), (2, 4, 6)], ids=["planes", "volumes"])
def test_the_distance_is_the_mean_over_positions_and_scales(space):
    shapes = [(2, 5, *space), (2, 7, *space[1:], 3)]
    one, other = scales(*shapes), scales(*shapes)
    wanted = []
    for b in range(2):
        each = []
        for x, y in zip(one, other, strict=True):
            p = x[b].numpy().reshape(len(x[b]), -1)
            q = y[b].numpy().reshape(len(y[b]), -1)
            p, q = p / np.linalg.norm(p, axis=0), q / np.linalg.norm(q, axis=0)
            each.append(((p - q) ** 2).sum(0).mean())
        wanted.append(np.mean(each))
    np.testing.assert_allclose(feature_distance(one, other), wanted, rtol=1e-6)


def test_brighter_features_are_no_other_ones_and_opposite_ones_are_four_away():
    (one,) = scales((3, 5, 4, 4))
    np.testing.assert_allclose(feature_distance([one], [3 * one]), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(feature_distance([one], [-one]), np.full(3, 4.0), rtol=1e-6)


def test_nothing_at_all_has_a_finite_distance_and_gradient():
    nothing = torch.zeros(1, 5, 4, 4, requires_grad=True)
    (some,) = scales((1, 5, 4, 4))
    found = feature_distance([nothing], [some.float()])
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize("space", [(8, 12), (4, 8, 12)], ids=["planes", "volumes"])
def test_positions_count_by_the_share_of_their_pixels_that_is_known(space):
    one, other = scales((2, 5, *space)), scales((2, 5, *space))
    pixels = tuple(2 * n for n in space)
    known = torch.zeros(2, 1, *pixels, dtype=torch.float64)
    known[0, ..., :5] = 1  # two positions and a half
    unit = [x / x.norm(dim=1, keepdim=True) for x in (one[0], other[0])]
    each = (unit[0] - unit[1]).pow(2).sum(1)[0]
    columns = each.flatten(0, -2).mean(0)
    wanted = (columns[0] + columns[1] + 0.5 * columns[2]) / 2.5
    found = feature_distance(one, other, known)
    np.testing.assert_allclose(found, [float(wanted), 0.0], rtol=1e-6)
    whole = feature_distance(one, other, torch.ones_like(known))
    np.testing.assert_allclose(whole, feature_distance(one, other), rtol=1e-6)
