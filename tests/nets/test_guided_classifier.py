"""The classifier of noisy pictures equals a plain twin and has the published names."""

from __future__ import annotations

import guided_twin as twin
import pytest
import torch
from state_names import names_and_shapes

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.nets.guided_classifier import GuidedClassifier

TINY = {"width": 8, "multipliers": (1, 2), "groups": 4, "head_channels": 4, "init": "kaiming"}


def tiny(pool, **settings):
    torch.manual_seed(0)
    return GuidedClassifier(3, 5, pool=pool, image=12, **TINY | settings)


def test_weights_have_the_names_shapes_and_number_of_the_published_ones():
    with torch.device("meta"):
        net = GuidedClassifier(8, 59)
        assert net(torch.empty(1, 8, 512, 512), torch.empty(1)).shape == (1, 59)
    assert sum(p.numel() for p in net.parameters()) == 107_518_139
    names = "3e0a6f95fc9318d38fe8ccadb96b3fd3721a4361e20aa9a659094d869364df62"
    assert names_and_shapes(net) == names


@pytest.mark.parametrize("settings", [{}, {"attention": (2,), "blocks": 1}], ids=str)
@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_scores_are_those_of_a_plain_twin(pool, settings, shaken):
    net = shaken(tiny(pool, **settings))
    w = net.state_dict()
    x = torch.randn(2, 3, 12, 12 if pool == "attention" else 8)
    time = torch.tensor([0.2, 30.0])
    e = twin.embedded(w, "time_embed", time, 8)
    with torch.no_grad():
        wanted = twin.classifier(
            w, x, e, groups=4, head=4, sizes=2, blocks=settings.get("blocks", 2)
        )
        found = net(x, time)
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_scores_have_a_gradient_to_every_pixel():
    net = tiny("mean").eval()
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    net(x, torch.tensor([0.5])).log_softmax(dim=1)[0, 2].backward()
    assert (x.grad != 0).all()


BAD = {
    "an odd size": ("mean", (11, 12), "multiples of 2 px"),
    "positions of another size": ("attention", (12, 16), "pool='mean'"),
}


@pytest.mark.parametrize(("pool", "shape", "words"), BAD.values(), ids=BAD)
def test_pictures_of_a_size_that_it_does_not_take_are_refused(pool, shape, words):
    with pytest.raises(PixelDataError, match=words) as caught:
        tiny(pool)(torch.randn(1, 3, *shape), torch.rand(1))
    assert str(caught.value).endswith(".")
