"""The discriminator is the published one, and judges patches of the stated size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from napari_virtualstain.nets.patchgan import PatchGan


def test_with_batchnorm_it_has_the_published_number_of_parameters_and_scores():
    with torch.device("meta"):
        net = PatchGan(8, norm="batch")
        scores = net(torch.empty(1, 5, 256, 256), torch.empty(1, 3, 256, 256))
    assert sum(p.numel() for p in net.parameters()) == 2_771_649
    assert scores.shape == (1, 1, 30, 30)


def test_the_names_and_shapes_are_those_of_the_published_weights():
    with torch.device("meta"):
        state = PatchGan(8, norm="batch").state_dict()
    convolutions = {0: (64, 8, 4, 4), 2: (128, 64, 4, 4), 5: (256, 128, 4, 4),
                    8: (512, 256, 4, 4), 11: (1, 512, 4, 4)}  # fmt: skip
    expected: dict[str, tuple[int, ...]] = {}
    for number, shape in convolutions.items():
        expected |= {f"model.{number}.weight": shape, f"model.{number}.bias": shape[:1]}
    for number, channels in {3: 128, 6: 256, 9: 512}.items():
        names = ("weight", "bias", "running_mean", "running_var")
        expected |= {f"model.{number}.{name}": (channels,) for name in names}
        expected[f"model.{number}.num_batches_tracked"] = ()
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_without_batchnorm_the_convolutions_keep_their_names(norm):
    with torch.device("meta"):
        names = set(PatchGan(8, norm=norm).state_dict())
    assert names == {f"model.{n}.{part}" for n in (0, 2, 5, 8, 11) for part in ("weight", "bias")}


def plain(state, joined, norm):
    """The same in functions, written out for three strided convolutions."""
    x = joined
    for number, stride in ((0, 2), (2, 2), (5, 2), (8, 1), (11, 1)):
        x = functional.conv2d(
            x, state[f"model.{number}.weight"], state[f"model.{number}.bias"], stride, 1
        )
        if number == 11:
            return x
        if number and norm == "batch":
            names = ("running_mean", "running_var", "weight", "bias")
            x = functional.batch_norm(x, *(state[f"model.{number + 1}.{name}"] for name in names))
        elif number and norm == "instance":
            x = functional.instance_norm(x)
        x = functional.leaky_relu(x, 0.2)
    raise AssertionError


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
def test_it_equals_the_same_functions_with_stains_before_planes(norm, shaken):
    net = shaken(PatchGan(3, width=4, norm=norm))
    stains, planes = torch.randn(2, 2, 40, 32), torch.randn(2, 1, 40, 32)
    expected = plain(net.state_dict(), torch.cat([stains, planes], dim=1), norm)
    torch.testing.assert_close(net(stains, planes), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("layers", "pixels"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_the_stated_number_of_pixels(layers, pixels):
    torch.manual_seed(0)
    net = PatchGan(2, width=2, layers=layers)
    image = torch.randn(1, 1, 120, 120, requires_grad=True)
    scores = net(image, torch.randn(1, 1, 120, 120))
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    seen = torch.nonzero(image.grad[0, 0])
    assert (seen.amax(dim=0) - seen.amin(dim=0) + 1).tolist() == [pixels, pixels]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_image_has_one_score(layers):
    net = PatchGan(2, width=2, layers=layers, norm="instance")
    edge = 3 * 2**layers
    assert net(torch.randn(1, 1, edge, edge), torch.randn(1, 1, edge, edge)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize(("layers", "norm"), [(1, "none"), (3, "batch")])
def test_a_look_gives_the_scores_and_what_each_layer_sees_on_the_way(layers, norm):
    torch.manual_seed(0)
    net = PatchGan(3, width=2, layers=layers, norm=norm).eval()
    stains, planes = torch.randn(2, 2, 48, 48), torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        scores, seen = net.look(stains, planes)
        torch.testing.assert_close(scores, net(stains, planes))
        torch.testing.assert_close(net.model[-1](seen[-1]), scores)
        first = functional.leaky_relu(net.model[0](torch.cat([stains, planes], dim=1)), 0.2)
        torch.testing.assert_close(seen[0], first)
    assert [features.shape[1] for features in seen] == [2 * 2**n for n in range(layers + 1)]
