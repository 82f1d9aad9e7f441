"""The guided U-Net equals a plain twin, has the published names, and says how far it looks."""

from __future__ import annotations

import guided_twin as twin
import pytest
import torch
from state_names import names_and_shapes

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.inference.norms import unit_statistics, with_statistics
from napari_virtualstain.inference.scan import measure_reach, scan_reach
from napari_virtualstain.nets.guided_attention import GroupNorm32
from napari_virtualstain.nets.guided_parts import embed_time
from napari_virtualstain.nets.guided_step import GuidedStep
from napari_virtualstain.nets.guided_unet import UNKNOWN, GuidedUNet

PUBLISHED = {
    "Palette": (
        {"in_channels": 8, "out_channels": 5, "dropout": 0.2},
        62_643_653, "19d4e90ba6cbf29e078cc6aa7d95b50192b005b70bc2223018e3d5ce88e33b1e",
    ),
    "class-guided image-to-image": (
        {"in_channels": 8, "out_channels": 5, "dropout": 0.2, "classes": (118,)},
        62_673_861, "0983b7fcce645584408a96b23e639caaafbfbcb88a26a0cb99c8dbb26ef651ff",
    ),
    "SDM": (
        {"in_channels": 5, "out_channels": 5, "map_channels": 3, "embed": "time_embed",
         "multipliers": (1, 2, 3, 4), "attention": (4, 8), "head_channels": 64,
         "learn_sigma": True},
        43_529_290, "aae1caeb16f95ca9066c8a06d1aaeb990c5ad9800066036dc61fb654ef82ff47",
    ),
    "BBDM": (
        {"in_channels": 3, "out_channels": 3, "width": 128, "multipliers": (1, 4, 8),
         "embed": "time_embed", "head_channels": 64},
        237_091_331, "8c3b9f5fce9928e15276ec082bbada946c8f98c8c1b429aeb2e8fcb12f52eeb6",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "count", "names"), PUBLISHED.values(), ids=PUBLISHED)
def test_weights_have_the_names_shapes_and_number_of_the_published_ones(settings, count, names):
    with torch.device("meta"):
        net = GuidedUNet(**settings)
    assert sum(p.numel() for p in net.parameters()) == count
    assert names_and_shapes(net) == names
    maps = settings.get("map_channels")
    with torch.device("meta"):
        found = net(
            torch.empty(2, settings["in_channels"], 32, 64),
            torch.empty(2),
            torch.zeros(2, 1, dtype=torch.long) if "classes" in settings else None,
            torch.empty(2, maps, 32, 64) if maps else None,
        )
    doubled = 1 + settings.get("learn_sigma", False)
    assert found.shape == (2, doubled * settings["out_channels"], 32, 64)


TINY = {"width": 8, "groups": 4, "head_channels": 4, "init": "kaiming"}
WAYS = {
    "as Palette": {"multipliers": (1, 2, 2)},
    "with labels": {"multipliers": (1, 2), "classes": (3, 2)},
    "with attention": {"multipliers": (1, 2, 2), "attention": (2, 4), "embed": "time_embed"},
    "with a map": {"multipliers": (1, 2, 2), "map_channels": 3, "attention": (2,),
                   "learn_sigma": True, "blocks": 1},
    "of one block and no attention": {"blocks": 1, "multipliers": (1, 3), "middle_attention": False},
}  # fmt: skip


def tiny(**settings):
    torch.manual_seed(0)
    return GuidedUNet(3, 2, **TINY | settings)


def pixels(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_predictions_are_those_of_a_plain_twin(way, shaken):
    net = shaken(tiny(**way))
    w = net.state_dict()
    x, time = pixels(2, 3, 8, 16), torch.tensor([0.3, 700.0])
    labels = torch.tensor([[2, 0], [UNKNOWN, 1]]) if "classes" in way else None
    map_ = pixels(2, 3, 8, 16, seed=1) if "map_channels" in way else None
    e = twin.embedded(w, way.get("embed", "cond_embed"), time, 8)
    if labels is not None:
        e[0] += w["label_emb.weight"][2] + w["label_emb_2.weight"][0]
        e[1] += w["label_emb_2.weight"][1]
    with torch.no_grad():
        wanted = twin.unet(
            w, x, e, groups=4, head=4, sizes=len(way["multipliers"]),
            blocks=way.get("blocks", 2), map_=map_,
        )  # fmt: skip
        found = net(x, time, labels, map_)
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_without_labels_all_are_unknown_and_an_unknown_one_adds_nothing():
    net = tiny(classes=(3,)).eval()
    time = torch.tensor([0.5])
    told = net.embed(time, torch.tensor([[1]]))
    assert torch.equal(net.embed(time), net.embed(time, torch.tensor([[UNKNOWN]])))
    torch.testing.assert_close(told - net.embed(time), net.label_emb.weight[1:2])


@pytest.mark.parametrize("label", [3, -2])
def test_a_label_that_is_none_of_the_classes_is_not_taken_for_one(label):
    with pytest.raises(IndexError):
        tiny(classes=(3,)).embed(torch.rand(1), torch.tensor([[label]]))


def test_unknown_labels_teach_no_embedding():
    net = tiny(classes=(3,))
    labels = torch.tensor([[2], [UNKNOWN]])
    net(pixels(2, 3, 8, 8), torch.rand(2), labels).square().mean().backward()
    rows = net.label_emb.weight.grad.abs().amax(dim=1)
    assert (rows > 0).tolist() == [False, False, True]


def test_a_block_begins_as_what_comes_in_unless_asked_otherwise():
    x, time = pixels(1, 3, 8, 8), torch.tensor([0.5])
    net = tiny(init="zero")
    assert torch.equal(net(x, time), torch.zeros(1, 2, 8, 8))
    block = net.middle_block[0]
    inside = pixels(1, 64, 2, 2)
    assert torch.equal(block(inside, torch.randn(1, 32)), inside)
    assert torch.equal(net.middle_block[1](inside), inside)
    assert tiny()(x, time).abs().mean() > 0.1


def test_the_published_start_has_the_variance_of_its_fan_in():
    net = GuidedUNet(3, 2, init="kaiming", multipliers=(1,))
    for conv in (net.middle_block[0].last, net.middle_block[1].qkv, net.cond_embed[0]):
        fan_in = conv.weight[0].numel()
        assert float(conv.weight.detach().var() * fan_in) == pytest.approx(2, rel=0.1)
        assert not conv.bias.any()


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
def test_norms_compute_in_float32_whatever_they_are_given(weights, shaken):
    norm = shaken(GroupNorm32(2, 4)).to(weights)
    x = (100 + pixels(1, 4, 16, 16)).bfloat16()
    w = {f"norm.{name}": value.double() for name, value in norm.state_dict().items()}
    wanted = twin.affine(twin.group_norm(x.double(), 2), w, "norm")
    found = norm(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_in_bfloat16_it_predicts_what_it_predicts_in_float32_but_for_rounding(way, shaken):
    net = shaken(tiny(**way))
    x, time = pixels(1, 3, 8, 16), torch.tensor([0.3])
    map_ = pixels(1, 3, 8, 16, seed=1) if "map_channels" in way else None
    with torch.no_grad():
        wanted = net(x, time, None, map_)
        half = None if map_ is None else map_.bfloat16()
        found = net.bfloat16()(x.bfloat16(), time, None, half)
    assert found.dtype == torch.bfloat16
    apart = (found.float() - wanted).square().mean().sqrt() / wanted.std()
    assert apart < 0.05


def test_a_time_is_embedded_unscaled_cosines_first():
    found = embed_time(torch.tensor([2.0]), 4)[0]
    wanted = torch.tensor([2.0, 0.02])
    torch.testing.assert_close(found, torch.cat([wanted.cos(), wanted.sin()]))


BAD = {
    "an odd size": (lambda: tiny()(pixels(1, 3, 8, 12), torch.rand(1)), PixelDataError, "of 8 px"),
    "no pixels": (lambda: tiny()(pixels(1, 3, 0, 8), torch.rand(1)), PixelDataError, "of 8 px"),
    "no map": (
        lambda: tiny(map_channels=2)(pixels(1, 3, 8, 8), torch.rand(1)), SettingsError,
        "a map of 2 channels",
    ),
    "a map that is not asked for": (
        lambda: tiny()(pixels(1, 3, 8, 8), torch.rand(1), None, pixels(1, 2, 8, 8)),
        SettingsError, "takes no map",
    ),
    "a label too many": (
        lambda: tiny(classes=(2,)).embed(torch.rand(1), torch.zeros(1, 2, dtype=torch.long)),
        SettingsError, "one column a label",
    ),
    "groups that do not fit": (lambda: GuidedUNet(3, 2, width=40), SettingsError, "multiple of"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "words"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_step_is_the_network_at_one_time(way, shaken):
    net = shaken(tiny(**way))
    labels = [1, UNKNOWN] if "classes" in way else None
    map_ = pixels(2, 3, 8, 8, seed=1) if "map_channels" in way else None
    x = pixels(2, 3, 8, 8)
    step = GuidedStep(net, 0.4, labels)
    with torch.no_grad():
        given = None if labels is None else torch.tensor([labels] * 2)
        wanted = net(x, torch.tensor([0.4, 0.4]), given, map_)
        found = step(x if map_ is None else torch.cat([map_, x], dim=1))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert {id(p) for p in step.parameters()} <= {id(p) for p in net.parameters()}


REACHES = {
    "two sizes": {"multipliers": (1, 2), "blocks": 1},
    "four sizes": {"multipliers": (1, 2, 2, 2)},
    "one size and a map": {"multipliers": (1,), "blocks": 1, "map_channels": 2},
    "three sizes and a map": {"multipliers": (1, 2, 2), "blocks": 1, "map_channels": 2},
}


@pytest.mark.parametrize("way", REACHES.values(), ids=REACHES)
def test_how_far_it_looks_is_read_from_the_graph_of_a_step(way):
    net = tiny(middle_attention=False, **way)
    reach = scan_reach(GuidedStep(net, 0.5))
    assert (reach.how, reach.kind) == ("graph", "statistics")
    assert reach.halo == (net.local_reach,) * 2
    assert reach.multiple_of == (net.multiple_of,) * 2


def test_how_far_it_looks_is_what_is_measured_once_its_norms_are_fixed(shaken):
    step = GuidedStep(tiny(multipliers=(1, 2), blocks=1, middle_attention=False), 0.5).double()
    fixed = with_statistics(step, unit_statistics(step), 2)
    measured = measure_reach(fixed, size=96, stride=2)
    assert measured.kind == "exact"
    assert measured.halo == scan_reach(step).halo


def test_with_attention_it_says_that_tiles_are_an_approximation():
    net = tiny(multipliers=(1, 2))
    reach = scan_reach(GuidedStep(net, 0.5))
    assert (reach.kind, reach.halo) == ("approximate", (net.local_reach,) * 2)
