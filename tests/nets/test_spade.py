"""SPADE normalises as published, and the generator made of it runs in every way."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.nn import functional

from napari_virtualstain.inference.fold import fold_norms
from napari_virtualstain.inference.operations import trace
from napari_virtualstain.inference.scan import measure_reach, scan_reach
from napari_virtualstain.inference.stream import RowStream
from napari_virtualstain.nets.spade import Spade, SpadeBlock, SpadeGenerator

WAYS = {
    f"{start}, {resize}, {norm}": {"start": start, "resize": resize, "norm": norm}
    for start, resize, norm in product(
        ("encoder", "map"), ("nearest", "mean"), ("batch", "instance")
    )
}
EXACT = {name: way for name, way in WAYS.items() if way["norm"] == "batch"}


def tiny(depth=4, **settings):
    return SpadeGenerator(2, 3, depth=depth, width=4, hidden=6, **settings)


PARAMETERS = {
    "from the smallest map": ({"start": "map"}, 92_060_741),
    "from an encoder": ({"start": "encoder"}, 136_614_341),
    "of four resolutions": ({"depth": 4, "width": 16, "hidden": 32}, 937_109),
}


@pytest.mark.parametrize(("settings", "count"), PARAMETERS.values(), ids=PARAMETERS)
def test_the_number_of_parameters_is_pinned(settings, count):
    with torch.device("meta"):
        net = SpadeGenerator(3, 5, **settings)
    assert sum(p.numel() for p in net.parameters()) == count


def plain_spade(state, prefix, x, map_, norm):
    """Equations 1 and 2 of the paper, with its two convolutions."""

    def convolve(name, x):
        return functional.conv2d(
            x, state[f"{prefix}.{name}.weight"], state[f"{prefix}.{name}.bias"], padding=1
        )

    if norm == "batch":
        mean, variance = state[f"{prefix}.norm.running_mean"], state[f"{prefix}.norm.running_var"]
        mean, variance = (v.reshape(1, -1, 1, 1) for v in (mean, variance))
    else:
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = x.var(dim=(2, 3), keepdim=True, correction=0)
    hidden = convolve("mlp_shared.0", map_).clamp(min=0)
    gamma, beta = convolve("mlp_gamma", hidden), convolve("mlp_beta", hidden)
    return (x - mean) / (variance + 1e-5).sqrt() * (1 + gamma) + beta


def plain_block(state, x, map_, norm):
    def bent(name, x):
        return functional.leaky_relu(plain_spade(state, name, x, map_, norm), 0.2)

    before, shortcut = x, x
    for number in (0, 1):
        x = functional.conv2d(
            bent(f"spade_{number}", x),
            state[f"conv_{number}.weight"],
            state[f"conv_{number}.bias"],
            padding=1,
        )
    if "conv_s.weight" in state:
        calm = plain_spade(state, "spade_s", before, map_, norm)
        shortcut = functional.conv2d(calm, state["conv_s.weight"])
    return shortcut + x


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("channels", [(6, 4), (4, 6), (4, 4)], ids=str)
def test_a_block_equals_the_same_functions(channels, norm, shaken):
    net = shaken(SpadeBlock(*channels, 2, hidden=5, norm=norm))
    x, map_ = torch.randn(2, channels[0], 6, 7), torch.randn(2, 2, 6, 7)
    expected = plain_block(net.state_dict(), x, map_, norm)
    torch.testing.assert_close(net(x, map_), expected, rtol=1e-5, atol=1e-5)


def test_the_norm_has_no_parameters_and_nothing_lies_behind_gamma_and_beta():
    with torch.device("meta"):
        names = {name for name, _ in Spade(4, 2).named_parameters()}
    parts = ("mlp_shared.0", "mlp_gamma", "mlp_beta")
    assert names == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}


@pytest.mark.parametrize("resize", ["nearest", "mean"])
def test_every_block_is_told_the_planes_at_its_own_size(resize):
    net = tiny(resize=resize).eval()
    told = []
    for block in net.blocks:
        block.register_forward_hook(lambda module, given, result: told.append(given[1]))
    planes = torch.randn(1, 2, 16, 24)
    net(planes)
    for step, map_ in zip((8, 4, 2, 1), told, strict=True):
        size = (16 // step, 24 // step)
        mode = {"nearest": "nearest", "mean": "area"}[resize]
        torch.testing.assert_close(map_, functional.interpolate(planes, size, mode=mode))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_same_planes_always_give_the_same_stains(way):
    net = tiny(**way).eval()
    planes = torch.randn(2, 2, 16, 24)
    with torch.inference_mode():
        first, second = net(planes), net(planes)
    assert first.shape == (2, 3, 16, 24)
    assert torch.equal(first, second)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_its_reach_is_read_from_its_graph(way):
    reach = scan_reach(tiny(**way).eval())
    assert (reach.how, reach.multiple_of) == ("graph", (8, 8))
    assert reach.kind == ("exact" if way["norm"] == "batch" else "statistics")


@pytest.mark.parametrize("way", EXACT.values(), ids=EXACT)
def test_the_reach_that_is_read_is_the_one_that_is_measured(way):
    torch.manual_seed(0)
    net = tiny(depth=3, **way).double().eval()
    assert measure_reach(net, size=96, stride=4).halo == scan_reach(net).halo


@pytest.mark.parametrize("way", EXACT.values(), ids=EXACT)
def test_row_by_row_it_gives_what_it_gives_at_once(way, shaken):
    net = shaken(tiny(**way))
    planes = torch.randn(1, 2, 64, 16)
    with torch.inference_mode():
        stream = RowStream(trace(net), length=64)
        rows = [b for at in range(0, 64, 8) for b in stream.push(planes[:, :, at : at + 8])]
        torch.testing.assert_close(torch.cat(rows, dim=2), net(planes), rtol=1e-5, atol=1e-5)


def test_spectral_norms_are_one_and_survive_folding():
    torch.manual_seed(0)
    net = tiny(depth=2, spectral=True)
    for _ in range(30):  # each forward in training is a step of the power iteration
        net(torch.randn(2, 2, 16, 16))
    net.eval()
    block = net.blocks[0]
    for part in (block.conv_0, block.conv_1):
        largest = torch.linalg.matrix_norm(part.weight.flatten(1), ord=2)
        torch.testing.assert_close(largest, torch.tensor(1.0), rtol=1e-2, atol=0)
    planes = torch.randn(1, 2, 16, 16)
    folded = fold_norms(trace(net).graph)
    torch.testing.assert_close(folded(planes), net(planes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("start", ["encoder", "map"])
def test_every_scale_and_offset_is_learned(start):
    torch.manual_seed(0)
    net = tiny(start=start)
    net(torch.randn(2, 2, 16, 16)).square().mean().backward()
    told = [(n, p) for n, p in net.named_parameters() if "mlp_" in n and n.endswith("weight")]
    assert len(told) == 3 * (4 * 2 + 3)  # two a block, and one where the shortcut is learned
    for name, parameter in told:
        assert parameter.grad.abs().max() > 1e-6, name
