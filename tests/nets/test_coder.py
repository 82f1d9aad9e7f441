"""Codes of a coder have mean 0 and SD 1, mean what they meant, and its halves look as far as it says."""

from __future__ import annotations

import kl_twin as twin
import numpy as np
import pytest
import torch
from torch import nn

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.inference.scan import Reach, scan_reach
from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL
from napari_virtualstain.nets.coder import Beside, Coder, CodeScale, LatentStep


def made(channels=3, **settings):
    torch.manual_seed(0)
    kept = {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "latent": 4} | settings
    return Coder(AutoencoderKL(channels, **kept)).eval()


def pixels(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_measured_codes_have_mean_0_and_sd_1_and_mean_what_they_meant():
    coder, x = made(unit=0.5), pixels(3, 3, 16, 24)
    with torch.no_grad():
        before = coder.code(x)
        torch.testing.assert_close(before, coder.autoencoder.encode(x).mode())
        coder.scale.measure([before])
        after = coder.code(x)
        torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
        spread = after.std((0, 2, 3), correction=0)
        torch.testing.assert_close(spread, torch.ones(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(coder.paint(after), coder.autoencoder(x), atol=1e-5, rtol=1e-5)
    assert after.shape == (3, 4, 8, 12)


def test_codes_and_pictures_are_those_of_a_plain_twin(shaken):
    coder, x = shaken(made(unit=0.5)), pixels(2, 3, 8, 16)
    w, settings = coder.autoencoder.state_dict(), {"groups": 4, "sizes": 2, "blocks": 1}
    coder.scale.measure([2 + 3 * pixels(2, 4, 8, 8)])
    mean, sd = coder.scale.mean, coder.scale.sd
    with torch.no_grad():
        likeliest, _ = twin.encoded(0.5 * x, w, **settings)
        code = coder.code(x)
        torch.testing.assert_close(code, (likeliest - mean) / sd, rtol=1e-5, atol=1e-5)
        painted = twin.decoded(code * sd + mean, w, **settings) / 0.5
        torch.testing.assert_close(coder.paint(code), painted, rtol=1e-5, atol=1e-5)


def test_a_scale_is_that_of_all_that_it_is_shown_also_where_devices_share_it():
    codes = [3 + 2 * pixels(2, 4, 5, 6), pixels(1, 4, 9, 3, seed=1)]
    together = np.concatenate([c.transpose(0, 1).flatten(1).numpy() for c in codes], axis=1)
    scale = CodeScale(4)
    scale.measure(codes)
    np.testing.assert_allclose(scale.mean.flatten(), together.mean(1), rtol=1e-5)
    np.testing.assert_allclose(scale.sd.flatten(), together.std(1), rtol=1e-5)
    shared = CodeScale(4)

    def others(sums):  # as of another device that saw the second
        count = codes[1][:, 0].numel()
        flat = codes[1].double().transpose(0, 1).flatten(1)
        sums[0] += torch.stack([torch.full((4,), count), flat.sum(1), flat.square().sum(1)])

    shared.measure(codes[:1], others)
    torch.testing.assert_close(shared.mean, scale.mean)
    torch.testing.assert_close(shared.sd, scale.sd)


def test_what_hardly_differs_is_not_blown_up():
    code = pixels(2, 4, 5, 6)
    code[:, 1] = 7.0
    scale = CodeScale(4)
    scale.measure([code])
    assert float(scale.sd[0, 1]) == pytest.approx(0.01 * float(scale.sd.max()))
    scale.measure([torch.zeros(1, 4, 2, 2)])
    assert (scale.sd > 0).all()


def test_a_scale_is_kept_with_the_weights_and_can_be_forgotten():
    coder = made()
    coder.scale.measure([5 * pixels(2, 4, 5, 6)])
    other = made()
    other.load_state_dict(coder.state_dict())
    assert other.scale.measured
    assert torch.equal(other.scale.sd, coder.scale.sd)
    other.scale.forget()
    assert not other.scale.measured
    assert torch.equal(other.scale.sd, torch.ones(1, 4, 1, 1))


def test_no_gradient_moves_a_scale():
    coder = made()
    coder.paint(coder.code(pixels(1, 3, 8, 8))).sum().backward()
    moved = {name for name, weight in coder.named_parameters() if weight.grad is not None}
    assert moved
    assert not {name for name in moved if name.startswith("scale.")}


@pytest.mark.parametrize(("sizes", "blocks"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_each_half_looks_as_far_as_is_said(sizes, blocks):
    coder = made(1, width=2, multipliers=(1,) * sizes, groups=1, blocks=blocks, attention=False)
    step, (before, after) = coder.autoencoder.multiple_of, coder.autoencoder.margins
    # Brought to the size of the pictures by what looks at one pixel only.
    grown = nn.Sequential(coder.encoder(), nn.Upsample(scale_factor=step))
    shrunk = nn.Sequential(nn.MaxPool2d(1, stride=step), coder.decoder())
    for network, far in ((grown, before), (shrunk, after)):
        assert scan_reach(network) == Reach((far, far), (step, step), "statistics")


@pytest.mark.parametrize("attention", [False, True])
def test_a_step_among_codes_is_read_in_pixels(attention):
    given, painted = made(3, attention=attention), made(5, attention=attention)
    inner, x = nn.Conv2d(4 + 12 + 4, 4, 5, padding=2), pixels(1, 3, 16, 24)
    network = LatentStep(Beside(given), inner, (given, painted), reach=2, multiple_of=1)
    with torch.no_grad():
        code = given.code(x)
        blocks = x.reshape(1, 3, 8, 2, 12, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 12, 8, 12)
        wanted = painted.paint(inner(torch.cat([code, blocks, code], dim=1)))
        torch.testing.assert_close(network(x), wanted)
    reach = scan_reach(network)
    assert reach.kind == ("approximate" if attention else "statistics")
    assert reach.multiple_of == (2, 2)
    most = given.autoencoder.margins[0] + 2 * 2 + painted.autoencoder.margins[1]
    # Told by hand it is a little more: two roundings to the grid of codes, and not one.
    assert most - 2 <= reach.halo[0] <= most


def test_an_odd_size_is_refused_in_a_sentence():
    with pytest.raises(PixelDataError, match="multiples of 2 px"):
        made().code(pixels(1, 3, 8, 9))
