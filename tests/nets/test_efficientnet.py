"""EfficientNet-lite equals a plain functional twin, and the package whose weights it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from efficientnet_twin import twin

from napari_virtualstain.nets.efficientnet import LITE0, EfficientNet

CASES = {
    "a little one, even edges": (((1, 3, 1, 1, 4), (2, 5, 2, 2, 8), (2, 3, 2, 3, 12)), (32, 48)),
    "a little one, odd edges": (((1, 3, 1, 1, 4), (2, 5, 2, 2, 8), (2, 3, 2, 3, 12)), (33, 27)),
    "lite0": (LITE0, (64, 40)),
}


def pictures(edges, channels=3):
    pixels = np.random.default_rng(0).normal(size=(2, channels, *edges))
    return torch.from_numpy(pixels.astype("f4"))


@pytest.mark.parametrize(("stages", "edges"), CASES.values(), ids=CASES)
def test_scales_features_and_scores_are_those_of_a_plain_twin(stages, edges, shaken):
    torch.manual_seed(0)
    net = shaken(EfficientNet(3, 5, stages=stages, stem=8, head=24))
    x = pictures(edges)
    with torch.no_grad():
        scales, pooled, scores = twin(net.state_dict(), x, stages)
        for got, wanted in zip(net.scales(x), scales, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net.features(x), pooled, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net(x), scores, rtol=1e-5, atol=1e-5)


def test_scales_are_halves_of_each_other():
    with torch.device("meta"):
        found = EfficientNet(1, 2).scales(torch.empty(1, 1, 64, 96))
    assert [tuple(scale.shape[1:]) for scale in found] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (1280, 2, 3),
    ]  # fmt: skip


def test_grey_values_are_brought_to_the_range_that_was_published(shaken):
    torch.manual_seed(0)
    sizes = {"stages": CASES["a little one, odd edges"][0], "stem": 8, "head": 24}
    plain = shaken(EfficientNet(3, 2, **sizes))
    ranged = EfficientNet(3, 2, **sizes, middle=127 / 255, half=128 / 255).eval()
    ranged.load_state_dict(plain.state_dict())
    grey = torch.arange(3 * 256.0).reshape(1, 3, 16, 16) % 256
    with torch.no_grad():
        torch.testing.assert_close(
            ranged.features(grey / 255), plain.features((grey - 127) / 128), rtol=1e-5, atol=1e-5
        )


def test_weights_and_what_they_see_are_those_of_the_package(shaken):
    """Runs where `efficientnet_lite_pytorch` is installed; it pads for 224 px alone."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    torch.manual_seed(0)
    theirs = shaken(package.EfficientNet.from_name("efficientnet-lite0"))
    ours = EfficientNet(3, 1000).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = pictures((224, 224))
    with torch.no_grad():
        torch.testing.assert_close(
            ours.scales(x)[-1], theirs.extract_features(x), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_names_of_weights_are_those_of_the_published_state_dict():
    with torch.device("meta"):
        state = EfficientNet(3, 1000).state_dict()
    shapes = {
        "_conv_stem.weight": (32, 3, 3, 3), "_bn0.num_batches_tracked": (),
        "_blocks.0._depthwise_conv.weight": (32, 1, 3, 3), "_blocks.0._bn2.weight": (16,),
        "_blocks.1._expand_conv.weight": (96, 16, 1, 1), "_blocks.15._bn2.running_var": (320,),
        "_conv_head.weight": (1280, 320, 1, 1), "_bn1.bias": (1280,), "_fc.weight": (1000, 1280),
    }  # fmt: skip
    for name, shape in shapes.items():
        assert tuple(state[name].shape) == shape, name
    assert "_blocks.0._expand_conv.weight" not in state
    assert len(state) == 296
