"""fnet is the published network, in 2-D and 3-D."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.nets.fnet import FNet


@pytest.mark.parametrize(("ndim", "count"), [(3, 23_280_769), (2, 8_116_225)])
def test_the_number_of_parameters_is_pinned(ndim, count):
    with torch.device("meta"):
        net = FNet(ndim=ndim)
        assert net(torch.empty(1, 1, *(32,) * ndim)).shape == (1, 1, *(32,) * ndim)
    assert sum(p.numel() for p in net.parameters()) == count


def published(ndim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of ``nn_state``."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        parts = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{part}": (channels,) for part in parts})
        shapes[f"{name}.num_batches_tracked"] = ()

    def convolution(name: str, shape: tuple[int, ...], channels: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (*shape, *(kernel,) * ndim)
        shapes[f"{name}.bias"] = (channels,)

    prefix, before, after = "net_recurse.", 1, 32
    for level in range(5):
        pairs = {"sub_2conv_more": before} | ({"sub_2conv_less": 2 * after} if level < 4 else {})
        for name, taken in pairs.items():
            for number, channels in ((1, taken), (2, after)):
                convolution(f"{prefix}{name}.conv{number}", (after, channels), after, 3)
                norm(f"{prefix}{name}.bn{number}", after)
        if level < 4:
            convolution(f"{prefix}conv_down", (after, after), after, 2)
            convolution(f"{prefix}convt", (2 * after, after), after, 2)
            norm(f"{prefix}bn0", after)
            norm(f"{prefix}bn1", after)
        prefix, before, after = prefix + "sub_u.", after, 2 * after
    convolution("conv_out", (1, 32), 1, 3)
    return shapes


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_names_and_shapes_are_those_of_the_published_weights(ndim):
    with torch.device("meta"):
        state = FNet(ndim=ndim).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == published(ndim)


def plain(state, x, ndim, depth, prefix="net_recurse."):
    """The same in functions."""
    convolve = (functional.conv2d, functional.conv3d)[ndim - 2]
    spread = (functional.conv_transpose2d, functional.conv_transpose3d)[ndim - 2]

    def step(function, x, convolution, norm, **settings):
        weight, bias = (state[f"{prefix}{convolution}.{part}"] for part in ("weight", "bias"))
        names = ("running_mean", "running_var", "weight", "bias")
        parts = (state[f"{prefix}{norm}.{name}"] for name in names)
        return functional.relu(functional.batch_norm(function(x, weight, bias, **settings), *parts))

    def twice(x, name):
        for number in (1, 2):
            x = step(convolve, x, f"{name}.conv{number}", f"{name}.bn{number}", padding=1)
        return x

    skip = twice(x, "sub_2conv_more")
    if depth == 0:
        return skip
    below = step(convolve, skip, "conv_down", "bn0", stride=2)
    below = plain(state, below, ndim, depth - 1, prefix + "sub_u.")
    up = step(spread, below, "convt", "bn1", stride=2)
    x = twice(torch.cat([skip, up], dim=1), "sub_2conv_less")
    if prefix == "net_recurse.":
        x = convolve(x, state["conv_out.weight"], state["conv_out.bias"], padding=1)
    return x


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_equals_the_same_functions(ndim, shaken):
    net = shaken(FNet(2, 3, ndim=ndim, depth=2, width=3))
    x = torch.randn(2, 2, *(8, 12, 16)[:ndim])
    expected = plain(net.state_dict(), x, ndim, 2)
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_its_graph_is_read_and_tiles_are_exact(ndim):
    reach = scan_reach(FNet(ndim=ndim, depth=2, width=2).eval())
    assert (reach.kind, reach.how, reach.multiple_of) == ("exact", "graph", (4,) * ndim)
