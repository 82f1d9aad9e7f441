"""What a network is told changes what it draws; what it is not told is unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.errors import SettingsError, UnknownNameError
from napari_virtualstain.generators.card import LabelKind
from napari_virtualstain.generators.denoising import drop_labels
from napari_virtualstain.generators.labels import find_kinds, number_labels, read_stated
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.losses.descent import Moment

KINDS = (
    LabelKind(name="treatment", classes=("dmso", "taxol")),
    LabelKind(name="plate", classes=("p1", "p2", "p3")),
)


def made(**architecture):
    return build_generator(
        "guided_i2i", in_channels=1, out_channels=1, preset="tiny",
        architecture={"classes": (2,), **architecture},
    )  # fmt: skip


def lesson(step):
    """Stains whose brightness follows from the label alone: -1 or 1, and a little noise."""
    rng = np.random.default_rng(step)
    labels = rng.integers(0, 2, (8, 1))
    stains = (2.0 * labels - 1)[:, :, None, None] + rng.normal(0, 0.2, (8, 1, 16, 16))
    planes = rng.normal(0, 1, (8, 1, 16, 16))
    return Batch(
        torch.from_numpy(planes).float(), torch.from_numpy(stains).float(), at_once=8,
        labels=torch.from_numpy(labels),
    )  # fmt: skip


@pytest.fixture(scope="module")
def taught():
    generator = made()
    torch.manual_seed(0)
    learner = generator.learner(generator.learning(learning_rate=3e-3, label_dropout=0.5))
    said = [learner.step(lesson(n), Moment(step=n, epoch=0.0)) for n in range(150)]
    return generator, said


def drawn(generator, **how):
    planes = np.random.default_rng(9).normal(size=(4, 1, 16, 16)).astype(np.float32)
    return draw_sample(generator, planes, Sampling(steps=10, **how), seed=3).mean(axis=(1, 2, 3))


def test_the_label_decides_what_only_the_label_says(taught):
    generator, _ = taught
    low, high = (drawn(generator, labels=(n,)).mean() for n in (0, 1))
    assert high - low > 1.0


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_guidance_leads_unknown_samples_towards_the_class(taught, sampler):
    """Of a network that is not told the label the classifier alone decides."""
    generator, said = taught
    # Where nearly all is noise, nobody can tell.
    assert np.mean([one["guide"] for one in said[-20:]]) < 0.75 * said[0]["guide"]
    planes = np.random.default_rng(9).normal(size=(16, 1, 16, 16)).astype(np.float32)
    blind = _untold(generator)
    low, free, high = (
        draw_sample(
            blind, planes, Sampling(steps=10, sampler=sampler, labels=labels, guidance=scale),
            seed=3,
        ).mean()
        for labels, scale in (((0,), 10.0), (None, 0.0), ((1,), 10.0))
    )  # fmt: skip
    assert low < free - 0.5
    assert high > free + 0.05
    assert high - low > 1.0


def _untold(generator):
    """A generator with the same weights whose embeddings of labels are zero."""
    other = made()
    other.module().load_state_dict(generator.module().state_dict())
    torch.nn.init.zeros_(other.net.label_emb.weight)
    return other


def test_without_a_label_it_is_the_class_unknown(taught):
    generator, _ = taught
    np.testing.assert_array_equal(drawn(generator), drawn(generator, labels=(-1,)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"guidance": 1.0}, "none is stated.*--told"),
        ({"guidance": 1.0, "labels": (-1,)}, "none is stated.*--told"),
    ],
    ids=["no label", "unknown"],
)
def test_guidance_needs_somewhere_to_lead_to(taught, how, words):
    with pytest.raises(SettingsError, match=words):
        taught[0].rule(Sampling(**how))


def test_a_network_without_a_classifier_says_so():
    with pytest.raises(SettingsError, match="no classifier"):
        made(guide_width=0).rule(Sampling(guidance=1.0, labels=(1,)))


def test_patches_without_labels_teach_the_network_and_not_the_classifier():
    generator = made()
    learner = generator.learner(generator.learning())
    batch = lesson(0)
    unknown = Batch(
        batch.planes, batch.stains, at_once=8, labels=torch.full((8, 1), -1, dtype=torch.int64)
    )
    assert "guide" not in learner.step(unknown, Moment(step=0, epoch=0.0))


def test_a_share_of_the_labels_is_hidden():
    labels = torch.arange(2000).reshape(1000, 2)
    torch.manual_seed(0)
    hidden = drop_labels(labels, 0.3) == -1
    assert 0.25 < hidden.float().mean() < 0.35
    assert (hidden[:, 0] != hidden[:, 1]).any()  # each by itself
    assert drop_labels(labels, 0.0) is labels
    assert drop_labels(None, 0.3) is None


def test_names_become_numbers():
    assert number_labels(KINDS, ("taxol", "p3")) == (1, 2)
    assert number_labels(KINDS, (None, "another")) == (-1, -1)
    assert read_stated(KINDS, ["plate=p2"], "m") == (-1, 1)


BAD = {
    "no class": (["treatment"], SettingsError, "NAME=CLASS.*treatment=dmso"),
    "another label": (["dose=3"], UnknownNameError, "label of m"),
    "a class that was never seen": (["treatment=aspirin"], UnknownNameError, "best left unknown"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_model_never_saw_is_refused(case):
    stated, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        read_stated(KINDS, stated, "m")


def test_a_model_that_is_told_nothing_says_so():
    with pytest.raises(SettingsError, match="told nothing.*--told"):
        read_stated((), ["treatment=taxol"], "m")


class Field:
    def __init__(self, *labels):
        self.labels = labels


def test_classes_are_those_of_the_fields_that_teach():
    (kind,) = find_kinds(["t"], [Field("b"), Field("a"), Field(None), Field("b")])
    assert kind.classes == ("a", "b")
    with pytest.raises(SettingsError, match="same t"):
        find_kinds(["t"], [Field("b"), Field(None)])


def test_a_classifier_may_be_told_steps_as_published():
    generator = made(guide_told="step")
    seen = []
    generator.guide.register_forward_pre_hook(lambda _, given: seen.append(given[1].clone()))
    learner = generator.learner(generator.learning(learning_rate=1e-3))
    learner.step(lesson(0), Moment(step=0, epoch=0.0))
    (steps,) = seen
    assert (steps == steps.round()).all()
    assert steps.max() > 1
