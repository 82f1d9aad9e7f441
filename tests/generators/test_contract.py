"""What every registered generator promises. A new one is tested by being registered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.registry import GENERATORS, build_generator, get_spec
from napari_virtualstain.inference.scan import scan_reach


@pytest.fixture(params=sorted(GENERATORS))
def spec(request):
    return GENERATORS[request.param]


@pytest.fixture
def generator(spec):
    return build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")


@pytest.fixture
def batch(spec, generator):
    edge = 4 * generator.multiple_of
    shape = (2, 3, *(edge,) * spec.ndim[0])
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_it_is_a_generator(generator):
    assert isinstance(generator, Generator)


def test_stains_have_the_size_of_the_planes(generator, batch):
    stains = generator.predict(batch)
    assert stains.shape == (2, 2, *batch.shape[2:])
    assert stains.dtype == np.float32
    assert np.isfinite(stains).all()


def test_the_seed_decides_the_stain(spec, generator, batch):
    a, b, c = (generator.predict(batch, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.array_equal(a, c) is not spec.stochastic


def test_planes_of_a_batch_do_not_see_each_other(spec, generator, batch):
    if spec.stochastic:
        pytest.skip("draws differ within a batch")
    alone = generator.predict(batch[:1])
    np.testing.assert_allclose(generator.predict(batch)[:1], alone, atol=1e-5)


def test_the_building_seed_decides_the_weights(spec, batch):
    def built(seed):
        return build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny", seed=seed)

    before = torch.random.get_rng_state()
    a, b, c = (built(seed).predict(batch) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_its_stride_is_that_of_its_graph(generator):
    assert set(scan_reach(generator.module()).multiple_of) == {generator.multiple_of}


def test_it_learns_within_a_few_steps(generator, batch):
    module = generator.module().train()
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    x = torch.from_numpy(batch)
    target = x[:, :2] * 0.5
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_predicting_leaves_no_gradient_and_no_training_mode(generator, batch):
    generator.module().train()
    generator.predict(batch)
    assert not generator.module().training


def test_it_says_where_it_comes_from(spec):
    assert spec.source.startswith(("doi:", "arXiv:"))
    assert spec.title
    assert "tiny" in spec.presets


def test_listing_needs_no_torch(subprocess_python):
    subprocess_python(
        "import sys; from napari_virtualstain.generators.registry import GENERATORS; "
        "assert GENERATORS and 'torch' not in sys.modules"
    )


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        get_spec("unett")
    assert str(caught.value) == (
        "No generator named 'unett'. Did you mean 'unet'? "
        f"There are: {', '.join(sorted(GENERATORS))}. Choose one of these."
    )


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        build_generator("unet", in_channels=1, out_channels=1, preset="tinny")


def test_an_architecture_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match="cannot be built with.*Correct the architecture"):
        build_generator("unet", in_channels=1, out_channels=1, architecture={"wings": 2})
