"""The classifier equals a plain functional twin, over planes and over volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from resnet_twin import twin

from napari_virtualstain.nets.resnet import ResNet

CASES = {
    "planes, bottlenecks": {"ndim": 2, "blocks": (2, 1, 2), "width": 4},
    "planes, plain": {"ndim": 2, "blocks": (1, 2), "width": 4, "bottleneck": False},
    "volumes, plain": {"ndim": 3, "blocks": (1, 2), "width": 4, "bottleneck": False},
    "volumes, bottlenecks": {"ndim": 3, "blocks": (1, 1), "width": 2},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_scales_features_and_scores_are_those_of_a_plain_twin(case, shaken):
    torch.manual_seed(0)
    net = shaken(ResNet(3, 5, **case))
    ndim = case["ndim"]
    pixels = np.random.default_rng(0).normal(size=(2, 3, *(33, 40, 24)[-ndim:]))
    x = torch.from_numpy(pixels.astype("f4"))
    with torch.no_grad():
        scales, pooled, scores = twin(
            net.state_dict(), x, case["blocks"], ndim, case.get("bottleneck", True)
        )
        for got, wanted in zip(net.scales(x), scales, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net.features(x), pooled, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net(x), scores, rtol=1e-5, atol=1e-5)


PUBLISHED = {
    "ResNet-50": ({}, 25_557_032),
    "ResNet-34": ({"bottleneck": False}, 21_797_672),
    "ResNet-18": ({"bottleneck": False, "blocks": (2, 2, 2, 2)}, 11_689_512),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_number_of_weights(name):
    settings, wanted = PUBLISHED[name]
    with torch.device("meta"):
        net = ResNet(3, 1000, **settings)
    assert sum(p.numel() for p in net.parameters()) == wanted


def test_names_of_weights_are_those_of_published_state_dicts():
    with torch.device("meta"):
        state = ResNet(3, 1000).state_dict()
    shapes = {
        "conv1.weight": (64, 3, 7, 7), "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 1, 1), "layer1.0.conv2.weight": (64, 64, 3, 3),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer1.0.downsample.1.running_var": (256,),
        "layer2.0.conv2.weight": (128, 128, 3, 3), "layer4.2.bn3.bias": (2048,),
        "fc.weight": (1000, 2048), "fc.bias": (1000,),
    }  # fmt: skip
    for name, shape in shapes.items():
        assert tuple(state[name].shape) == shape, name
    assert len(state) == 320
