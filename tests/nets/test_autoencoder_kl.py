"""The autoencoder equals a plain twin, has the published names, and is widened as it says."""

from __future__ import annotations

import kl_twin as twin
import pytest
import torch
from state_names import names_and_shapes

from napari_virtualstain.errors import ModelPackageError, PixelDataError, SettingsError
from napari_virtualstain.inference.norms import unit_statistics, with_statistics
from napari_virtualstain.inference.scan import Reach, scan_reach
from napari_virtualstain.nets.autoencoder_kl import AutoencoderKL, Posterior
from napari_virtualstain.nets.widening import widen_channels


def tiny(in_channels=3, out_channels=None, **settings):
    torch.manual_seed(0)
    kept = {"width": 8, "multipliers": (1, 2, 2), "groups": 4, "latent": 2} | settings
    return AutoencoderKL(in_channels, out_channels, **kept)


def pixels(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_weights_have_the_names_shapes_and_number_of_the_published_ones():
    with torch.device("meta"):
        net = AutoencoderKL(3)
        assert net.encode(torch.empty(1, 3, 64, 128)).mean.shape == (1, 4, 8, 16)
        assert net(torch.empty(1, 3, 64, 128)).shape == (1, 3, 64, 128)
    assert sum(p.numel() for p in net.parameters()) == 83_653_863
    names = "50f3b11a29b7157160b560d7d5f6efb72f882aec8c53fda4aeb592ed800e4e5f"
    assert names_and_shapes(net) == names


WAYS = {
    "three sizes": {},
    "planes to stains": {"out_channels": 5, "blocks": 1, "multipliers": (1, 3)},
    "without attention": {"attention": False, "multipliers": (1, 2)},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_codes_and_pictures_are_those_of_a_plain_twin(way, shaken):
    net = shaken(tiny(**way))
    w, sizes = net.state_dict(), len(way.get("multipliers", (1, 2, 2)))
    settings = {"groups": 4, "sizes": sizes, "blocks": way.get("blocks", 2)}
    x = pixels(2, 3, 8, 16)
    with torch.no_grad():
        mean, logvar = twin.encoded(x, w, **settings)
        posterior = net.encode(x)
        torch.testing.assert_close(posterior.mean, mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(posterior.logvar, logvar, rtol=1e-5, atol=1e-5)
        wanted = twin.decoded(mean, w, **settings)
        torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-5)
    assert net(x).shape == (2, way.get("out_channels", 3), 8, 16)


def test_a_unit_of_pictures_is_what_it_is_said_to_be_in_the_network():
    net, other = tiny(), tiny(unit=0.5)
    x = pixels(1, 3, 8, 16)
    with torch.no_grad():
        torch.testing.assert_close(other(x), 2 * net(0.5 * x))
        torch.testing.assert_close(other(x), other.decode(other.encode(x).mode()))
        torch.testing.assert_close(other.encode(x).logvar, net.encode(0.5 * x).logvar)


def test_a_posterior_has_the_moments_that_it_says():
    mean = torch.tensor([-1.0, 3.0]).reshape(1, 2, 1, 1).expand(1, 2, 200, 200)
    logvar = torch.tensor([-2.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 200, 200)
    believed = Posterior(mean, logvar)
    drawn = believed.sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn, believed.sample(torch.Generator().manual_seed(0)))
    assert believed.mode() is mean
    for n, (middle, spread) in enumerate([(-1.0, torch.e**-1), (3.0, torch.e**0.5)]):
        assert float(drawn[0, n].mean()) == pytest.approx(middle, abs=4 * spread / 200)
        assert float(drawn[0, n].std()) == pytest.approx(spread, rel=0.02)


def test_variances_are_kept_from_nothing_and_from_overflow():
    net = tiny()
    with torch.no_grad():
        net.quant_conv.weight.zero_()
        net.quant_conv.bias.copy_(torch.tensor([0.0, 0.0, -100.0, 100.0]))
    logvar = net.encode(pixels(1, 3, 8, 8)).logvar
    assert logvar[0, :, 0, 0].tolist() == [-30.0, 20.0]


def test_a_draw_teaches_mean_and_variance():
    net = tiny()
    net.decode(net.encode(pixels(1, 3, 8, 8)).sample()).square().mean().backward()
    assert (net.quant_conv.weight.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert net.last_layer.grad.abs().max() > 0


BAD = {
    "an odd size": (
        lambda: tiny().encode(pixels(1, 3, 8, 10)), PixelDataError, "multiples of 4 px"
    ),
    "groups that do not fit": (lambda: AutoencoderKL(3, width=40), SettingsError, "multiple of"),
    "weights of something else": (
        lambda: widen_channels({"x": torch.zeros(1)}, 3, 3), ModelPackageError, "no 'encoder"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "words"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("how", ["mean", "repeat", "zero"])
@pytest.mark.parametrize("channels", [(7, 5), (3, 3), (1, 2)], ids=str)
def test_widened_weights_fit_and_the_rest_is_untouched(how, channels):
    state = tiny().state_dict()
    before = {name: value.clone() for name, value in state.items()}
    found = widen_channels(state, *channels, how=how)
    tiny(*channels).load_state_dict(found, strict=True)
    changed = {name for name in state if found[name] is not state[name]}
    ends = {"encoder.conv_in.weight", "decoder.conv_out.weight", "decoder.conv_out.bias"}
    assert changed == ends
    assert all(torch.equal(state[name], value) for name, value in before.items())


def widened(how, in_channels, out_channels):
    net = tiny(in_channels, out_channels).eval()
    net.load_state_dict(widen_channels(tiny().state_dict(), in_channels, out_channels, how=how))
    return net


@pytest.mark.parametrize(("how", "count"), [("mean", 1), ("mean", 7), ("repeat", 6)])
def test_a_picture_of_equal_channels_has_the_code_it_had(how, count):
    x = pixels(1, 1, 8, 8)
    with torch.no_grad():
        wanted = tiny().eval().encode(x.expand(1, 3, 8, 8)).mean
        found = widened(how, count, 3).encode(x.expand(1, count, 8, 8)).mean
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_channels_beyond_the_published_ones_are_what_was_asked_for():
    code, x = pixels(1, 2, 2, 2), pixels(1, 3, 8, 8)
    with torch.no_grad():
        old = tiny().eval().decode(code)
        mean, repeat, zero = (widened(how, 3, 5).decode(code) for how in ("mean", "repeat", "zero"))
        seen = widened("zero", 5, 3).encode(torch.cat([x, pixels(1, 2, 8, 8, seed=1)], 1)).mean
        torch.testing.assert_close(seen, tiny().eval().encode(x).mean)
    torch.testing.assert_close(mean, old.mean(1, keepdim=True).expand(1, 5, 8, 8))
    torch.testing.assert_close(repeat, old[:, [0, 1, 2, 0, 1]])
    torch.testing.assert_close(zero[:, :3], old)
    assert not zero[:, 3:].any()


@pytest.mark.parametrize("sizes", [2, 3])
def test_a_row_lights_what_looks_at_it_and_nothing_further_away(sizes):
    """Nothing cancels in a network without negative weights, and nothing is lost in rounding."""
    net = tiny(1, multipliers=(1,) * sizes, width=2, groups=1, blocks=1, attention=False).double()
    net = with_statistics(net, unit_statistics(net), 2)
    for name, value in net.named_parameters():
        torch.nn.init.constant_(value, 0.0 if name.endswith("bias") else 0.3)
    (halo, stride), middle = tiny(multipliers=(1,) * sizes, blocks=1).approximate_reach, 120
    assert scan_reach(net) == Reach((halo, halo), (stride, stride))
    far = 0
    for row in range(middle, middle + stride):
        x = torch.zeros(1, 1, 2 * middle, stride, dtype=torch.float64)
        x[:, :, row] = 1
        with torch.no_grad():
            lit = torch.nonzero(net(x).abs().amax(dim=(0, 1, 3))).flatten()
        far = max(far, row - int(lit.min()), int(lit.max()) - row)
    assert far == halo


def test_tiles_without_attention_are_the_whole_once_statistics_are():
    reach = scan_reach(tiny(attention=False))
    assert (reach.kind, reach.how) == ("statistics", "graph")


def test_tiles_of_it_are_said_to_be_an_approximation():
    reach = scan_reach(tiny())
    assert (reach.kind, reach.halo, reach.multiple_of) == ("approximate", (121, 121), (4, 4))
