"""A network made ready to run predicts what it predicted, and knows what it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import NETS, trained, volume
from torch import nn

from napari_virtualstain.inference.network import check_precision, prepare_network


def image(shape, n_p=2):
    return np.random.default_rng(0).normal(size=(1, n_p, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_it_predicts_what_the_generators_network_predicts(name):
    model = trained(NETS[name])
    pixels = image((32, 48))
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels)).numpy()
    got = prepare_network(model).forward(pixels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5 * float(np.ptp(expected)))


def test_the_model_that_was_given_stays_as_it_is():
    model = trained(NETS["overlapping"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepare_network(model, precision="bfloat16")
    assert model.training
    assert any(getattr(part, "inplace", False) for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bfloat16_is_near_float32_and_its_distance_is_measured():
    model = trained(NETS["unet"])
    full, half = prepare_network(model), prepare_network(model, precision="bfloat16")
    pixels = image((64, 64))
    error = check_precision(half, full, pixels)
    wanted, got = full.forward(pixels), half.forward(pixels)
    assert error == pytest.approx(np.abs(wanted - got).max() / np.ptp(wanted))
    assert 1e-4 < error < 0.1


def test_bytes_of_a_forward_pass_are_those_of_its_largest_moment():
    # In, and out of 4 channels: 64 x 64 x (2 + 4) x 4 bytes; then out and its copy.
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    assert prepare_network(net).forward_bytes((64, 64)) == 64 * 64 * (4 + 4) * 4


def test_bytes_grow_with_the_pixels():
    network = prepare_network(trained(NETS["unet"]))
    assert network.forward_bytes((128, 128)) == 4 * network.forward_bytes((64, 64))
    wide, narrow = (network.stream_bytes((512, w), band=16) for w in (128, 64))
    assert wide == 2 * narrow


class Wild(nn.Module):
    """Cannot be traced: what it does depends on what it sees."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x) if x.mean() > -9 else self.conv(-x)


def test_a_network_that_cannot_be_traced_is_run_as_it_is():
    network = prepare_network(Wild())
    assert (network.traced, network.streams, network.reach.how) == (None, False, "measured")
    assert network.reach.halo == (1, 1)
    assert network.reach.kind == "exact"
    assert network.forward(image((32, 32))).shape == (1, 3, 32, 32)
    assert network.forward_bytes((32, 32)) > 0


class Hidden(nn.Module):
    """A network whose graph cannot be read, but whose sizes follow without pixels."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x) if len(x.shape) == 4 else x


def test_bytes_are_known_of_a_network_whose_graph_cannot_be_read():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    network = prepare_network(Hidden(net))
    assert network.traced is None
    assert network.forward_bytes((64, 64)) == 64 * 64 * (2 + 4 + 4) * 4
    large, small = (prepare_network(Hidden(NETS["unet"]())).forward_bytes((n, n)) for n in (64, 32))
    plain = prepare_network(NETS["unet"]()).forward_bytes((64, 64))
    assert large == 4 * small
    assert 0.8 * plain < large < 2 * plain


class Mixed(nn.Module):
    """Kernels over volumes and over planes in one network."""

    def __init__(self):
        super().__init__()
        self.fold, self.flat = nn.Conv3d(1, 4, (3, 1, 1)), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.flat(self.fold(x)[:, :, 0])[:, None]

    approximate_reach = (1, 1)


def test_kernels_over_volumes_and_over_planes_may_be_in_one_network():
    net = Mixed().eval()
    network = prepare_network(net)
    pixels = image((3, 16, 20))[:, :1]
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(network.forward(pixels), expected, atol=1e-5)
    assert (network.reach.how, network.reach.halo) == ("stated", (0, 1, 1))


def test_a_network_over_volumes_is_ready_too():
    model = trained(volume, (2, 2, 6, 16, 16))
    pixels = image((5, 16, 20))
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels)).numpy()
    network = prepare_network(model)
    assert (network.ndim, network.in_channels) == (3, 2)
    np.testing.assert_allclose(network.forward(pixels), expected, atol=1e-5)
