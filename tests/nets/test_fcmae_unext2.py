"""FCMAE and UNeXt2 are the published networks: by number, by name, and by what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.nets.fcmae import FCMAE
from napari_virtualstain.nets.unext2 import UNeXt2

PUBLISHED = {
    "VSCyto2D": (FCMAE, {"depth": 1, "stem_depth": 1, "stem": 2}, 31_160_888),
    "VSCyto3D": (FCMAE, {"depth": 15, "stem_depth": 5, "stem": 4}, 34_979_328),
    "VSCyto3D of 2024": (UNeXt2, {"depth": 5, "stem_depth": 5}, 32_042_729),
    "VSNeuromast": (UNeXt2, {"depth": 21, "stem_depth": 7}, 40_043_689),
}
DIMS, BLOCKS = (96, 192, 384, 768), (3, 3, 9, 3)
SMALL = {"dims": (6, 8, 12), "blocks": (1, 2, 1)}


def published(kind, *, depth, stem_depth, stem=4):
    """Names and shapes of the published weights, of one kind of light and two stains."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name, *shape):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def block(name, c, *, kernel, norm, bias, conv):
        shapes[f"{name}.{kernel}.weight"] = (c, 1, 7, 7)
        if bias:
            shapes[f"{name}.{kernel}.bias"] = (c,)
        layer(f"{name}.{norm}", c)
        end = (1, 1) if conv else ()
        layer(f"{name}.mlp.fc1", 4 * c, c, *end)
        layer(f"{name}.mlp.grn", 4 * c)
        layer(f"{name}.mlp.fc2", c, 4 * c, *end)

    masked = kind is FCMAE
    cell, folded = (stem_depth, stem, stem), 96 // (depth // stem_depth)
    if masked:
        layer("encoder.stem.conv3d", folded, 1, *cell)
        layer("encoder.stem.conv2d", 96, 1, stem, stem)
        layer("encoder.stem.norm", 96)
        names, stages = {"kernel": "dwconv", "norm": "layernorm", "bias": False}, "encoder.stages."
        last = 2 * depth * stem**2
    else:
        layer("stem.conv", folded, 1, *cell)
        layer("encoder_stages.stem_1", 96)
        names, stages = (
            {"kernel": "conv_dw", "norm": "norm", "bias": True},
            "encoder_stages.stages_",
        )
        last = (depth + 2) * 2 * 4 * 4
        layer("head.conv.0.conv", 32, 8, 3, 3, 3)
        shapes["head.conv.0.adn.A.weight"] = (1,)
        layer("head.conv.1", 8, 32, 1, 1, 1)
    for level, (c, n) in enumerate(zip(DIMS, BLOCKS, strict=True)):
        if level:
            layer(f"{stages}{level}.downsample.0", DIMS[level - 1])
            layer(f"{stages}{level}.downsample.1", c, DIMS[level - 1], 2, 2)
        for number in range(n):
            block(f"{stages}{level}.blocks.{number}", c, conv=False, **names)
    for level, (before, skip, after) in enumerate(
        [(768, 384, 384), (384, 192, 192), (192, 96, last)]
    ):
        name = f"decoder.decoder_stages.{level}.conv"
        layer(f"{name}.downsample.0", before // 4 + skip)
        layer(f"{name}.downsample.1", after, before // 4 + skip, 1, 1)
        for number in range(2):
            block(f"{name}.blocks.{number}", after, kernel="conv_dw", norm="norm", bias=True,
                  conv=True)  # fmt: skip
    return shapes


@pytest.fixture(params=PUBLISHED)
def full(request):
    kind, settings, count = PUBLISHED[request.param]
    with torch.device("meta"):
        return kind(1, 2, **settings), published(kind, **settings), count, settings["depth"]


def test_the_number_of_parameters_is_pinned(full):
    net, _, count, depth = full
    assert sum(p.numel() for p in net.parameters()) == count
    with torch.device("meta"):
        assert net(torch.empty(1, 1, depth, 64, 96)).shape == (1, 2, depth, 64, 96)


def test_the_names_and_shapes_are_those_of_the_published_weights(full):
    net, shapes, *_ = full
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == shapes
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    net.load_state_dict(state, strict=True)


# The same in functions.


def norm_2d(state, name, x, eps):
    weight, bias = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def pointwise(state, name, x):
    weight = state[f"{name}.weight"].reshape(len(state[f"{name}.bias"]), -1)
    return torch.einsum("bcyx,dc->bdyx", x, weight) + state[f"{name}.bias"][:, None, None]


def block(state, name, x, kernel, norm, eps):
    weight = state[f"{name}.{kernel}.weight"]
    y = functional.conv2d(
        x, weight, state.get(f"{name}.{kernel}.bias"), padding=3, groups=len(weight)
    )
    y = pointwise(state, f"{name}.mlp.fc1", norm_2d(state, f"{name}.{norm}", y, eps))
    y = y * (0.5 * (1 + torch.erf(y / 2**0.5)))
    size = torch.sqrt((y**2).sum((2, 3), keepdim=True))
    share = size / (size.mean(1, keepdim=True) + 1e-6)
    scale, shift = (state[f"{name}.mlp.grn.{part}"][:, None, None] for part in ("weight", "bias"))
    return x + pointwise(state, f"{name}.mlp.fc2", y + shift + scale * y * share)


def stage(state, name, x, n, kernel="conv_dw", norm="norm", eps=1e-6):
    if f"{name}.downsample.1.weight" in state:
        weight, bias = (state[f"{name}.downsample.1.{part}"] for part in ("weight", "bias"))
        x = norm_2d(state, f"{name}.downsample.0", x, 1e-6)
        x = functional.conv2d(x, weight, bias, stride=weight.shape[-1])
    for number in range(n):
        x = block(state, f"{name}.blocks.{number}", x, kernel, norm, eps)
    return x


def shuffle(x, s):
    b, c, h, w = x.shape
    x = x.reshape(b, c // s**2, s, s, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(b, c // s**2, h * s, w * s)


def blurred(x, s):
    x = shuffle(x, s)
    total = torch.zeros_like(x)
    for dy in range(s):
        for dx in range(s):
            h, w = x.shape[2] - dy, x.shape[3] - dx
            total[:, :, dy:, dx:] += x[:, :, :h, :w]
    return total / s**2


def decoded(state, features, blocks):
    *skips, x = features
    for level, skip in enumerate(reversed(skips)):
        x = torch.cat([shuffle(x, 2), skip], dim=1)
        x = stage(state, f"decoder.decoder_stages.{level}.conv", x, blocks)
    return x


def plain_fcmae(state, x, *, depth, stem, stem_depth, blocks):
    dims = "2d" if depth == 1 else "3d"
    weight, bias = (state[f"encoder.stem.conv{dims}.{part}"] for part in ("weight", "bias"))
    if depth == 1:
        x = functional.conv2d(x[:, :, 0], weight, bias, stride=stem)
    else:
        x = functional.conv3d(x, weight, bias, stride=(stem_depth, stem, stem))
        x = x.reshape(len(x), -1, *x.shape[3:])
    x = norm_2d(state, "encoder.stem.norm", x, 1e-5)
    features = []
    for level, n in enumerate(blocks):
        x = stage(state, f"encoder.stages.{level}", x, n, "dwconv", "layernorm", 1e-5)
        features.append(x)
    x = blurred(decoded(state, features, 2), stem)
    return x.reshape(len(x), -1, depth, *x.shape[2:])


def plain_unext2(state, x, *, depth, stem_depth, blocks):
    weight, bias = (state[f"stem.conv.{part}"] for part in ("weight", "bias"))
    x = functional.conv3d(x, weight, bias, stride=(stem_depth, 4, 4))
    x = norm_2d(state, "encoder_stages.stem_1", x.reshape(len(x), -1, *x.shape[3:]), 1e-6)
    features = []
    for level, n in enumerate(blocks):
        x = stage(state, f"encoder_stages.stages_{level}", x, n)
        features.append(x)
    x = blurred(decoded(state, features, 2), 2)
    x = x.reshape(len(x), -1, depth + 2, *x.shape[2:])
    parts = (state[f"head.conv.0.conv.{part}"] for part in ("weight", "bias"))
    x = functional.conv3d(x, *parts, padding=(0, 1, 1))
    x = (x - x.mean((2, 3, 4), keepdim=True)) / torch.sqrt(
        x.var((2, 3, 4), keepdim=True, unbiased=False) + 1e-5
    )
    x = torch.where(x > 0, x, state["head.conv.0.adn.A.weight"] * x)
    x = functional.conv3d(x, *(state[f"head.conv.1.{part}"] for part in ("weight", "bias")))
    return torch.stack([shuffle(x[:, :, z], 2) for z in range(depth)], dim=2)


TWINS = {
    "VSCyto2D": (FCMAE, plain_fcmae, {"depth": 1, "stem_depth": 1, "stem": 2}),
    "VSCyto3D": (FCMAE, plain_fcmae, {"depth": 6, "stem_depth": 2, "stem": 4}),
    "UNeXt2": (UNeXt2, plain_unext2, {"depth": 4, "stem_depth": 2}),
    "UNeXt2 of one cell": (UNeXt2, plain_unext2, {"depth": 3, "stem_depth": 3}),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("kinds", [1, 2])
def test_it_equals_the_same_functions(name, kinds, shaken):
    kind, plain, settings = TWINS[name]
    net = shaken(kind(kinds, 2, **settings, **SMALL))
    stem = settings.get("stem", 4)
    x = torch.randn(2, kinds, settings["depth"], 8 * stem, 12 * stem)
    with torch.no_grad():
        expected = plain(net.state_dict(), x, **settings, blocks=SMALL["blocks"])
        found = net(x)
    assert float((found - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", TWINS)
def test_its_reach_is_stated_and_no_kernel_looks_further(name, shaken):
    kind, _, settings = TWINS[name]
    net = shaken(kind(1, 1, **settings, dims=(6, 8), blocks=(1, 1)))
    with torch.no_grad():  # without what every pixel has to do with every other one
        for part, value in net.state_dict().items():
            if ".grn." in part:
                value.zero_()
    reach = scan_reach(net)
    assert (reach.kind, reach.how, reach.halo[0]) == ("approximate", "stated", 0)
    halo, stride, edge = reach.halo[1], reach.multiple_of[1], 256
    if kind is UNeXt2:
        net.head.conv[0].adn = torch.nn.Identity()  # its mean is that of the whole volume
    x = torch.zeros(1, 1, settings["depth"], edge, edge)
    found = 0
    with torch.no_grad():
        before = net(x)
        for offset in range(stride):
            changed = x.clone()
            changed[..., 128 + offset, 128 + offset] = 10.0
            rows = np.flatnonzero((net(changed) - before).abs().amax((0, 1, 2, 4)).numpy() > 0)
            found = max(found, 128 + offset - rows.min(), rows.max() - 128 - offset)
    assert 0.6 * halo <= found <= halo


@pytest.mark.parametrize("kind", [FCMAE, UNeXt2])
@pytest.mark.parametrize(
    "wrong",
    [{"depth": 7, "stem_depth": 5}, {"depth": 35, "stem_depth": 5},
     {"depth": 5, "blocks": (1, 1)}],
    ids=["planes are left over", "channels are left over", "lengths"],
)  # fmt: skip
def test_what_cannot_be_folded_is_refused(kind, wrong):
    with torch.device("meta"), pytest.raises(ValueError, match=r"folded|length"):
        kind(1, 2, **wrong)
