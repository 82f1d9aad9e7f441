"""What a network makes of a patch: its features where it is coarsest, and nothing beyond them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.registry import GENERATORS, GRAPHS, build_generator
from napari_virtualstain.inference.deepest import coarsest, depths_in, patch_reader


class Scale(nn.Module):
    """One weight, and no convolution."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.by


class Hourglass(nn.Module):
    """One step down and one up; what comes after the deepest layer says that it was computed."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 2, stride=2)
        self.up = nn.ConvTranspose2d(6, 2, 2, stride=2)
        self.finished = 0

    def forward(self, x):
        deep = self.down(torch.relu(self.first(x)))
        found = self.up(deep)
        self.finished += 1
        return found


def hourglass(net=None):
    net = net or Hourglass()
    return ForwardGenerator(net, in_channels=1, out_channels=2, multiple_of=2)


def patches(reader, channels=1, count=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, channels, *reader.shape)).astype(np.float32)


def test_features_are_the_mean_of_the_coarsest_convolution():
    net = Hourglass()
    reader = patch_reader(hourglass(net))
    assert (reader.layer, reader.features, reader.shape) == ("down", 6, (64, 64))
    given = patches(reader)
    with torch.no_grad():
        deep = net.down(torch.relu(net.first(torch.from_numpy(given))))
    np.testing.assert_allclose(reader.read(given), deep.mean(dim=(2, 3)).numpy(), atol=1e-6)


def test_many_patches_go_through_in_parts_with_the_same_features():
    reader = patch_reader(hourglass())
    given = patches(reader, count=130)
    alone = np.concatenate([reader.read(given[n : n + 1]) for n in range(len(given))])
    np.testing.assert_allclose(reader.read(given), alone, atol=1e-6)
    assert reader.read(given[:0]).shape == (0, 6)


def test_the_network_of_others_is_not_touched_and_ends_where_it_is_deepest():
    net = Hourglass()
    reader = patch_reader(hourglass(net))
    before = reader.generator.module().finished  # of the look for its depths
    reader.read(patches(reader))
    assert reader.generator.module().finished == before
    assert net.finished == 0
    assert not net.down._forward_hooks
    assert not reader.generator.module().down._forward_hooks


def test_of_equally_coarse_layers_that_with_most_features_is_chosen():
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))
    seen = depths_in(net, lambda: net(torch.zeros(1, 1, 8, 8)), 8)
    assert [(one.layer, one.shrink) for one in seen] == [("1", 1)]
    assert coarsest(seen).channels == 3


@pytest.mark.parametrize("name", list(GENERATORS))
def test_every_method_shows_its_features_of_patches(name):
    spec = GENERATORS[name]
    channels = 1 if 2 not in spec.ndim else 3
    generator = build_generator(
        name, in_channels=channels, out_channels=2, architecture=spec.presets["tiny"]
    )
    torch.manual_seed(0)
    for weights in generator.module().parameters():
        nn.init.normal_(weights, mean=0.05, std=0.1)
    reader = patch_reader(generator, depth=32)
    given = patches(reader, channels)
    found = reader.read(given)
    assert found.shape == (3, reader.features)
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() > 0, "what it is shown makes no difference"
    np.testing.assert_array_equal(found, reader.read(given))  # no noise


@pytest.mark.parametrize("name", list(GRAPHS))
def test_a_graph_of_others_shows_none_and_it_is_said(name):
    sizes = {"sizes": ((32, 8), (32, 8)), "halo": 8, "multiple_of": 8}
    generator = build_generator(name, in_channels=1, out_channels=1, architecture=sizes)
    with pytest.raises(SettingsError, match=r"shows no features.*`virtualstain passport`\.$"):
        patch_reader(generator)


def test_a_stack_too_thin_for_the_network_is_refused():
    generator = build_generator(
        "fnet", in_channels=1, out_channels=1, architecture={"ndim": 3, "depth": 3, "width": 2}
    )
    with pytest.raises(SettingsError, match="Give a deeper stack"):
        patch_reader(generator, depth=4)


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(SettingsError, match="no convolution"):
        patch_reader(hourglass(Scale()))
