"""A network that takes certain sizes gives for any picture what it would give if it took it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from napari_virtualstain.nets.any_size import AnySize


def plain():
    """Looks 2 px around a pixel, at any size."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


def strided():
    """Looks less than 12 px around a pixel, in steps of 4."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
        nn.Upsample(scale_factor=4), nn.Conv2d(4, 3, 1),
    )  # fmt: skip


class Only(nn.Module):
    """Takes the sizes that it says and no other."""

    def __init__(self, inner, sizes):
        super().__init__()
        self.inner, self.sizes, self.seen = inner, sizes, []

    def forward(self, x):
        for n, (least, step) in zip(x.shape[2:], self.sizes, strict=True):
            assert n == least if step == 0 else n >= least and (n - least) % step == 0
        self.seen.append(tuple(x.shape))
        return self.inner(x)


def wrapped(inner, sizes, halo=0, multiple_of=1, **more):
    return AnySize(
        Only(inner, sizes), in_channels=2, sizes=sizes, halo=halo, multiple_of=multiple_of, **more
    )


def picture(*edges):
    rng = np.random.default_rng(sum(edges))
    return torch.from_numpy(rng.normal(size=(2, 2, *edges)).astype(np.float32))


def filled_up(net, x, edges):
    """The stupid twin: zeros at the far end, the whole picture at once, cut off again."""
    pad = [(0, e - n) for n, e in zip(x.shape[2:], edges, strict=True)]
    y = net(functional.pad(x, [n for pair in reversed(pad) for n in pair]))
    return y[..., : x.shape[2], : x.shape[3]]


@torch.no_grad()
@given(st.integers(12, 70), st.integers(12, 70))
@settings(max_examples=25)
def test_windows_of_one_size_make_what_the_whole_picture_would(height, width):
    x, sizes = picture(height, width), ((12, 0), (12, 0))
    net = wrapped(plain(), sizes, halo=2)
    torch.testing.assert_close(net(x), plain()(x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_windows_begin_on_the_stride():
    x, sizes = picture(80, 68), ((32, 0), (40, 0))
    net = wrapped(strided(), sizes, halo=11, multiple_of=4)
    torch.testing.assert_close(net(x), strided()(x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_halo_that_is_too_small_is_seen():
    """So that the two above say something."""
    x = picture(80, 68)
    net = wrapped(strided(), ((32, 0), (40, 0)), halo=2, multiple_of=4)
    assert (net(x) - strided()(x)).abs().max() > 0.01


FILLED = {
    "smaller than the only size": (((12, 0), (12, 0)), (7, 9), (12, 12)),
    "smaller than the smallest": (((12, 4), (8, 4)), (5, 7), (12, 8)),
    "between two steps": (((12, 4), (8, 4)), (13, 16), (16, 16)),
    "one axis of each": (((12, 0), (8, 8)), (10, 17), (12, 24)),
    "a size that is taken": (((12, 4), (8, 4)), (16, 12), (16, 12)),
}


@pytest.mark.parametrize(("sizes", "edges", "filled"), FILLED.values(), ids=FILLED)
@torch.no_grad()
def test_a_picture_of_another_size_is_filled_up(sizes, edges, filled):
    x = picture(*edges)
    net = wrapped(plain(), sizes, halo=2)
    torch.testing.assert_close(net(x), filled_up(plain(), x, filled))
    assert net.inner.seen == [(2, 2, *filled)]


@torch.no_grad()
def test_steps_before_and_after_are_done_pixel_by_pixel():
    x = picture(9, 11)
    net = AnySize(
        nn.Identity(), in_channels=2, sizes=((1, 1), (1, 1)), halo=0, multiple_of=1,
        before=[("linear", [2.0, 3.0], [1.0, -1.0]), ("clip", -1.0, None)],
        after=[("sigmoid",), ("linear", 10.0, 5.0)],
    )  # fmt: skip
    scaled = np.maximum(
        x.numpy() * np.array([2, 3])[:, None, None] + np.array([1, -1])[:, None, None], -1
    )
    np.testing.assert_allclose(net(x), 10 / (1 + np.exp(-scaled)) + 5, rtol=1e-5)


def test_a_step_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="nothing is known of 'softmax'"):
        wrapped(plain(), ((8, 0), (8, 0)), after=[("softmax",)])


@torch.no_grad()
def test_a_stack_is_filled_up_along_z_too():
    torch.manual_seed(0)
    conv = nn.Conv3d(1, 2, 3, padding=1)
    net = AnySize(conv, in_channels=1, sizes=((4, 4), (8, 8), (8, 8)), halo=1, multiple_of=8)
    x = torch.randn(1, 1, 5, 11, 8)
    wanted = conv(functional.pad(x, (0, 0, 0, 5, 0, 3)))[:, :, :5, :11]
    torch.testing.assert_close(net(x), wanted)
    assert net.spatial_axes == 3
