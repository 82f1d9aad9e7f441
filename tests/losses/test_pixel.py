"""Losses see only what was stained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.errors import UnknownNameError
from napari_virtualstain.losses.pixel import LOSSES, get_loss

TWINS = {"l1": torch.nn.functional.l1_loss, "l2": torch.nn.functional.mse_loss}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_without_missing_pixels_it_is_that_of_torch(name):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 5, 5)
    assert torch.allclose(get_loss(name)(a, b), TWINS[name](a, b))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_missing_pixels_weigh_nothing_and_have_no_gradient(name):
    a = torch.randn(1, 2, 4, 4, requires_grad=True)
    b = torch.randn(1, 2, 4, 4)
    b[0, 1] = float("nan")
    loss = get_loss(name)(a, b)
    loss.backward()
    assert torch.allclose(loss, TWINS[name](a[:, :1], b[:, :1]))
    assert torch.isfinite(a.grad).all()
    assert (a.grad[0, 1] == 0).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nothing_stained_is_no_loss(name):
    assert get_loss(name)(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), float("nan"))) == 0


def test_an_unknown_loss_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'l1'"):
        get_loss("l11")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_pixel_of_a_stain_of_weight_two_counts_as_two(name):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    b[0, 1] = float("nan")
    total, number = 0.0, 0.0
    for (sample, stain), weight in zip(np.ndindex(2, 3), [0.5, 2.0, 0.0] * 2, strict=True):
        if (sample, stain) != (0, 1):
            total += 16 * weight * float(TWINS[name](a[sample, stain], b[sample, stain]))
            number += 16 * weight
    found = get_loss(name)(a, b, weights=torch.tensor([0.5, 2.0, 0.0]))
    assert float(found) == pytest.approx(total / number, rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_equal_weights_change_nothing(name):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    b[1, 2] = float("nan")
    weighed = get_loss(name)(a, b, torch.full((3,), 0.25))
    torch.testing.assert_close(weighed, get_loss(name)(a, b))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nothing_that_has_weight_is_no_loss(name):
    a, b = torch.ones(1, 2, 2, 2, requires_grad=True), torch.zeros(1, 2, 2, 2)
    b[0, 0] = float("nan")
    loss = get_loss(name)(a, b, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss == 0
    assert (a.grad == 0).all()
