"""Gradients are finite differences, and what they add up to is the difference of two values."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.explain.gradcam import depths_of, grad_cam, middle_depth
from napari_virtualstain.explain.gradients import (
    flat_baseline,
    input_gradient,
    integrated_gradient,
    radius_of,
    smooth_gradient,
)
from napari_virtualstain.explain.probe import network_probe
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.scan import scan_reach

AT = (19, 21)


class Smooth(nn.Module):
    """A small network without corners, so that differences of any size tell its gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


@pytest.fixture(scope="module")
def planes():
    return np.random.default_rng(0).normal(size=(2, 40, 48)).astype(np.float32)


@pytest.fixture(scope="module")
def smooth(planes):
    return network_probe(Smooth().eval(), stain=1, example=planes)


@pytest.fixture(scope="module")
def unet(planes):
    module = build_generator("unet", in_channels=2, out_channels=2, preset="tiny").module().eval()
    return network_probe(module, stain=1, example=planes[:, :32, :32])


def test_a_gradient_is_a_finite_difference(smooth, planes):
    got = input_gradient(smooth, planes, AT)
    for plane, y, x in [(0, 19, 21), (1, 20, 22), (0, 18, 19), (1, 19, 24)]:
        more, less = planes.copy(), planes.copy()
        more[plane, y, x] += 0.01
        less[plane, y, x] -= 0.01
        wanted = (smooth.value(more, AT) - smooth.value(less, AT)) / 0.02
        assert got[plane, y, x] == pytest.approx(wanted, abs=2e-4)


def test_a_pixel_reacts_to_nothing_beyond_the_halo(unet, planes):
    halo = max(scan_reach(unet.module).halo)
    near = np.abs(input_gradient(unet, planes, AT)).sum(axis=0) > 0
    y, x = np.nonzero(near)
    assert near.any()
    assert max(np.abs(y - AT[0]).max(), np.abs(x - AT[1]).max()) <= halo


def test_without_noise_smoothgrad_is_the_gradient(smooth, planes):
    got = smooth_gradient(smooth, planes, AT, samples=2, noise=0.0)
    np.testing.assert_allclose(got, input_gradient(smooth, planes, AT), rtol=1e-5, atol=1e-7)


def test_smoothgrad_is_the_mean_over_noisy_pictures(smooth, planes):
    seen = []
    got = smooth_gradient(
        smooth, planes, AT, samples=3, noise=0.2, seed=5, on_step=lambda *told: seen.append(told)
    )
    random, total = np.random.default_rng(5), 0
    for _ in range(3):
        noise = random.standard_normal(planes.shape)
        spread = np.array([np.ptp(p) for p in planes])[:, None, None]
        total = total + input_gradient(
            smooth, (planes + 0.2 * spread * noise).astype(np.float32), AT
        )
    np.testing.assert_allclose(got, total / 3, rtol=1e-4, atol=1e-6)
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("network", ["smooth", "unet"])
def test_integrated_gradients_are_complete(request, planes, network):
    probe = request.getfixturevalue(network)
    found, missing = integrated_gradient(probe, planes, AT, steps=64)
    wanted = probe.value(planes, AT) - probe.value(flat_baseline(planes), AT)
    assert found.sum() == pytest.approx(wanted, rel=0.02)
    assert missing < 0.02 * abs(wanted)


def test_a_linear_network_needs_one_step(planes):
    probe = network_probe(nn.Conv2d(2, 1, 5, padding=2), stain=0, example=planes)
    found, missing = integrated_gradient(probe, planes, AT, steps=1)
    assert missing < 1e-4
    way = planes - flat_baseline(planes)
    np.testing.assert_allclose(found, input_gradient(probe, planes, AT) * way, rtol=1e-5)


def test_the_radius_holds_its_share():
    values = np.random.default_rng(2).random((31, 31)).astype(np.float32)
    y, x = np.indices(values.shape)
    far = np.hypot(y - 15, x - 15)
    for share in (0.1, 0.5, 0.95, 1.0):
        radius = radius_of(values, (15, 15), share)
        assert values[far <= radius].sum() >= share * values.sum() * (1 - 1e-5)
        assert values[far < radius].sum() < share * values.sum()
    assert np.isnan(radius_of(np.zeros((3, 3), np.float32), (1, 1), 0.5))


def test_grad_cam_is_the_sum_that_it_says(smooth, planes):
    module = smooth.module
    kept = module.first(torch.from_numpy(planes[None])).detach().requires_grad_()
    module.last(torch.tanh(kept))[0, 1, AT[0], AT[1]].backward()
    weight = kept.grad.mean(dim=(2, 3), keepdim=True)
    wanted = torch.relu((weight * kept).sum(dim=1))[0].detach().numpy()
    got = grad_cam(smooth, planes, AT, layer="first")
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-7)


def test_the_depths_of_a_unet_go_down_and_up(unet, planes):
    depths = depths_of(unet, planes)
    shrinks = [depth.shrink for depth in depths]
    deepest = middle_depth(depths)
    assert shrinks[0] == 1
    assert shrinks[deepest] == max(shrinks) > 1
    assert shrinks[: deepest + 1] == sorted(shrinks[: deepest + 1])
    assert all(a != b for a, b in pairwise(shrinks))
    for depth in depths:
        found = grad_cam(unet, planes, AT, layer=depth.layer)
        assert found.shape == planes.shape[1:]
        assert found.min() >= 0
        assert depth.layer in depth.words()


def test_a_layer_that_is_not_there_is_refused(unet, planes):
    with pytest.raises(SettingsError, match="no layer 'nowhere'.*--depth"):
        grad_cam(unet, planes, AT, layer="nowhere")


def test_a_network_without_derivatives_says_what_it_has(planes):
    class Elsewhere(nn.Module):
        def forward(self, x):
            return torch.from_numpy(2 * x.detach().numpy())

    probe = network_probe(Elsewhere(), stain=0, example=planes)
    assert probe.value(planes, AT) == 2 * planes[0][AT]
    assert probe.blind is None
    with pytest.raises(SettingsError, match="no gradients.*planes and occlusion.*--method"):
        input_gradient(probe, planes, AT)
