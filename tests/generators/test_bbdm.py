"""A bridge begins with a first prediction, and keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.bridge import BrownianBridge
from napari_virtualstain.diffusion.choice import STEPS
from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.generators.bridging import bridge_sampler
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.losses.descent import Moment


def made(planes=3, stains=2, **architecture):
    return build_generator(
        "bbdm", in_channels=planes, out_channels=stains, preset="tiny", architecture=architecture
    )


def pictures(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize(("planes", "stains"), [(3, 5), (5, 2), (1, 1)])
def test_planes_and_stains_may_be_of_any_number(planes, stains):
    generator = made(planes, stains)
    drawn = generator.predict(pictures(1, planes, 16, 16).numpy())
    assert drawn.shape == (1, stains, 16, 16)


def test_a_bridge_that_has_learnt_nothing_ends_near_its_first_prediction():
    """Its last layer is zero, so that it says x is clean: what is left is the noise of the walk."""
    generator = made(as_published=True, eta=0.0)
    planes = pictures(2, 3, 16, 16)
    generator.module().eval()
    first = generator.given(planes)[:, :2].detach().numpy()
    np.testing.assert_allclose(
        draw_sample(generator, planes.numpy(), Sampling(), seed=0), first, atol=1e-4
    )


def test_the_bridge_does_not_pull_at_the_first_prediction():
    batch = Batch(pictures(4, 3, 16, 16), pictures(4, 2, 16, 16, seed=1), at_once=4)
    after = []
    for objective in ("grad", "noise"):
        generator = made(objective=objective)
        learner = generator.learner(generator.learning(learning_rate=1e-2))
        torch.manual_seed(0)
        for step in range(3):
            learner.step(batch, Moment(step=step, epoch=0.0))
        after.append(generator.module()["first"].state_dict())
    assert all(torch.equal(value, after[1][name]) for name, value in after[0].items())


def test_the_published_network_sees_no_planes():
    published = made(join_planes=False)
    assert published.net.in_channels == 2
    assert made().net.in_channels == 2 + 3
    names = {name.split(".")[0] for name in published.module().state_dict()}
    assert names == {"denoise_fn", "first"}


@pytest.mark.parametrize("preset", ["tiny", "little", "small"])
def test_the_margin_is_how_far_the_first_prediction_looks(preset):
    generator = build_generator("bbdm", in_channels=2, out_channels=2, preset=preset)
    assert scan_reach(generator.first).halo == (generator.margins[0],) * 2


@pytest.mark.parametrize("objective", ["grad", "noise", "ysubx"])
def test_the_network_that_is_read_is_the_one_that_is_walked_with(objective):
    generator = made(objective=objective)
    torch.nn.init.normal_(generator.net.out[2].weight)
    x, how = pictures(1, 2, 16, 16, seed=1), Sampling()
    given = generator.given(pictures(1, 3, 16, 16)).detach()
    time = generator.rule(how).prepare(3)
    read = generator.step_network(time, how)(torch.cat([given, x], dim=1))
    torch.testing.assert_close(read, generator.denoise(x, given, time, how)[0])


def test_it_walks_in_as_many_steps_as_other_methods_and_in_one_way():
    generator = made()
    assert generator.rule(Sampling()).steps == STEPS
    assert generator.rule(Sampling(steps=200)).steps == 200
    with pytest.raises(SettingsError, match=r"'ddim' begins with noise.*Leave out --sampler\.$"):
        generator.rule(Sampling(sampler="ddim"))
    with pytest.raises(UnknownNameError, match="Did you mean 'ddim'"):
        bridge_sampler("ddin", BrownianBridge())
    with pytest.raises(SettingsError, match="takes 1 to 1000"):
        generator.rule(Sampling(steps=1001))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"objective": "pull"}, "predicts grad"), ({"eta": 2.0}, "between 0"), ({"scale": 0.0}, "0")],
)
def test_an_impossible_bridge_is_refused_when_it_is_built(wrong, said):
    with pytest.raises(SettingsError, match=said):
        made(**wrong)


def test_a_bridge_may_begin_with_the_planes_where_they_are_as_many_as_the_stains():
    generator = made(2, 2, first_width=0, join_planes=False)
    planes = pictures(1, 2, 16, 16)
    torch.testing.assert_close(generator.given(planes), planes)
    assert set(generator.module()) == {"denoise_fn"}
    batch = Batch(pictures(4, 2, 16, 16), pictures(4, 2, 16, 16, seed=1), at_once=2)
    learner = generator.learner(generator.learning(learning_rate=1e-2))
    said = learner.step(batch, Moment(step=0, epoch=0.0))
    assert set(said) == {"loss"}
    with pytest.raises(SettingsError, match="from 3 planes to as many stains, and there are 2"):
        made(3, 2, first_width=0)
