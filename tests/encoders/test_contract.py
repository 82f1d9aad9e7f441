"""What every registered encoder promises. A new one is tested by being registered."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_virtualstain.encoders.base import Classifier, Encoder, PatchEncoder
from napari_virtualstain.encoders.learning import Labelled, Views
from napari_virtualstain.encoders.registry import ENCODERS, build_encoder, get_encoder_spec
from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.losses.descent import Moment

CLASSES = 3


def build(name, **options):
    classes = CLASSES if ENCODERS[name].learns == "classes" else 0
    options = {"preset": "tiny", "in_channels": 2, **options}
    return build_encoder(name, classes=classes, **options)


@pytest.fixture(params=sorted(ENCODERS))
def spec(request):
    return ENCODERS[request.param]


@pytest.fixture
def encoder(spec):
    return build(spec.name)


def pictures_for(encoder, n=3, edge=32, channels=2):
    shape = (n, channels, *[edge] * encoder.ndim)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def batch_for(spec, encoder, n=4):
    pixels = torch.from_numpy(pictures_for(encoder, n))
    if spec.learns == "classes":
        return Labelled(pixels, torch.arange(n) % CLASSES)
    narrow = pixels[..., :16, :16]
    return Views((pixels, pixels.flip(-1)), (narrow, narrow.flip(-2)))


def test_it_is_an_encoder(spec, encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.ndim == spec.ndim
    assert isinstance(encoder, Classifier) is (spec.learns == "classes")
    assert isinstance(encoder, PatchEncoder) is (spec.learns != "classes")


def test_a_picture_has_as_many_features_as_it_says(encoder):
    features = encoder.features(pictures_for(encoder))
    assert features.shape == (3, encoder.dim)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_pictures_of_a_batch_do_not_see_each_other(encoder):
    pictures = pictures_for(encoder)
    alone = encoder.features(pictures[:1])
    np.testing.assert_allclose(encoder.features(pictures)[:1], alone, atol=1e-5)


def test_the_smallest_picture_can_be_seen(encoder):
    assert encoder.features(pictures_for(encoder, edge=encoder.smallest)).shape[0] == 3


def test_the_building_seed_decides_the_weights(spec):
    before = torch.random.get_rng_state()
    pictures = pictures_for(build(spec.name))
    a, b, c = (build(spec.name, seed=seed).features(pictures) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_probabilities_sum_to_one(encoder):
    if not isinstance(encoder, Classifier):
        pytest.skip("tells no classes apart")
    scores = encoder.scores(pictures_for(encoder))
    assert scores.shape == (3, CLASSES)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


def test_attention_sums_to_one_over_all_tokens(encoder):
    if not isinstance(encoder, PatchEncoder):
        pytest.skip("has no patches")
    found = encoder.attention(pictures_for(encoder), rows=(0, 5))
    assert found.shape[0] == 3
    assert found.shape[1:] == (encoder.heads, 2, 1 + (32 // encoder.patch) ** 2)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    through = encoder.rollout(pictures_for(encoder), rows=(0, 5))
    assert through.shape == (3, 2, 1 + (32 // encoder.patch) ** 2)
    np.testing.assert_allclose(through.sum(axis=-1), 1, rtol=1e-5)
    encoder.attention(pictures_for(encoder), block=encoder.depth - 1)


@pytest.mark.parametrize(
    ("asked", "words"), [({"block": 9}, "no block 9"), ({"rows": (99,)}, "no token 99")]
)
def test_attention_that_is_not_there_is_refused(asked, words):
    dino = build("dino")
    with pytest.raises(SettingsError, match=f"{words}.*Choose"):
        dino.attention(pictures_for(dino), **asked)


def test_it_learns_what_it_sees_again_and_again(spec, encoder):
    still = {"learning_rate": 3e-3, "teacher_momentum": 1.0, "centre_momentum": 0.999}
    kind = encoder.learning
    settings = kind(**{k: v for k, v in still.items() if k in kind.model_fields})
    learner = encoder.learner(settings)
    batch = batch_for(spec, encoder)
    network = learner.networks["student" if "student" in learner.networks else "encoder"]
    before = copy.deepcopy(network.state_dict())
    said = [
        learner.step(batch, Moment(step=n, epoch=1.0 + n, done=n / 25))["loss"] for n in range(25)
    ]
    assert np.mean(said[-5:]) < 0.9 * np.mean(said[:5])
    assert any(not torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_what_a_step_changes_is_in_its_networks(spec, encoder):
    """So that a checkpoint needs nothing else: a copied learner takes the same next step."""
    batch = batch_for(spec, encoder)
    first, second = encoder, build(spec.name, seed=7)
    learners = [one.learner(one.learning()) for one in (first, second)]
    for step in range(2):
        learners[0].step(batch, Moment(step=step, epoch=float(step), done=0.1))
    for name, network in learners[0].networks.items():
        learners[1].networks[name].load_state_dict(network.state_dict())
    for name, optimiser in learners[0].optimisers.items():
        learners[1].optimisers[name].load_state_dict(copy.deepcopy(optimiser.state_dict()))
    said = [one.step(batch, Moment(step=2, epoch=2.0, done=0.2)) for one in learners]
    assert said[0] == said[1]
    states = [one.module().state_dict() for one in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("name", "in_channels", "classes", "count"),
    [
        ("dino", 3, 0, 21_670_272),
        ("wsdino", 5, 0, 21_719_424),
        ("resnet", 3, 1000, 25_557_032),
    ],
    ids=["ViT-S/8", "ViT-S/8 of five channels", "ResNet-50"],
)
def test_the_papers_networks_have_their_number_of_weights(name, in_channels, classes, count):
    preset = {"resnet": "resnet50"}.get(name, "paper")
    with torch.device("meta"):
        built = build_encoder(name, in_channels=in_channels, classes=classes, preset=preset)
    assert sum(p.numel() for p in built.module().parameters()) == count


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": "dinno"}, UnknownNameError, "dino"),
        ({"preset": "tinny"}, UnknownNameError, "tiny"),
        ({"architecture": {"colour": 3}}, SettingsError, "colour.*Correct the architecture"),
        ({"name": "resnet", "classes": 1}, SettingsError, "at least 2 classes"),
        ({"classes": 2}, SettingsError, "tells no classes apart"),
    ],
    ids=["a name", "a preset", "a setting", "one class", "classes of DINO"],
)
def test_what_cannot_be_built_is_refused(options, error, words):
    options = {"name": "dino", "in_channels": 1, "preset": "tiny", **options}
    with pytest.raises(error, match=words):
        build_encoder(options.pop("name"), **options)


def test_an_unknown_encoder_is_refused_by_name():
    with pytest.raises(UnknownNameError, match="encoder.*'resnet'"):
        get_encoder_spec("resnett")
