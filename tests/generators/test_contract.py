"""What every registered generator promises. A new one is tested by being registered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.denoising import DiffusionGenerator
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import GENERATORS, build_generator, get_spec
from napari_virtualstain.generators.sampled import first_network
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.losses.descent import Moment


@pytest.fixture(params=sorted(GENERATORS))
def spec(request):
    return GENERATORS[request.param]


@pytest.fixture
def generator(spec):
    return build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")


@pytest.fixture
def batch(spec, generator):
    edge = 4 * generator.multiple_of if generator.ndim == 3 else max(24, 4 * generator.multiple_of)
    edges = [edge] * generator.ndim
    if generator.window is not None:
        edges[0] = generator.window
    shape = (2, 3, *edges)
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


def test_the_building_seed_decides_the_weights(spec):
    def built(seed):
        generator = build_generator(
            spec.name, in_channels=3, out_channels=2, preset="tiny", seed=seed
        )
        return torch.cat([weights.flatten() for weights in generator.module().parameters()])

    before = torch.random.get_rng_state()
    a, b, c = (built(seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_its_stride_is_that_of_its_graph(generator):
    found = scan_reach(first_network(generator)).multiple_of
    # Along z a network of fixed depth has no stride.
    assert set(found if generator.window is None else found[1:]) == {generator.multiple_of}


def test_it_takes_the_number_of_planes_that_it_states_and_no_other(generator, batch):
    if generator.window is None:
        pytest.skip("any number of planes")
    assert generator.predict(batch).shape[2] == generator.window
    with pytest.raises(RuntimeError):
        generator.predict(np.repeat(batch, 2, axis=2))


@pytest.fixture
def lesson(batch):
    """Planes, and stains that follow from them: an edge-aware mixture, one stain partly missing."""
    x = torch.from_numpy(batch)
    stains = torch.stack([x[:, 0] * 0.5, (x[:, 1] - x[:, 2]).abs()], dim=1)
    stains[0, 1] = torch.nan
    return Batch(x, stains, at_once=len(x))


def taught(generator, lesson, steps, **stated):
    """Teach a generator on one batch; return what each step said."""
    # Small, and one step each, where there is a critic.
    small = {"critic_width": 4, "critic_steps": 1, "adversarial_weight": 0.01}
    known = {
        name: value for name, value in small.items() if name in generator.learning.model_fields
    }
    settings = generator.learning(learning_rate=1e-2, **{**known, **stated})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = generator.learner(settings)
        for network in learner.networks.values():
            network.train()
        moments = [Moment(step=n, epoch=float(n), done=n / steps) for n in range(steps)]
        return [learner.step(lesson, moment) for moment in moments]


class Pull:
    """A further term: all stains are to be 3."""

    name = "pull"

    def __call__(self, predicted, stains):
        known = torch.isfinite(stains)
        return 10 * torch.where(known, predicted - 3, 0.0).square().sum() / known.sum()


def test_it_learns_a_further_term_beside_its_own(generator, lesson):
    said = taught(generator, replace(lesson, term=Pull()), 30)
    pulled = [one["pull"] for one in said if "loss" in one]
    assert pulled[-1] < 0.75 * pulled[0]
    assert "pull" not in taught(generator, lesson, 2)[-1]


def test_it_learns_within_a_few_steps(generator, lesson):
    said = [one["loss"] for one in taught(generator, lesson, 40) if "loss" in one]
    pixel = [one for one in said if np.isfinite(one)]
    assert len(pixel) == len(said) >= 2
    error = [
        float(np.abs(p - t)[np.isfinite(t)].mean()) for p, t in _before_and_after(generator, lesson)
    ]
    assert error[1] < 0.8 * error[0]


def _before_and_after(generator, lesson):
    fresh = build_generator(
        _name_of(generator), in_channels=3, out_channels=2, preset="tiny",
    )  # fmt: skip
    truth = lesson.stains.numpy()
    return [(g.predict(lesson.planes.numpy()), truth) for g in (fresh, generator)]


def _name_of(generator):
    return next(
        spec.name
        for spec in GENERATORS.values()
        if spec.target.endswith(f":{type(generator).__name__}") and generator.ndim in spec.ndim
    )


def test_learning_twice_from_one_seed_gives_the_same_weights(spec, lesson):
    twice = []
    for _ in range(2):
        generator = build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")
        taught(generator, lesson, 6)
        twice.append(generator.module().state_dict())
    for name, value in twice[0].items():
        assert torch.equal(value, twice[1][name]), name


def test_a_stain_that_is_missing_everywhere_is_not_learnt(spec, lesson):
    """Whatever stands in the other stains' place: weights that only it uses stay where they were."""
    lesson.stains[:, 1] = torch.nan
    generator = build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")
    for said in taught(generator, lesson, 6, weight_decay=0.0):
        assert all(np.isfinite(value) for value in said.values())
    fresh = build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny")
    (first, second), (first_before, second_before) = map(_last_of_stains, (generator, fresh))
    assert torch.equal(second, second_before)
    assert not torch.equal(first, first_before)


def _last_of_stains(generator):
    """Return the last weights of each of two stains."""
    if isinstance(generator, DiffusionGenerator):  # what is predicted of all, then the variance
        return generator.net.out[-1].bias.reshape(-1, 2).unbind(1)
    return list(generator.module().parameters())[-1].chunk(2)


def test_a_batch_in_parts_teaches_nearly_what_it_teaches_at_once(spec, lesson):
    whole, parts = (
        build_generator(spec.name, in_channels=3, out_channels=2, preset="tiny") for _ in range(2)
    )
    lesson.stains[torch.isnan(lesson.stains)] = 0.3
    said = [
        taught(generator, Batch(lesson.planes, lesson.stains, at_once=at_once), 1)
        for generator, at_once in ((whole, 2), (parts, 1))
    ]
    # BatchNorm sees one patch instead of two; everything else is the same sum.
    for name, value in said[0][0].items():
        assert said[1][0][name] == pytest.approx(value, rel=0.5, abs=0.2)


def test_its_tiles_are_what_it_says_of_them(spec, generator):
    assert scan_reach(first_network(generator)).kind == spec.exactness


def test_predicting_leaves_no_gradient_and_no_training_mode(generator, batch):
    generator.module().train()
    generator.predict(batch)
    assert not generator.module().training


def test_it_says_where_it_comes_from(spec):
    assert spec.source.startswith(("doi:", "arXiv:", "Venieri"))
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
